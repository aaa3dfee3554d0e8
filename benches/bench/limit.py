"""The limit: what PostgreSQL and its own client take to send the table to nowhere."""

import os
import subprocess

from bench import process


def copy(cluster, database, form="binary", table="wide"):
    """One `COPY` of the whole table."""
    command = cluster.psql(database, "-c", f"COPY {table} TO STDOUT (FORMAT {form})")
    return process.measure(command, cluster, os.devnull, stdout=subprocess.DEVNULL)


def run(campaign):
    """The stage: both formats, once to warm up, then so many times."""
    database = campaign.wide()
    figures = {}
    for form in ("binary", "text"):
        copy(campaign.cluster, database, form)
        figures[form] = [copy(campaign.cluster, database, form) for _ in range(max(3, campaign.runs))]
    campaign.limits += [one["wall"] for one in figures["binary"]]
    return figures
