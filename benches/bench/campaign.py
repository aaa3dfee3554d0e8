"""What all stages share: the database server, the tables, the limit, our program."""

import os
import subprocess
import time

from bench import data, limit, postgres
from bench.statistics import median


class Campaign:
    """One run of the benchmark, from the first stage to the last."""

    def __init__(self, root, options):
        self.root = root
        self.rows, self.runs, self.slow_rows = options.rows, options.runs, options.slow_rows
        self.only = options.only
        target = os.environ.get("CARGO_TARGET_DIR", os.path.join(root, "target"))
        self.tools = options.tools or os.path.join(target, "bench-tools")
        self.program = os.path.abspath(options.server) if options.server else self._build(target)
        self._started = time.monotonic()
        # Seconds of each bare binary COPY of the wide table in this run.
        self.limits = []
        self.cluster = postgres.Cluster()

    def _build(self, target):
        subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=self.root, check=True)
        return os.path.join(target, "release", "tributary")

    def stop(self):
        """Stops the database server."""
        self.cluster.stop()

    def say(self, text):
        """A line about how far it is."""
        print(f"[{time.monotonic() - self._started:5.0f} s] {text}", flush=True)

    def wide(self, rows=None):
        """The wide table's database, which nobody changes."""
        return data.make(self.cluster, "wide", rows or self.rows)

    def fresh_wide(self):
        """A copy of it that may be changed."""
        return self.cluster.copy(self.wide(), "changing")

    def measure_limit(self, database=None):
        """The bare COPY, once more: beside what is measured, since a machine that is slow is slow for both."""
        self.limits.append(limit.copy(self.cluster, database or self.wide())["wall"])

    def limit(self):
        """Median of the limit in this run, in seconds."""
        return median(self.limits)
