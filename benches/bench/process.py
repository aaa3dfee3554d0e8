"""What a process takes, as the kernel counts it."""

import os
import signal
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """Parent, own CPU seconds, CPU seconds of children that ended and were waited for."""
    with open(f"/proc/{pid}/stat") as file:
        # The second field is a name in parentheses, which may hold anything.
        fields = file.read().rsplit(")", 1)[1].split()
    own, ended = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return int(fields[1]), own / TICKS, ended / TICKS


def family(root):
    """A process and all that it started, as of now."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                children.setdefault(_stat(name)[0], []).append(int(name))
            except (OSError, IndexError):
                continue  # It ended meanwhile.
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def cpu(root):
    """CPU seconds of a process and of all that it started, ended ones too."""
    total = 0.0
    for pid in family(root):
        try:
            _, own, ended = _stat(pid)
            total += own + ended
        except (OSError, IndexError):
            continue
    return total


def memory(pid):
    """Resident, anonymous resident, and most resident memory so far, in MiB."""
    found = {}
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in ("VmRSS", "RssAnon", "VmHWM"):
                found[name] = int(value.split()[0]) / 1024
    return found.get("VmRSS", 0.0), found.get("RssAnon", 0.0), found.get("VmHWM", 0.0)


def forget_peak(pid):
    """The most resident memory begins anew with what is resident now."""
    with open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")


def descriptors(pid):
    """Open file descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class Watch:
    """Samples the memory of a process and of all that it started, until told to stop."""

    def __init__(self, pid, alone=False):
        self.pid, self.alone = pid, alone
        self.peak = self.anonymous = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while True:
            resident = anonymous = most = 0.0
            for pid in [self.pid] if self.alone else family(self.pid):
                try:
                    sample = memory(pid)
                except OSError:
                    continue
                resident, anonymous = resident + sample[0], anonymous + sample[1]
                most = max(most, sample[2])
            # What one process had between two samples is known, too.
            self.peak = max(self.peak, resident, most)
            self.anonymous = max(self.anonymous, anonymous)
            if self._stop.wait(0.05):
                return


class Failed(Exception):
    """A program that ended with an error; the end of what it said."""


def measure(command, cluster, log, timeout=3600, **options):
    """Runs a command to its end: wall, CPU of it and of PostgreSQL, peak memory.

    What it says goes to the file `log`; of a failure, the last lines are told.
    """
    before, started = cluster.cpu(), time.monotonic()
    with open(log, "ab") as output:
        options.setdefault("stdout", output)
        child = subprocess.Popen(
            command, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True, **options)
        with Watch(child.pid) as watch:
            killer = threading.Timer(timeout, os.killpg, (child.pid, signal.SIGKILL))
            killer.start()
            # Popen's own wait would not tell what the child has used.
            _, status, usage = os.wait4(child.pid, 0)
            killer.cancel()
    wall = time.monotonic() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        with open(log, errors="replace") as file:
            said = [line.strip() for line in file.read().splitlines() if line.strip()]
        raise Failed(f"ended with {child.returncode}: {' / '.join(said[-3:])[-300:]}")
    return {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "postgres": cluster.cpu() - before,
        "peak": watch.peak,
    }
