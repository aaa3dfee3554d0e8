"""What figures are of: the machine in general terms, the commit, the day."""

import datetime
import os
import subprocess


def describe(root):
    """Cores, GiB of memory, commit and date."""
    with open("/proc/meminfo") as file:
        kib = next(int(line.split()[1]) for line in file if line.startswith("MemTotal:"))
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory": round(kib / 1024 / 1024),
        "commit": commit(root),
        "date": datetime.date.today().isoformat(),
    }


def commit(root):
    """The commit, with a word if something was not committed."""
    def git(*arguments):
        return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True).stdout.strip()
    short = git("rev-parse", "--short=10", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "migrations", "Cargo.lock")
    return f"{short} with changes" if changed else short
