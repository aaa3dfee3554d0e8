"""The tables. Everything in them follows from the number of the row, so that
each run, anywhere, has the same."""

# About 400 bytes a row as PostgreSQL sends it: text, integers, numerics,
# timestamps, jsonb and NULLs.
WIDE = """
CREATE TABLE wide AS
SELECT i AS id,
    'Customer ' || md5(i::text) AS name,
    (array['open', 'closed', 'pending', 'shipped'])[(1 + i % 4)::int] AS status,
    (i * 7919 % 100000)::int AS quantity,
    CASE WHEN i % 5 <> 0 THEN round((i * 37 % 1000000)::numeric / 100, 2) END AS price,
    timestamptz '2020-01-01 00:00:00+00' + i * interval '1 second' AS created_at,
    timestamp '2021-01-01 00:00:00' + i * interval '3 seconds' AS updated_at,
    CASE WHEN i % 3 <> 0 THEN 'Note about item ' || i || ': ' || md5((i * 3)::text) || ' waterproof tent with '
        || (i % 977) || ' poles and ' || (i % 53) || ' pegs, stored in hall ' || (i % 17) END AS note,
    (array['Packed by hand', 'Delivered on a pallet', 'Kept for a client', 'Returned after a week'])[(1 + i / 3 % 4)::int]
        || ' in ' || (array['Lisbon', 'Bergen', 'Krakow', 'Valencia', 'Tampere'])[(1 + i / 7 % 5)::int]
        || (array[', to be checked', ', paid in advance', ', insured'])[(1 + i / 11 % 3)::int]
        || ', see order ' || (i * 31 % 900001) || ' of batch ' || (i / 250) || ' on shelf ' || (i % 389) AS summary,
    jsonb_build_object('color', (array['red', 'green', 'blue'])[(1 + i % 3)::int],
        'tags', jsonb_build_array('t' || i % 10, 't' || i % 7), 'weight', i % 1000,
        'ref', md5((i * 5)::text)) AS attributes,
    (i % 2 = 0) AS active
FROM generate_series(1::bigint, {rows}) AS i;
ALTER TABLE wide ADD PRIMARY KEY (id);
VACUUM (FREEZE, ANALYZE) wide;
"""

# A few numbers and a word.
NARROW = """
CREATE TABLE narrow AS
SELECT i AS id, (i * 7919 % 100000)::int AS quantity, 'n' || i % 1000 AS name
FROM generate_series(1::bigint, {rows}) AS i;
ALTER TABLE narrow ADD PRIMARY KEY (id);
VACUUM (FREEZE, ANALYZE) narrow;
"""

# Little more than keys.
KEYS = """
CREATE TABLE keys AS SELECT i AS id, (i % 10)::smallint AS digit FROM generate_series(1::bigint, {rows}) AS i;
ALTER TABLE keys ADD PRIMARY KEY (id);
VACUUM (FREEZE, ANALYZE) keys;
"""

TABLES = {"wide": WIDE, "narrow": NARROW, "keys": KEYS}

# Rounds touch different rows, and never those that another round deleted.
CHANGE = """
UPDATE wide SET note = coalesce(note, '') || ' changed in round {round}', quantity = quantity + 1
WHERE id % 100 = {round};
DELETE FROM wide WHERE id % 200 = {round} + 50;
ANALYZE wide;
"""


def make(cluster, table, rows):
    """Makes a database with one table; the same one for the same number of rows."""
    name = f"{table}_{rows}"
    if cluster.run("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == "":
        cluster.run("postgres", f"CREATE DATABASE {name}")
        cluster.run(name, TABLES[table].format(rows=rows))
    return name


def change(cluster, database, number):
    """Changes 1 % of the rows and deletes 0.5 %, others in each round (1 to 49).

    Returns how many were changed and deleted.
    """
    count = "SELECT count(*) FROM wide WHERE id % {0} = {1}"
    updated = int(cluster.run(database, count.format(100, number)))
    deleted = int(cluster.run(database, count.format(200, number + 50)))
    cluster.run(database, CHANGE.format(round=number))
    return updated, deleted
