"""Other tools on the same rows: those that only land them in files, and those
that make them searchable."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Callable

from bench import process, tools

# Nothing that is measured may call home.
QUIET = {
    "DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "INGESTR_DISABLE_TELEMETRY": "true",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "SLING_DISABLE_TELEMETRY": "true",
    "COCOINDEX_DISABLE_USAGE_TRACKING": "1",
}
LONGEST = 1800


@dataclass
class Peer:
    """A tool and how it is run."""

    name: str
    # What comes of it: "JSON lines", "Parquet", "searchable".
    makes: str
    # (campaign, bin folder, database, scratch folder) -> command.
    command: Callable
    # Environment of benches/requirements.txt; none for what is there already.
    environment: str = ""
    # Takes minutes for a million rows: measured on fewer, and scaled.
    slow: bool = False
    # It keeps state, so a second run tells something.
    again: bool = False


def _script(name, *more):
    def command(campaign, binaries, database, folder):
        python = os.path.join(binaries, "python") if binaries else sys.executable
        script = os.path.join(campaign.root, "benches", "peers", name)
        return [python, script, campaign.cluster.url(database), folder, *more]
    return command


def _ingestr(campaign, binaries, database, folder):
    return [os.path.join(binaries, "ingestr"), "ingest", "--yes", "--progress", "log",
            "--source-uri", campaign.cluster.url(database), "--source-table", "public.wide",
            "--dest-uri", f"jsonl://{folder}/wide.jsonl", "--dest-table", "wide"]


def _sling(campaign, binaries, database, folder):
    site = subprocess.run([os.path.join(binaries, "python"), "-c",
                           "import sling_linux_amd64 as s; print(s.__path__[0])"],
                          capture_output=True, text=True, check=True).stdout.strip()
    program = os.path.join(site, "bin", "sling-linux-amd64")
    os.chmod(program, 0o755)
    return [program, "run", "--src-conn", campaign.cluster.url(database) + "?sslmode=disable",
            "--src-stream", "public.wide", "--tgt-object", f"file://{folder}/wide.jsonl"]


def _meltano(campaign, binaries, database, folder):
    target = os.path.join(tools.prepare(campaign, "target"), "target-jsonl")
    script = os.path.join(campaign.root, "benches", "peers", "singer.py")
    tap = os.path.join(binaries, "tap-postgres")
    return [sys.executable, script, tap, target, campaign.cluster.url(database), folder]


def _tsvector(campaign, binaries, database, folder):
    return campaign.cluster.psql(database, "-f", os.path.join(campaign.root, "benches", "peers", "tsvector.sql"))


PEERS = [
    Peer("dlt, connectorx", "Parquet", _script("dlt_parquet.py", "connectorx"), "dlt", again=True),
    Peer("dlt, pyarrow", "Parquet", _script("dlt_parquet.py", "pyarrow"), "dlt", again=True),
    Peer("ingestr", "JSON lines", _ingestr, "binaries", again=True),
    Peer("sling", "JSON lines", _sling, "binaries", again=True),
    Peer("meltanolabs-tap-postgres, target-jsonl", "JSON lines", _meltano, "tap", slow=True),
    Peer("SQLite FTS5", "searchable", _script("fts5.py")),
    Peer("PostgreSQL tsvector and GIN", "searchable", _tsvector),
    Peer("CocoIndex, into PostgreSQL", "searchable", _script("cocoindex_rows.py"), "cocoindex", slow=True, again=True),
]


def run(campaign):
    """The stage: each peer; one that cannot be had or fails is listed with the reason."""
    found = []
    for peer in PEERS:
        if campaign.only and not any(word.lower() in peer.name.lower() for word in campaign.only):
            continue
        rows = min(campaign.rows, campaign.slow_rows) if peer.slow else campaign.rows
        entry = {"name": peer.name, "makes": peer.makes, "rows": rows}
        try:
            entry |= measure(campaign, peer, rows)
            campaign.say(f"{peer.name}: {entry['first'][0]['wall']:.1f} s for {rows:,} rows")
        except (process.Failed, subprocess.CalledProcessError, OSError) as failure:
            entry["reason"] = _without_secrets(campaign, str(failure))
            campaign.say(f"{peer.name}: {entry['reason']}")
        found.append(entry)
    return found


def measure(campaign, peer, rows):
    """A peer, so many times from nothing; each time once more on what it left, if it keeps state."""
    binaries = tools.prepare(campaign, peer.environment) if peer.environment else ""
    figures = {"first": [], "again": []}
    for _ in range(1 if peer.slow else campaign.runs):
        database = campaign.cluster.copy(campaign.wide(rows), "peer")
        folder = tempfile.mkdtemp(prefix="tributary-bench-peer-")
        try:
            command = peer.command(campaign, binaries, database, folder)
            options = {"cwd": folder, "env": os.environ | QUIET | {"HOME": folder}, "timeout": LONGEST}
            campaign.measure_limit()
            for step in ("first", "again") if peer.again else ("first",):
                log = os.path.join(folder, "log")
                figures[step].append(process.measure(command, campaign.cluster, log, **options))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            campaign.cluster.drop(database)
    return {step: samples for step, samples in figures.items() if samples}


def _without_secrets(campaign, text):
    """A reason fit to print: without addresses and folders of this run."""
    for word in (campaign.cluster.url(""), campaign.root, campaign.tools):
        text = text.replace(word, "...")
    return text
