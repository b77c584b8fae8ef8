"""`make figures`: from results/ alone, the pages of the papers' tables and figures, their figures, and claims.csv.

docs/items/<file>.md for each parameter file, docs/items/<file>-<figure>.png, results/claims.csv. It takes seconds, as
nothing is run. What has no results says so, with the command that makes them.
"""

import sys

import pandas as pd

from dpsynth import project, terminal
from dpsynth.mistakes import ended, mistakes
from dpsynth.report import claims, comparison, items, results
from dpsynth.report.items import Item
from dpsynth.report.markdown import markdown
from dpsynth.report.verdicts import NOT_RUN, Judged

FOLDER = project.PACKAGE.parent / "docs" / "items"
CLAIMS = results.COMMITTED / "claims.csv"
COLUMNS = [
    "id", "item", "claim", "command", "scale", "dataset", "seeds", "paper", "ours", "interval", "rule", "verdict",
]  # fmt: skip
MOST_ROWS = 60  # of a page's table of results
NOTE = (
    "Differences are better less worse as claimed. The interval is 95 percent: Student's t over seeds, with the test "
    "set's binomial error added in squares to accuracies, as if both sides erred independently. One seed has none."
)


def write() -> list[str]:
    """Write all of it; the names of the pages."""
    FOLDER.mkdir(exist_ok=True)
    every = items.every()
    for item in every:
        drawn = items.draw(item) if len(item.rows) else {}
        for name, figure in drawn.items():
            (FOLDER / f"{item.name}-{name}.png").write_bytes(figure.png())
        (FOLDER / f"{item.name}.md").write_text(page(item, list(drawn)), encoding="utf-8")
    claims_table(every).to_csv(CLAIMS, index=False)
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
    if any(one.interval for one in item.judged):
        lines += [NOTE, ""]
    for name in [*drawn, *_pictures(item)]:
        lines += [f"![{item.experiment.reproduces} {name}]({item.name}-{name}.png)", ""]
    if "quality" in item.experiment.measures and len(item.rows):
        table = comparison.table(item.rows).reset_index()
        lines += ["## Results", "", markdown(table.head(MOST_ROWS)), ""]
    return "\n".join(lines)


def claims_table(every: list[Item]) -> pd.DataFrame:
    """claims.csv: the 29 numbered items, each with its verdict, then each rule of each parameter file, cell by cell."""
    numbered = items.numbered()
    rows = [_of_item(name, [item for item in every if name in item.experiment.items]) for name in numbered]
    rows += [_row(item, one) for item in every for one in item.judged]
    return pd.DataFrame([{"id": f"C{n}"} | row for n, row in enumerate(rows, 1)], columns=COLUMNS)


def _of_item(name: str, among: list[Item]) -> dict:
    """An item's row: of the first of its files that was run, else of the first."""
    judged = [(item, [one for one in item.judged if one.item == name]) for item in among]
    ran = [pair for pair in judged if claims.verdict_of(pair[1]) != NOT_RUN]
    item, rules = (ran or judged)[0]
    return _row(item, rules[0]) | {"verdict": claims.verdict_of(rules), "claim": item.experiment.reproduces}


def _row(item: Item, one: Judged) -> dict:
    data = item.rows["dataset"].iloc[0] if len(item.rows) else item.experiment.points()[0].private
    claim = f"{one.claim} {one.metric}: {one.cells}" if one.cells else one.claim
    return {
        "item": one.item, "claim": claim, "command": item.command, "scale": item.experiment.scale, "dataset": data,
        "seeds": one.seeds, "paper": one.paper, "ours": one.ours or one.verdict, "interval": one.interval,
        "rule": one.rule, "verdict": one.verdict,
    }  # fmt: skip


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
