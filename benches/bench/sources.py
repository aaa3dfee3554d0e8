"""A good client's time to an answer, quiet and while hostile sources are being synced."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from bench import bombs, postgres, process
from bench.server import Server
from bench.statistics import percentile

ROGUE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rogue.py")
ROGUES, FOLDERS = ("endless", "huge", "drip"), ("bombs", "pdfs")
KINDS = [*ROGUES, *FOLDERS, "all"]
# What is behind the rogues. Of a view rows come without their places.
DATABASE = "source"
SOURCE = """CREATE TABLE t (id bigint PRIMARY KEY, body text);
INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 50) n;
CREATE VIEW v AS SELECT * FROM t"""
# Documents of the good client.
DOCUMENTS = 2_000
# Between two calls of the good client, so that it does not fill the machine itself.
PAUSE = 0.002


class World:
    """A server with a collection that is left in peace, and hostile sources for another."""

    def __init__(self, program):
        self.folder = tempfile.mkdtemp(prefix="tributary-bench-sources-")
        self.cluster = postgres.Cluster()
        self.cluster.run("postgres", f"CREATE DATABASE {DATABASE}")
        self.cluster.run(DATABASE, SOURCE)
        for kind in FOLDERS:
            bombs.write(os.path.join(self.folder, kind), kind)
        self.server = Server(program, ["--file-roots", self.folder, "--workers", "6"])
        self.good = self.server.collection()
        self._fill()
        made = self.server.call("POST", "/collections", {"name": "Hostile"})
        self.hostile = made["collection"]["id"]

    def _fill(self):
        folder = os.path.join(self.folder, "good")
        os.mkdir(folder)
        for number in range(DOCUMENTS):
            words = " ".join(f"word{(number * step) % 997}" for step in range(1, 120))
            with open(os.path.join(folder, f"{number}.md"), "w") as file:
                file.write(f"# Note {number}\n\nThe ferry leaves at noon. {words}\n")
        self.server.finished(self.server.start(self.files(self.good, "good")))
        self.server.settle()

    def files(self, collection, name):
        """A connection to a folder."""
        body = {"collectionId": collection, "sourceShortName": "files", "name": name, "credentials": {}}
        body |= {"config": {"path": os.path.join(self.folder, name)}}
        return self.server.call("POST", "/source-connections", body)["sourceConnection"]["id"]

    def rogue(self, kind):
        """A rogue's process, held to one core, and a connection to it."""
        command = ["taskset", "-c", "0", sys.executable, ROGUE, kind, str(self.cluster.port)]
        rogue = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        credentials = {"host": "127.0.0.1", "port": int(rogue.stdout.readline()), "database": DATABASE}
        credentials |= {"username": postgres.USER, "password": postgres.PASSWORD}
        body = {"collectionId": self.hostile, "sourceShortName": "postgresql", "name": kind}
        body |= {"credentials": credentials, "config": {"tables": ["public.v"], "sslMode": "disable"}}
        return rogue, self.server.call("POST", "/source-connections", body)["sourceConnection"]["id"]

    def stop(self):
        """Ends all of it."""
        self.server.__exit__()
        self.cluster.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def calls(world, seconds):
    """Gets and searches one after another; how long each took, in ms."""
    door, took = world.server.door(), {"get": [], "search": []}
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        number += 1
        asked = time.monotonic()
        world.server.call("GET", "/sources/postgresql", door=door)
        took["get"].append(1000 * (time.monotonic() - asked))
        time.sleep(PAUSE)
        asked = time.monotonic()
        world.server.search(world.good, f"ferry word{number % 997}", door)
        took["search"].append(1000 * (time.monotonic() - asked))
        time.sleep(PAUSE)
    door.close()
    return took


def beside(world, kind, seconds):
    """The same while hostile sources are synced."""
    chosen = [*ROGUES, *FOLDERS] if kind == "all" else [kind]
    rogues, connections = [], []
    for one in chosen:
        if one in ROGUES:
            rogue, connection = world.rogue(one)
            rogues.append(rogue)
        else:
            connection = world.files(world.hostile, one)
        connections.append(connection)
    resident = process.memory(world.server.pid)[0]
    process.forget_peak(world.server.pid)
    used = process.cpu(world.server.pid)
    syncs = [world.server.start(connection) for connection in connections]
    time.sleep(1)
    took = calls(world, seconds)
    cpu, peak = process.cpu(world.server.pid) - used, process.memory(world.server.pid)[2]
    for sync in syncs:
        found = world.server.call("GET", f"/syncs/{sync}")["sync"]
        if found.get("finishedAt"):
            raise SystemExit(f"{kind}: it had ended before the measurement did: {json.dumps(found)}")
        world.server.call("POST", f"/syncs/{sync}/cancel", {})
    for sync in syncs:
        while not world.server.call("GET", f"/syncs/{sync}")["sync"].get("finishedAt"):
            time.sleep(0.05)
    for connection in connections:
        world.server.call("DELETE", f"/source-connections/{connection}?deleteData=true")
    for rogue in rogues:
        rogue.terminate()
        rogue.wait()
    world.server.settle()
    return took, {"grown": peak - resident, "cpu": cpu}


def run(program, seconds):
    """The stage: quiet before and after each kind, since machines change."""
    world, found = World(program), []
    try:
        calls(world, 2)
        for kind in KINDS:
            before = calls(world, seconds)
            took, one = beside(world, kind, seconds)
            after = calls(world, seconds)
            one |= {"kind": kind}
            for call in ("get", "search"):
                quiet = before[call] + after[call]
                one[call] = {"calls": len(took[call]), "p50": percentile(took[call], 0.5)}
                one[call] |= {"p99": percentile(took[call], 0.99), "most": max(took[call])}
                one[call] |= {"quiet_p50": percentile(quiet, 0.5), "quiet_p99": percentile(quiet, 0.99)}
                one[call]["times"] = one[call]["p99"] / one[call]["quiet_p99"]
            found.append(one)
            print(json.dumps(one), flush=True)
    finally:
        world.stop()
    return found
