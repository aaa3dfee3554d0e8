"""Makes a table searchable with SQLite's FTS5: URL, folder.

Rows come as CSV from psql, the fastest way into Python that needs no driver.
"""

import csv
import io
import sqlite3
import subprocess
import sys

COPY = "COPY (SELECT id, name, concat_ws(' ', status, note, summary, attributes) FROM wide) TO STDOUT (FORMAT csv)"


def main(url, folder):
    """One transaction, then the segments of the index merged into one."""
    store = sqlite3.connect(f"{folder}/fts5.db")
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("PRAGMA synchronous = NORMAL")
    store.execute("CREATE VIRTUAL TABLE documents USING fts5(id UNINDEXED, title, body)")
    with subprocess.Popen(["psql", "-X", "-q", url, "-c", COPY], stdout=subprocess.PIPE) as psql:
        rows = csv.reader(io.TextIOWrapper(psql.stdout, encoding="utf-8"))
        store.executemany("INSERT INTO documents VALUES (?, ?, ?)", rows)
    if psql.returncode:
        raise SystemExit("psql failed")
    store.commit()
    found = store.execute("SELECT count(*) FROM documents WHERE documents MATCH 'waterproof'").fetchone()[0]
    if not found:
        raise SystemExit("nothing can be found")


if __name__ == "__main__":
    main(*sys.argv[1:])
