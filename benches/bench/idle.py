"""Thousands of idle progress streams: half WatchSync over gRPC, half server-sent
events, of a sync that waits for its turn. What the server's memory does meanwhile."""

import asyncio
import resource
import struct
import time

from bench import frames, process
from bench.frames import ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, SETTINGS, WINDOW_UPDATE, frame
from bench.server import ADMIN_KEY, Server

# Streams of one connection of HTTP/2.
TOGETHER = 200
# Descriptors beside those of the streams.
OTHERS = 200
# A view whose rows come slowly, so that the one worker has enough to do; each is long
# enough to be sent at once.
SLOW_VIEW = """CREATE VIEW slow AS
SELECT n::text AS id, repeat('x', 9000) AS filler, pg_sleep(0.5)::text AS nap FROM generate_series(1, 1000000) n"""


class Streams:
    """Open streams, each told of by its first event."""

    def __init__(self, server, sync):
        host, port = server.address.rsplit(":", 1)
        self.address, self.sync = (host, int(port)), sync
        self.open = self.ended = 0
        self.tasks = []

    async def grpc(self, count):
        """A connection with that many calls of WatchSync."""
        reader, writer = await asyncio.open_connection(*self.address)
        more = [("authorization", f"Bearer {ADMIN_KEY}"), ("content-type", "application/grpc"), ("te", "trailers")]
        head = frames.request("POST", "/tributary.v1.SyncService/WatchSync", *more)
        sync = self.sync.encode()
        message = b"\x0a" + bytes([len(sync)]) + sync
        body = b"\0" + struct.pack(">I", len(message)) + message
        writer.write(frames.hello())
        for stream in range(1, 2 * count, 2):
            writer.write(frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, END_STREAM, stream, body))
        self.tasks.append(asyncio.create_task(self._read_frames(reader, writer)))

    async def _read_frames(self, reader, writer):
        told = set()
        try:
            while True:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3]))
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
                if kind == DATA:
                    if stream not in told:
                        told.add(stream)
                        self.open += 1
                    size = struct.pack(">I", max(1, len(payload)))
                    writer.write(frame(WINDOW_UPDATE, 0, 0, size) + frame(WINDOW_UPDATE, 0, stream, size))
                    self.ended += flags & END_STREAM
                elif kind == PING and not flags & ACK:
                    writer.write(frame(PING, ACK, 0, payload))
                elif kind == SETTINGS and not flags & ACK:
                    writer.write(frame(SETTINGS, ACK, 0))
                elif kind == GOAWAY or (kind == HEADERS and flags & END_STREAM):
                    self.ended += 1
        except (OSError, asyncio.IncompleteReadError):
            self.ended += len(told)

    async def events(self):
        """A connection of HTTP/1.1 with a stream of events."""
        reader, writer = await asyncio.open_connection(*self.address)
        lines = [f"GET /api/v1/syncs/{self.sync}/events HTTP/1.1", "Host: x", f"Authorization: Bearer {ADMIN_KEY}"]
        writer.write(("\r\n".join([*lines, "Accept: text/event-stream"]) + "\r\n\r\n").encode())
        self.tasks.append(asyncio.create_task(self._read_events(reader, writer)))

    async def _read_events(self, reader, _writer):
        told = False
        while line := await reader.readline():
            if line.startswith(b"data:") and not told:
                told = True
                self.open += 1
        self.ended += 1


async def hold(server, sync, count, seconds):
    """Opens the streams, and looks at the server while they are held."""
    streams = Streams(server, sync)
    before, started = process.memory(server.pid)[0], time.monotonic()
    half = count // 2
    for begin in range(0, half, TOGETHER):
        await streams.grpc(min(TOGETHER, half - begin))
    for number in range(count - half):
        await streams.events()
        if number % 50 == 49:
            await asyncio.sleep(0.01)
    while streams.open < count:
        if time.monotonic() - started > 300 or streams.ended:
            raise SystemExit(f"{streams.open} of {count} streams opened, {streams.ended} ended")
        await asyncio.sleep(0.1)
    opened = time.monotonic() - started
    samples, until = [], time.monotonic() + seconds
    while True:
        samples.append(process.memory(server.pid)[0])
        if time.monotonic() >= until:
            break
        await asyncio.sleep(min(10, seconds / 10))
    for task in streams.tasks:
        task.cancel()
    return {
        "streams": count,
        "opened_in": opened,
        "held": seconds,
        "before": before,
        "first": samples[0],
        "last": samples[-1],
        "most": max(samples),
        "ended_early": streams.ended,
        "samples": samples,
    }


def raise_limit(count):
    """Both ends need a descriptor a stream; says how many are needed where that is more than there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + OTHERS
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(f"{needed} open files are needed, and the hard limit is {hard}: raise it with `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


def run(program, cluster, count, seconds):
    """The stage: one worker is busy with a slow view, and the sync that all watch waits behind it."""
    raise_limit(count)
    database = "slow"
    cluster.run("postgres", f"CREATE DATABASE {database}")
    cluster.run(database, SLOW_VIEW)
    flags = ["--workers", "1", "--max-connections-per-peer", str(count + OTHERS)]
    flags += ["--max-streams-per-key", str(count)]
    with Server(program, flags) as server:
        collection = server.collection()
        busy = server.start(server.connection(collection, cluster, database, "slow"))
        waiting = server.start(server.connection(collection, cluster, database, "slow"))
        figures = asyncio.run(hold(server, waiting, count, seconds))
        for sync in (busy, waiting):
            # A door of its own: the first one was idle for so long that it is closed.
            found = server.call("GET", f"/syncs/{sync}", door=server.door())["sync"]
            if found.get("finishedAt"):
                raise SystemExit(f"a sync ended while it was watched: {found}")
    return figures
