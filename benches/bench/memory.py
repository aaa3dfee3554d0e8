"""Memory with many rows: five million narrow ones, ten million that are little
more than keys."""

from bench import data, limit
from bench.server import Server, expect

# Table -> how many times the rows of the wide one.
TABLES = {"narrow": 5, "keys": 10}
STEPS = ("first", "proved", "plain")


def run(campaign):
    """The stage: a first sync and two of unchanged data of each table."""
    found = {}
    for table, times in TABLES.items():
        rows = campaign.rows * times
        database = data.make(campaign.cluster, table, rows)
        figures = {"rows": rows, "limit": limit.copy(campaign.cluster, database, table=table)}
        with Server(campaign.program) as server:
            connection = server.connection(server.collection(), campaign.cluster, database, table)
            for step in STEPS:
                figures[step], counted = server.sync(connection, campaign.cluster, full=step == "plain")
                expect(counted, inserted=rows if step == "first" else 0, updated=0, deleted=0)
                server.settle()
            figures["disk"] = server.disk()
        campaign.cluster.drop(database)
        campaign.say(f"{table}: first {figures['first']['wall']:.1f} s, peak {figures['first']['peak']:.0f} MiB")
        found[table] = figures
    return found
