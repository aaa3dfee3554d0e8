"""The tables of the report, one for each stage."""

from bench.ours import STEPS
from bench.statistics import median, seconds, spread

TITLES = {
    "limit": "The limit",
    "ours": "Syncs of the wide table",
    "search": "Searching while a first sync runs",
    "side": "Side by side",
    "tantivy": "Tantivy alone",
    "peers": "Other tools",
    "memory": "Many rows",
    "soak": "Ten syncs in a row",
}
COST = ["wall s", "of the limit", "CPU s, tool + PostgreSQL", "peak MiB"]


def of(stage, about):
    """The table of a stage."""
    return globals()[f"_{stage}"](about["figures"], about)


def table(heads, rows):
    """A table of Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def cost(samples, limit, scale=1.0):
    """Cells of COST; `scale` is how many times more rows there are than were measured."""
    def middle(key):
        return median([one[key] for one in samples])
    wall = spread([one["wall"] for one in samples]) if scale == 1 else seconds(middle("wall") * scale)
    cpu = f"{seconds(middle('cpu') * scale)} + {seconds(middle('postgres') * scale)}"
    peak = max(one["peak"] for one in samples)
    return [wall, f"{seconds(middle('wall') * scale / limit)}x", cpu, f"{peak:.0f}"]


def _limit(figures, about):
    rows = [[f"`COPY wide TO STDOUT`, {form}", *cost(samples, about["limit"])] for form, samples in figures.items()]
    return table(["psql, to nowhere", *COST], rows)


def _ours(figures, about):
    rows = []
    for step, name in STEPS.items():
        anonymous = max(one["anonymous"] for one in figures[step])
        rows.append([name, *cost(figures[step], about["limit"]), f"{anonymous:.0f}"])
    merging, disk = median(figures["merging"]), max(figures["disk"])
    after = (f"\n\nAfter the first sync, merging goes on for {seconds(merging)} CPU seconds. "
             f"Everything that is kept takes {disk:,.0f} MiB.")
    warnings = sorted({f"{code} ({name})" for step, name in STEPS.items() for one in figures[step]
                       for code in one["warnings"]})
    if warnings:
        after += f"\n\n**Syncs gave warnings: {', '.join(warnings)}.**"
    return table(["sync", *COST, "of it anonymous"], rows) + after


def _search(figures, about):
    rows = []
    for name, key in (("during the first sync", "during"), ("when nothing else goes on", "after")):
        one = figures[key]
        rows.append([name, one["queries"], *(f"{one[part]:.1f}" for part in ("p50", "p99", "most"))])
    wall = figures["sync"]["wall"]
    hit = figures["first_hit"]
    found = f"found {seconds(hit)} s after the call that started the sync" if hit else "not found during the sync"
    return (f"The first document was {found}; the sync took {seconds(wall)} s "
            f"({seconds(wall / about['limit'])}x). Words of different frequency, one query at a time.\n\n"
            + table(["search over REST", "queries", "p50 ms", "p99 ms", "longest ms"], rows))


def _side(figures, about):
    rows = [[name, f"{rows:,}", seconds(wall), f"{seconds(wall / about['limit'])}x"]
            for name, rows, wall in figures["syncs"]]
    return table(["first sync", "rows", "wall s", "of the limit"], rows)


def _tantivy(figures, about):
    if "reason" in figures:
        return f"Not measured: {figures['reason']}."
    return table(["documents made beforehand", *COST], [["index and commit", *cost(figures["alone"], about["limit"])]])


def _peers(figures, about):
    rows = []
    for peer in figures:
        scale = about["rows"] / peer["rows"]
        limit = peer.get("limit", about["limit"])
        note = "" if scale == 1 else f"measured on {peer['rows']:,} rows and scaled"
        if "reason" in peer:
            rows.append([peer["name"], peer["makes"], *[""] * len(COST), f"failed: {peer['reason']}".replace("|", "/")])
        for step, name in (("first", peer["name"]), ("again", "again, nothing changed")):
            if peer.get(step):
                rows.append([name, peer["makes"], *cost(peer[step], limit, scale), note])
    return table(["tool", "makes", *COST, ""], rows)


def _memory(figures, about):
    rows = []
    for name, found in figures.items():
        limit = found["limit"]["wall"]
        for step in ("first", "proved", "plain"):
            label = f"`{name}`, {found['rows']:,} rows: {STEPS[step]}"
            rows.append([label, *cost([found[step]], limit), f"{found[step]['anonymous']:.0f}"])
    return "The limit here is the COPY of the same table.\n\n" + table(["sync", *COST, "of it anonymous"], rows)


def _soak(figures, about):
    rows = [
        [number, seconds(one["wall"]), f"{one['resident']:.0f}", f"{one['anonymous']:.0f}", one["descriptors"]]
        for number, one in enumerate(figures["after"], start=1)
    ]
    heads = ["sync", "wall s", "resident after it, MiB", "most anonymous in it, MiB", "open descriptors"]
    return "Every second one after changes, every third one reads every row.\n\n" + table(heads, rows)
