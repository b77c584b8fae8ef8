"""`make check`: what was run here, in build/, beside what is committed in results/: which cells moved.

The same commit on the same kind of machine gives the same bits. Elsewhere floating point rounds otherwise and training
follows; TOLERANCE says how far a cell may be off and still count as reproduced.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from dpsynth import project, scales, terminal
from dpsynth.metrics.names import METRICS, known
from dpsynth.mistakes import MISTAKE, Failed, ended, mistakes
from dpsynth.report import results
from dpsynth.report.markdown import markdown

CELL = ["experiment", "variant", "scale", "dataset", "public", "method", "epsilon_target", "seed", "metric", "at"]
POINTS, SHARES, REST = 3.0, 0.05, 0.05  # accuracies in points; precision and recall; of all else a share of the value
TOLERANCE = f"accuracies {POINTS:g} points, shares in [0, 1] {SHARES:g}, all else {REST:.0%} of the committed value"
UNTIMED = ("seconds-", "peak-MiB-")  # what a machine took is no result


def compared(built: pd.DataFrame, committed: pd.DataFrame) -> pd.DataFrame:
    """Both values of each cell that both have, and whether it `moved` beyond the tolerance.

    Args:
        built, committed: rows with `results.COLUMNS`.
    Raises:
        ValueError: they have no cell in common.
    """
    sides = [_cells(side) for side in (built, committed)]
    both = pd.concat(sides, axis=1, join="inner", keys=["built", "committed"]).reset_index()
    if both.empty:
        raise ValueError("nothing in build/ is a cell of results/: run one of its parameter files at their scale first")
    off = (both["built"] - both["committed"]).abs()
    return both.assign(moved=off > [_allowed(*pair) for pair in zip(both["metric"], both["committed"], strict=True)])


def _cells(rows: pd.DataFrame) -> pd.Series:
    rows = rows[~rows["metric"].str.startswith(UNTIMED)]
    return rows.fillna({"public": "", "epsilon_target": -1, "at": -1}).drop_duplicates(CELL).set_index(CELL)["value"]


def _allowed(metric: str, value: float) -> float:
    facts = known(metric) if metric in METRICS else None
    if facts and facts.percent:
        return POINTS
    return SHARES if metric in ("precision", "recall") else REST * abs(value) + 1e-9


def check(scale: str) -> None:
    """Print the cells that moved, and how many there are.

    Raises:
        Failed: some moved.
    """
    built = results.read_results(scale)
    files = {name: _committed(name, scale) for name in built["experiment"].unique()}
    names = [name for name, path in files.items() if path.exists()]
    if not names:
        raise ValueError(f"build/{scale} has results of no parameter file that results/ has")
    committed = pd.concat([results.read(files[name]) for name in names])
    table = compared(built[built["experiment"].isin(names)], committed)
    moved = table[table["moved"]]
    if len(moved):
        print(markdown(moved.drop(columns="moved")))
        raise Failed(f"{len(moved)} of {len(table)} cells moved by more than {TOLERANCE}", MISTAKE)
    alone = len(_cells(built[built["experiment"].isin(names)])) + len(_cells(committed)) - 2 * len(table)
    beside = f"; {alone} more have only one side" if alone else ""
    print(f"{len(table)} cells of {', '.join(names)} are as committed, within {TOLERANCE}{beside}")


def _committed(name: str, scale: str) -> Path:
    """Where results of a parameter file at that scale lie: the name says the scale, if it is not the file's own."""
    other = results.COMMITTED / f"{name}_{scale}.csv"
    return other if other.exists() else results.COMMITTED / f"{name}.csv"


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser: argparse.ArgumentParser = terminal.parser("python -m dpsynth.report.check", __doc__)
    parser.add_argument("--scale", default="laptop", choices=scales.names(), help="of the runs in build/")
    given = parser.parse_args(argv)

    def action() -> None:
        with mistakes():
            project.enter()
            check(given.scale)

    return ended(action)


if __name__ == "__main__":
    sys.exit(main())
