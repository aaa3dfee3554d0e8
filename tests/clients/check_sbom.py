"""Checks a CycloneDX document against the published schema; prints how many
components it has. Fails with what is wrong."""

import json
import sys
from importlib import resources

import jsonschema_rs

FOLDER = resources.files("cyclonedx.schema") / "_res"
BASE = "http://cyclonedx.org/schema/"


def schema(name):
    """One of the published schemas."""
    return json.loads((FOLDER / name).read_text())


def elsewhere(address):
    """All that the schemas name is at hand; nothing is fetched."""
    raise ValueError(f"{address} is not at hand")


def main():
    """Validates the file that is named."""
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    parts = ["spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json"]
    registry = jsonschema_rs.Registry([(BASE + name, schema(name)) for name in parts], retriever=elsewhere)
    validator = jsonschema_rs.validator_for(schema("bom-1.6.SNAPSHOT.schema.json"), registry=registry)
    wrong = list(validator.iter_errors(document))
    for error in wrong[:5]:
        print(error.message, list(error.instance_path), file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(len(document["components"]))


main()
