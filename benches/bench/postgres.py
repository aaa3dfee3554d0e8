"""A PostgreSQL of the benchmark's own, started for a run and removed after it."""

import glob
import os
import shutil
import socket
import subprocess
import tempfile
import time

from bench import process

USER = "postgres"
PASSWORD = "postgres"


def programs():
    """Folder with `initdb` and `postgres`, of the newest version there is."""
    folders = [os.path.dirname(path) for path in glob.glob("/usr/lib/postgresql/*/bin/initdb")]
    if not folders:
        raise SystemExit("PostgreSQL's server programs are missing: install the package `postgresql`")
    return max(folders, key=lambda folder: float(folder.split("/")[-2]))


def free_port():
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Cluster:
    """The running server."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tributary-bench-postgres-")
        self.port = free_port()
        self.programs = programs()
        self._log = open(os.path.join(self.folder, "log"), "wb")
        # PostgreSQL refuses to run as root.
        self._as = []
        if os.getuid() == 0:
            self._as = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(self.folder, "nobody")
        self._data = os.path.join(self.folder, "data")
        self._initialise()
        self._server = self._start()

    def _initialise(self):
        password = os.path.join(self.folder, "password")
        with open(password, "w") as file:
            file.write(PASSWORD)
        os.chmod(password, 0o644)
        command = [f"{self.programs}/initdb", "-D", self._data, "-U", USER, "--auth-local=trust"]
        command += ["--auth-host=scram-sha-256", f"--pwfile={password}", "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(self._as + command, check=True, stdout=self._log, stderr=self._log)

    def _start(self):
        # Vacuum runs when the benchmark says so, not in the middle of a measurement.
        settings = ["shared_buffers=1GB", "max_wal_size=8GB", "fsync=off", "autovacuum=off"]
        settings += ["wal_level=logical", "max_connections=100"]
        command = [f"{self.programs}/postgres", "-D", self._data, "-p", str(self.port)]
        command += ["-k", self.folder, "-h", "127.0.0.1"]
        for setting in settings:
            command += ["-c", setting]
        server = subprocess.Popen(self._as + command, stdout=self._log, stderr=self._log)
        ready = [f"{self.programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 60
        while subprocess.run(ready).returncode != 0:
            if time.monotonic() > deadline or server.poll() is not None:
                raise SystemExit(f"PostgreSQL did not start: see {self.folder}/log")
            time.sleep(0.05)
        return server

    def stop(self):
        """Stops the server and removes its folder."""
        self._server.terminate()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.send_signal(3)  # SIGQUIT: without waiting for clients.
            self._server.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu(self):
        """CPU seconds of all its processes so far."""
        return process.cpu(self._server.pid)

    def psql(self, database, *arguments):
        """The command line of psql in a database."""
        return ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", self.url(database), *arguments]

    def run(self, database, sql):
        """Runs statements, each by itself, and returns what they print, unadorned."""
        command = self.psql(database, "-A", "-t", "-f", "-")
        done = subprocess.run(command, input=sql, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"PostgreSQL refused: {done.stderr.strip()}")
        return done.stdout.strip()

    def url(self, database):
        """URL with the password."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def copy(self, template, name):
        """Makes a database anew as a copy of another, and returns its name."""
        self.run("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE);\n"
                             f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY;\nCHECKPOINT;")
        return name

    def drop(self, name):
        """Removes a database."""
        self.run("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
