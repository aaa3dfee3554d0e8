"""What Tantivy alone takes for the same documents, already made: the bound of a
first sync."""

import json
import os
import re
import subprocess
import tempfile

from bench import process
from bench.process import Failed

# As our server makes a document of a row: title, a line for each column, every column.
COLUMNS = ("id", "name", "status", "quantity", "price", "created_at", "updated_at", "note",
           "summary", "attributes", "active")
BODY = ", ".join(f"'{column}: ' || (to_json({column}) #>> '{{}}')" for column in COLUMNS)
DOCUMENTS = f"""
SELECT json_build_object('title', name, 'body', concat_ws(E'\\n', {BODY}),
    'metadata', json_strip_nulls(to_json(wide))) FROM wide
"""
PROGRAM = "benches/tantivy_alone.rs"


def export(campaign, path):
    """Writes a line of JSON for each document."""
    command = campaign.cluster.psql(campaign.wide(), "-A", "-t", "-v", "FETCH_COUNT=10000", "-c", DOCUMENTS)
    with open(path, "wb") as file:
        subprocess.run(command, check=True, stdout=file)


def run(campaign):
    """The stage: the program says `seconds: X`; reading the file is not in it."""
    if not os.path.exists(os.path.join(campaign.root, PROGRAM)):
        return {"reason": f"{PROGRAM} is not there"}
    program = build(campaign)
    with tempfile.TemporaryDirectory(prefix="tributary-bench-documents-") as folder:
        path = os.path.join(folder, "documents.jsonl")
        export(campaign, path)
        figures = []
        try:
            for _ in range(campaign.runs):
                campaign.measure_limit()
                figures.append(once([program, path], campaign, folder))
        except Failed as failure:
            return {"reason": str(failure)}
        return {"alone": figures}


def build(campaign):
    """The program, as `cargo bench --bench tantivy_alone` would run it."""
    cargo = ["cargo", "bench", "--quiet", "--bench", "tantivy_alone", "--no-run", "--message-format", "json"]
    done = subprocess.run(cargo, cwd=campaign.root, check=True, stdout=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    # The server's program is built and named too.
    of_bench = [message for message in messages if message.get("target", {}).get("name") == "tantivy_alone"]
    return [message["executable"] for message in of_bench if message.get("executable")][-1]


def once(command, campaign, folder):
    """One run of the program, which makes its index in the folder that it is run in."""
    said = os.path.join(folder, "said")
    with open(said, "wb") as output:
        figures = process.measure(command, campaign.cluster, os.path.join(folder, "log"), cwd=folder, stdout=output)
    with open(said) as file:
        found = re.search(r"seconds:\s*([0-9.]+)", file.read())
    if not found:
        raise Failed("it printed no line `seconds: X`")
    return figures | {"wall": float(found.group(1))}
