"""Lands a table as JSON lines with a Singer tap and target: tap, target, URL, folder."""

import json
import pathlib
import subprocess
import sys


def main(tap, target, url, folder):
    """Discovers, selects every stream, and pipes one program into the other."""
    folder = pathlib.Path(folder)
    settings, catalog = folder / "tap.json", folder / "catalog.json"
    settings.write_text(json.dumps({"sqlalchemy_url": url, "filter_schemas": ["public"]}))
    (folder / "target.json").write_text(json.dumps({"destination_path": str(folder)}))
    found = json.loads(subprocess.run(
        [tap, "--config", settings, "--discover"], check=True, stdout=subprocess.PIPE).stdout)
    for stream in found["streams"]:
        for entry in stream["metadata"]:
            entry["metadata"]["selected"] = True
    catalog.write_text(json.dumps(found))
    with subprocess.Popen([tap, "--config", settings, "--catalog", catalog], stdout=subprocess.PIPE) as reads:
        subprocess.run([target, "--config", folder / "target.json"], stdin=reads.stdout, check=True)
    if reads.returncode or not any(path.stat().st_size for path in folder.glob("*.jsonl")):
        raise SystemExit("nothing has landed")


if __name__ == "__main__":
    main(*sys.argv[1:])
