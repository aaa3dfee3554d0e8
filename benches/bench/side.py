"""Connections that sync at the same time: a small one must not wait for a large
one, and two halves should not take longer than the whole."""

import threading
import time

from bench.server import Server

# The small table has this part of the rows.
SMALL = 100


class Timed(threading.Thread):
    """A first sync, timed on a thread of its own."""

    def __init__(self, server, connection):
        super().__init__(daemon=True)
        self.server, self.connection, self.wall = server, connection, None
        self.start()

    def run(self):
        started = time.monotonic()
        self.server.finished(self.server.start(self.connection))
        self.wall = time.monotonic() - started

    def seconds(self):
        """Waits for the end; how long it took."""
        self.join()
        if self.wall is None:
            raise SystemExit("a sync side by side failed")
        return self.wall


def run(campaign):
    """The stage; each entry is a name, rows, and seconds."""
    small, half, whole = max(1, campaign.rows // SMALL), campaign.rows // 2, campaign.rows
    syncs = []

    def together(*wanted):
        """First syncs at once, in one collection of one server: name and rows of each, the last one's end."""
        with Server(campaign.program) as server:
            collection = server.collection()
            connections = [server.connection(collection, campaign.cluster, campaign.wide(rows), "wide")
                           for _, rows in wanted]
            started = [Timed(server, connection) for connection in connections]
            for (name, rows), one in zip(wanted, started):
                syncs.append((name, rows, one.seconds()))

    together(("small", small))
    together(("large, beside a small one", whole), ("small, beside", small))
    together(("one half, beside the other", half), ("the other half", half))
    return {"syncs": syncs}
