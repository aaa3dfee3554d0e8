"""Our server: the program itself, driven over REST as anybody would."""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time

from bench import postgres, process

ADMIN_KEY = "an-admin-key-for-measuring-only"


class Server:
    """A running server with a data folder of its own, which goes with it."""

    def __init__(self, program, flags=()):
        self.folder = tempfile.mkdtemp(prefix="tributary-bench-")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIBUTARY_")}
        environment["TRIBUTARY_ADMIN_KEY"] = ADMIN_KEY
        command = [program, "--json", "serve", "--listen", "127.0.0.1:0"]
        command += ["--data-dir", os.path.join(self.folder, "data"), *flags]
        with open(os.path.join(self.folder, "log"), "wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the server did not start: see {self.folder}/log")
        self.address = json.loads(line)["addresses"][0]
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def door(self):
        """A connection to it, which one thread may use."""
        host, port = self.address.rsplit(":", 1)
        return http.client.HTTPConnection(host, int(port), timeout=3600)

    def call(self, method, path, body=None, door=None):
        """One call; the reply's JSON. Anything but a success ends the benchmark."""
        # The server ends a connection that says nothing for long, so none is kept here.
        with contextlib.closing(self.door()) if door is None else contextlib.nullcontext(door) as through:
            response = self._send(through, method, path, body)
            text = response.read()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {text.decode(errors='replace')}")
        return json.loads(text)

    @staticmethod
    def _send(door, method, path, body=None):
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
        door.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), headers)
        return door.getresponse()

    def collection(self):
        """Makes a collection; its id."""
        return self.call("POST", "/collections", {"name": "Bench"})["collection"]["id"]

    def connection(self, collection, cluster, database, table):
        """Makes a connection to one table; its id."""
        credentials = {"host": "127.0.0.1", "port": cluster.port, "database": database}
        credentials |= {"username": postgres.USER, "password": postgres.PASSWORD}
        body = {"collectionId": collection, "sourceShortName": "postgresql", "name": "Bench"}
        body |= {"credentials": credentials, "config": {"tables": [f"public.{table}"]}}
        return self.call("POST", "/source-connections", body)["sourceConnection"]["id"]

    def start(self, connection, full=False):
        """Starts a sync; its id."""
        return self.call("POST", f"/source-connections/{connection}/run", {"full": full}, self.door())["syncId"]

    def finished(self, sync):
        """Waits for the end of a sync; the sync. One that does not succeed ends the benchmark.

        It asks rather than watches, since events of a sync are spaced out. The
        later it is the more seldom it asks: that is at most 2 % of the time.
        """
        door, started = self.door(), time.monotonic()
        while True:
            found = self.call("GET", f"/syncs/{sync}", door=door)["sync"]
            if found.get("finishedAt"):
                break
            time.sleep(min(0.2, max(0.005, (time.monotonic() - started) / 50)))
        door.close()
        if found["status"].lower() != "succeeded":
            raise SystemExit(f"the sync ended otherwise: {json.dumps(found)}")
        return found

    def sync(self, connection, cluster, full=False):
        """Runs a sync to its end, and measures from the call to the word that it has ended.

        The figures and the counters of the sync.
        """
        process.forget_peak(self.pid)
        ours, theirs, started = process.cpu(self.pid), cluster.cpu(), time.monotonic()
        with process.Watch(self.pid, alone=True) as watch:
            sync = self.finished(self.start(connection, full))
        wall = time.monotonic() - started
        resident, _, peak = process.memory(self.pid)
        figures = {
            "wall": wall,
            "cpu": process.cpu(self.pid) - ours,
            "postgres": cluster.cpu() - theirs,
            "peak": peak,
            "anonymous": watch.anonymous,
            "resident": resident,
            "descriptors": process.descriptors(self.pid),
            "warnings": [warning["code"] for warning in sync.get("warnings", [])],
        }
        return figures, counters(sync["progress"])

    def search(self, collection, query, door=None):
        """The results of a query."""
        reply = self.call("POST", f"/collections/{collection}/search", {"query": query}, door)
        return reply.get("results", [])

    def disk(self):
        """MiB that it keeps."""
        done = subprocess.run(["du", "-sk", self.folder], capture_output=True, text=True)
        return int(done.stdout.split()[0]) / 1024

    def settle(self):
        """Waits until it has nothing to do, so that merging is in no other figure; the CPU seconds it took."""
        before = last = process.cpu(self.pid)
        quiet = 0
        while quiet < 30:
            time.sleep(0.1)
            now = process.cpu(self.pid)
            quiet = quiet + 1 if now - last < 0.02 else 0
            last = now
        return last - before


def counters(progress):
    """The counters of a sync that are not nought."""
    names = ("Inserted", "Updated", "Deleted", "Unchanged", "Failed")
    found = {name.lower(): int(progress.get(f"items{name}", 0)) for name in names}
    return {name: count for name, count in found.items() if count}


def expect(counted, **expected):
    """Ends the benchmark unless a sync did this: the figures of one that did something else are worth nothing."""
    for name, count in expected.items():
        if counted.get(name, 0) != count:
            raise SystemExit(f"{name} should be {count}: {counted}")
    if counted.get("failed"):
        raise SystemExit(f"rows failed: {counted}")
