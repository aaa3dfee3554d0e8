"""Searching while a first sync runs: the time to the first document that is
found, and how long a query takes with one query at a time."""

import threading
import time

from bench.server import Server, expect
from bench.statistics import percentile

QUERIES = ["waterproof tent", "poles pegs", "stored hall", "note about item", "red pending", "shipped t3"]
# Between queries, so that the asking takes little of what the sync needs.
PAUSE = 0.02


class Asker:
    """Asks one query after another on a thread of its own until it is stopped."""

    def __init__(self, server, collection):
        self.server, self.collection = server, collection
        self.first_hit = None
        self.took = []
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def stop(self):
        """Ends after the query that is on its way."""
        self._stop.set()
        self._thread.join()

    def _ask(self):
        door = self.server.door()
        number = 0
        while not self._stop.wait(PAUSE):
            asked = time.monotonic()
            results = self.server.search(self.collection, QUERIES[number % len(QUERIES)], door)
            answered = time.monotonic()
            self.took.append(answered - asked)
            if results and self.first_hit is None:
                self.first_hit = answered - self._started
            number += 1
        door.close()


def run(campaign):
    """The stage: a first sync, and the same queries once more when all is quiet."""
    database = campaign.fresh_wide()
    with Server(campaign.program) as server:
        collection = server.collection()
        connection = server.connection(collection, campaign.cluster, database, "wide")
        asker = Asker(server, collection)
        figures, counted = server.sync(connection, campaign.cluster)
        asker.stop()
        expect(counted, inserted=campaign.rows)
        server.settle()
        quiet = Asker(server, collection)
        time.sleep(5)
        quiet.stop()
    campaign.cluster.drop(database)
    return {
        "sync": figures,
        "first_hit": asker.first_hit,
        "during": latency(asker.took),
        "after": latency(quiet.took),
    }


def latency(took):
    """Queries, and percentiles in milliseconds."""
    parts = {"p50": 0.5, "p99": 0.99, "most": 1.0}
    return {"queries": len(took)} | {name: 1000 * percentile(took, part) for name, part in parts.items()}
