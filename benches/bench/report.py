"""The figures of all stages, and the part of BENCHMARKS.md that tells of them."""

import json
import os

from bench import goals, machine, tables
from bench.statistics import median, seconds

BEGIN = "<!-- figures: written by benches/run from here -->"
END = "<!-- figures: to here -->"


class Book:
    """Figures by stage, kept in benches/figures.json: each with its commit, day, machine and limit."""

    def __init__(self, root):
        self.root = root
        self.path = os.path.join(root, "benches", "figures.json")
        self.stages = {}
        if os.path.exists(self.path):
            with open(self.path) as file:
                self.stages = json.load(file)

    def take(self, stage, figures, campaign):
        """Keeps what a stage found. Peers that were not run this time keep what they had."""
        if stage == "peers" and campaign.only and self.rows(stage) == campaign.rows:
            new = {peer["name"] for peer in figures}
            kept = self.stages[stage]
            for peer in kept["figures"]:
                if peer["name"] not in new:
                    figures.append({"limit": kept["limit"]} | peer)
        about = machine.describe(self.root)
        about |= {"rows": campaign.rows, "runs": campaign.runs, "limit": campaign.limit()}
        self.stages[stage] = about | {"figures": figures}

    def figures(self, stage):
        """What a stage found, or nothing."""
        return self.stages.get(stage, {}).get("figures")

    def rows(self, stage):
        """Rows of the wide table that a stage was run with."""
        return self.stages.get(stage, {}).get("rows")

    def times(self, stage, step):
        """Median wall time of a step, in times of the limit."""
        samples = (self.figures(stage) or {}).get(step)
        return median([one["wall"] for one in samples]) / self.stages[stage]["limit"] if samples else None

    def peer(self, name):
        """The same of a peer's first run, scaled to all rows."""
        for peer in self.figures("peers") or []:
            if name in peer["name"] and "first" in peer:
                scale = self.rows("peers") / peer["rows"]
                limit = peer.get("limit", self.stages["peers"]["limit"])
                return median([one["wall"] for one in peer["first"]]) * scale / limit
        return None

    def section(self, stage):
        """The table of a stage."""
        about = self.stages[stage]
        head = (f"Commit {about['commit']}, {about['date']}; {about['cores']} cores, {about['memory']} GiB; "
                f"{about['rows']:,} rows; {about['runs']} runs; limit in this run {seconds(about['limit'])} s.")
        return f"### {tables.TITLES[stage]}\n\n{head}\n\n{tables.of(stage, about)}\n"

    def goals(self):
        """The table of goals."""
        rows = tables.table(["goal", "at most", "is", ""], goals.lines(self))
        return f"### Goals\n\n`x` is times the limit, the bare binary `COPY`, of the same run.\n\n{rows}\n"

    def write(self):
        """Keeps the figures, and replaces the part of BENCHMARKS.md between the marks."""
        with open(self.path, "w") as file:
            json.dump(self.stages, file, indent=1)
            file.write("\n")
        path = os.path.join(self.root, "BENCHMARKS.md")
        with open(path) as file:
            text = file.read()
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        parts = [self.goals()] + [self.section(stage) for stage in tables.TITLES if stage in self.stages]
        with open(path, "w") as file:
            file.write(f"{before}{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}{after}")
