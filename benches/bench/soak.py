"""Syncs in a row: memory and open descriptors must stay as they are."""

from bench import data
from bench.server import Server, expect

SYNCS = 10


def run(campaign):
    """The stage: ten syncs after the first, every second one after changes."""
    database = campaign.fresh_wide()
    after = []
    with Server(campaign.program) as server:
        connection = server.connection(server.collection(), campaign.cluster, database, "wide")
        server.sync(connection, campaign.cluster)
        for number in range(1, SYNCS + 1):
            updated = deleted = 0
            if number % 2 == 0:
                updated, deleted = data.change(campaign.cluster, database, number)
            figures, counted = server.sync(connection, campaign.cluster, full=number % 3 == 0)
            expect(counted, inserted=0, updated=updated, deleted=deleted)
            after.append(figures)
    campaign.cluster.drop(database)
    return {"after": after}
