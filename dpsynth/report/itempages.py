"""`make figures`: from results/ alone, the pages of the papers' tables and figures, their figures, and claims.csv.

docs/items/<file>.md for each parameter file, docs/items/<file>-<figure>.png, results/claims.csv. It takes seconds, as
nothing is run. What has no results says so, with the command that makes them.
"""

import sys

import pandas as pd

from dpsynth import project, terminal
from dpsynth.methods import METHODS
from dpsynth.mistakes import ended, mistakes
from dpsynth.params import Params
from dpsynth.report import artifact, comparison, items, results, settings
from dpsynth.report.items import Item
from dpsynth.report.markdown import markdown
from dpsynth.rules import Settings

FOLDER = project.PACKAGE.parent / "docs" / "items"
CLAIMS = results.COMMITTED / "claims.csv"
PLAIN = {"method", "epsilon", "seed"}  # axes that need no words
MOST_ROWS = 60  # of a page's table of results
NOTE = (
    "CA without a suffix is the mean accuracy of LR, MLP and CNN. Each difference is the cell claimed to be better, "
    "minus the other. The interval is 95 percent: Student's t over seeds, with the test set's own error added in "
    "squares to accuracies: from each image's answers where these are kept, else binomial, as if both sides erred "
    "independently. Intervals of a rule's pairs, and of the best of "
    "several values, are widened to hold together (Bonferroni). Distances have the spread over seeds alone: they hold "
    "for this test set. One seed has no interval."
)


def write() -> list[str]:
    """Write all of it; the names of the pages."""
    FOLDER.mkdir(exist_ok=True)
    every, written = items.every(), set()
    for item in every:
        drawn = items.draw(item) if len(item.rows) else {}
        written |= {f"{item.name}.md", *(f"{item.name}-{name}.png" for name in (*drawn, *item.experiment.pictures))}
        for name, figure in drawn.items():
            (FOLDER / f"{item.name}-{name}.png").write_bytes(figure.png())
        (FOLDER / f"{item.name}.md").write_text(page(item, list(drawn)), encoding="utf-8")
    artifact.claims_table(every).to_csv(CLAIMS, index=False)
    for file in FOLDER.iterdir():
        if file.name not in written:
            file.unlink()  # of a parameter file, or a figure, that is no more
    return [item.name for item in every]


def page(item: Item, drawn: list[str]) -> str:
    """The page of one parameter file."""
    made = _made(item) if len(item.rows) else f"Not run at scale `{item.experiment.scale}`: `{item.command}` makes it."
    lines = [
        f"# {', '.join(item.experiment.items)}", "",
        item.experiment.reproduces, "",
        f"`{item.command}` ([parameters and rules](../../{_path(item)})). {made}", "",
        "## Verdicts", "",
        markdown(items.verdicts(item)), "",
    ]  # fmt: skip
    if words := _axes(item):
        lines += [words, ""]
    if any(one.interval for one in item.judged):
        lines += [NOTE, ""]
    lines += _hyper_parameters(item)
    for name in [*drawn, *_pictures(item)]:
        lines += [f"![{item.experiment.reproduces} {name}]({item.name}-{name}.png)", ""]
    if "quality" in item.experiment.measures and len(item.rows):
        table = comparison.table(item.rows).reset_index()
        lines += ["## Results", "", markdown(table.head(MOST_ROWS)), ""]
    return "\n".join(lines)


def _axes(item: Item) -> str:
    """What each parameter of the cells is, as its own module says it."""
    points = item.experiment.points()
    fields = Params.model_fields | {k: v for p in points for k, v in METHODS[p.method].options.model_fields.items()}
    axes = dict.fromkeys(name for given in (*item.experiment.over, *item.experiment.also) for name in given)
    words = {name: fields[name].description for name in axes if name not in PLAIN}
    return " ".join(f"`{name}`: {said}." for name, said in words.items() if said)


def _hyper_parameters(item: Item) -> list[str]:
    rules = [rule for rule in item.experiment.compare if isinstance(rule, Settings)]
    if not rules:
        return []
    table = pd.concat(settings.of(rule.paper, rule.table, item.experiment.scale) for rule in rules)
    return ["## Settings", "", markdown(table), "", f"Ours: at scale `{item.experiment.scale}`. {settings.NOTE}", ""]


def _made(item: Item) -> str:
    """Data, seeds, commit, device, and what the runs took."""
    rows = item.rows
    seconds = rows[rows["metric"].str.startswith("seconds-")]["value"].sum()
    peak = rows[rows["metric"].str.startswith("peak-MiB-")]["value"].max()
    seeds = ", ".join(map(str, sorted(map(int, rows["seed"].unique()))))
    shared = "what runs share counts in each"
    cost = f" {seconds / 60:.0f} minutes at most ({shared}), {peak / 1024:.1f} GiB." if seconds else ""
    device = " and ".join(sorted(rows["device"].dropna().unique()))
    return (
        f"Made at commit `{rows['commit'].iloc[0]}` on `{rows['dataset'].iloc[0]}` with public "
        f"`{rows['public'].iloc[0]}`, scale `{rows['scale'].iloc[0]}`, seeds {seeds}, on {device}.{cost}"
    )


def _pictures(item: Item) -> list[str]:
    return [name for name in item.experiment.pictures if (FOLDER / f"{item.name}-{name}.png").exists()]


def _path(item: Item) -> str:
    folder, _, stem = item.experiment.name.partition("_")
    return f"params/{folder}/{stem}.yaml"


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    terminal.parser("python -m dpsynth.report.itempages", __doc__).parse_args(argv)

    def action() -> None:
        with mistakes():
            print(*write(), sep="\n")

    return ended(action)


if __name__ == "__main__":
    sys.exit(main())
