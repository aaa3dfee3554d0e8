"""A good client's time to an answer, quiet and while one attacker does its worst."""

import json
import os
import subprocess
import sys
import time

from bench import process
from bench.flood import KINDS
from bench.server import Server
from bench.statistics import percentile

FLOOD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flood.py")
NAMES = [*KINDS, "slow_headers"]
# Between two calls of the good client, so that it does not fill the machine itself.
PAUSE = 0.002


def good(server, seconds):
    """Calls one after another; how long each took, in ms."""
    door, took, until = server.door(), [], time.monotonic() + seconds
    while time.monotonic() < until:
        asked = time.monotonic()
        server.call("GET", "/sources/postgresql", door=door)
        took.append(1000 * (time.monotonic() - asked))
        time.sleep(PAUSE)
    door.close()
    return took


def attack(server, kind, seconds):
    """The same while an attacker, held to one core, does one kind of thing."""
    resident = process.memory(server.pid)[0]
    process.forget_peak(server.pid)
    used = process.cpu(server.pid)
    command = ["taskset", "-c", "0", sys.executable, FLOOD, server.address, kind, str(seconds + 1)]
    attacker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    took = good(server, seconds)
    said, _ = attacker.communicate(timeout=seconds + 60)
    _, _, peak = process.memory(server.pid)
    return {
        "kind": kind,
        "calls": len(took),
        "p50": percentile(took, 0.5),
        "p99": percentile(took, 0.99),
        "most": max(took),
        "grown": peak - resident,
        "cpu": process.cpu(server.pid) - used,
        **json.loads(said),
    }


def run(program, seconds):
    """The stage: quiet before and after each attack, since machines change."""
    found = []
    with Server(program) as server:
        good(server, 2)
        for kind in NAMES:
            quiet = good(server, seconds)
            one = attack(server, kind, seconds)
            quiet += good(server, seconds)
            one |= {"quiet_p50": percentile(quiet, 0.5), "quiet_p99": percentile(quiet, 0.99)}
            one["times"] = one["p99"] / one["quiet_p99"]
            found.append(one)
            print(json.dumps(one), flush=True)
    return found
