"""First, second and further syncs of the wide table, each round with a server
and a database of its own."""

from bench import data
from bench.server import Server, expect

# What is measured of one round, in its order: figure -> what it is called.
STEPS = {
    "first": "first sync, from nothing to searchable",
    "proved": "nothing changed, by proof",
    "proved again": "nothing changed, by proof, once more",
    "plain": "nothing changed, every row read",
    "changed": "1 % changed and 0.5 % deleted, by proof",
    "changed plain": "1 % changed and 0.5 % deleted, every row read",
}


def run(campaign):
    """The stage: so many rounds."""
    rounds = [one_round(campaign) for _ in range(campaign.runs)]
    return {key: [figures[key] for figures in rounds] for key in rounds[0]}


def one_round(campaign):
    """Each step once."""
    database = campaign.fresh_wide()
    figures = {}
    with Server(campaign.program) as server:
        connection = server.connection(server.collection(), campaign.cluster, database, "wide")
        # Beside each round, so that a machine that is slow now is slow for both.
        campaign.measure_limit(database)

        figures["first"], counted = server.sync(connection, campaign.cluster)
        expect(counted, inserted=campaign.rows, updated=0, deleted=0)
        figures["merging"] = server.settle()
        figures["disk"] = server.disk()

        for step in ("proved", "proved again", "plain"):
            figures[step], counted = server.sync(connection, campaign.cluster, full=step == "plain")
            expect(counted, inserted=0, updated=0, deleted=0)
            server.settle()

        for number, step in enumerate(("changed", "changed plain"), start=1):
            updated, deleted = data.change(campaign.cluster, database, number)
            figures[step], counted = server.sync(connection, campaign.cluster, full=step == "changed plain")
            expect(counted, inserted=0, updated=updated, deleted=deleted)
            server.settle()
    campaign.cluster.drop(database)
    campaign.say(f"first {figures['first']['wall']:.2f} s, proved {figures['proved']['wall']:.2f} s, "
              f"plain {figures['plain']['wall']:.2f} s, limit {campaign.limits[-1]:.2f} s")
    return figures
