"""The goals, and whether the kept figures meet them.

Stages may have been measured in different runs, so times of two stages are
compared as multiples of the limit of their own run.
"""

from bench.ours import STEPS
from bench.statistics import seconds


def lines(book):
    """A line for each goal: its name, the most that it may be, what it is, the verdict."""
    found = []
    for name, most, unit, value in _goals(book):
        if not value or most is None:
            found.append((name, _number(most, unit), _number(value or None, unit), "not measured"))
        else:
            found.append((name, _number(most, unit), _number(value, unit), verdict(value, most)))
    return found


def verdict(value, most):
    """`met`, or by how much not."""
    return "met" if value <= most else f"**missed by {100 * (value / most - 1):.0f} %**"


def _number(value, unit):
    return "" if value is None else f"{seconds(value)} {unit}".replace(" x", "x")


def _goals(book):
    first = book.times("ours", "first")
    for name in ("ingestr", "sling", "meltanolabs"):
        yield f"first sync before {name} has landed JSON lines", book.peer(name), "x", first
    for name in ("FTS5", "tsvector", "CocoIndex"):
        yield f"first sync before {name} is searchable", book.peer(name), "x", first
    alone = book.times("tantivy", "alone")
    yield "first sync within 1.25 of Tantivy alone", 1.25, "x", first / alone if first and alone else None
    yield "stretch: first sync before dlt, connectorx has landed Parquet", book.peer("dlt, connectorx"), "x", first
    yield "nothing changed, every row read", 1.1, "x", book.times("ours", "plain")
    yield "nothing changed, by proof", 0.35, "x", book.times("ours", "proved")
    yield "1 % changed, 0.5 % deleted, every row read", 1.4, "x", book.times("ours", "changed plain")
    yield "1 % changed, 0.5 % deleted, by proof", 0.7, "x", book.times("ours", "changed")
    peak = _peak(book)
    yield "peak resident memory", 250, "MiB", peak
    yield "goal: peak resident memory", 150, "MiB", peak
    memory, small = book.figures("memory"), book.figures("ours")
    grown = memory and small and memory["narrow"]["first"]["peak"] / max(one["peak"] for one in small["first"])
    yield "peak of five times the rows, narrow, to that of the wide table", 1.25, "x", grown
    yield "peak resident memory with ten times the keys", 1024, "MiB", memory and max(
        memory["keys"][step]["peak"] for step in ("first", "proved", "plain"))
    search = book.figures("search")
    yield "first document can be found", 2, "s", search and search["first_hit"]
    yield "a search during a first sync, p99", 50, "ms", search and search["during"]["p99"]
    side = {name: wall for name, _, wall in (book.figures("side") or {"syncs": []})["syncs"]}
    yield "a small sync beside a large one, to the same alone", 3, "x", side and side["small, beside"] / side["small"]
    soak = book.figures("soak")
    yield "resident memory after the tenth sync to that after the second", 1.1, "x", soak and (
        soak["after"][-1]["resident"] / soak["after"][1]["resident"])
    yield "open descriptors after the tenth sync to those after the second", 1.0, "x", soak and (
        soak["after"][-1]["descriptors"] / soak["after"][1]["descriptors"])


def _peak(book):
    ours, memory = book.figures("ours"), book.figures("memory")
    if not ours:
        return None
    samples = [one for step in STEPS for one in ours[step]]
    if memory:
        samples += [memory["narrow"][step] for step in ("first", "proved", "plain")]
    return max(one["peak"] for one in samples)
