"""The table that a reproduction ends with: a row a method and budget, reference rows around them, means over seeds."""

import math
from typing import Any

import pandas as pd

from dpsynth.figures.results import agreeing, listed
from dpsynth.methods import METHODS
from dpsynth.metrics.names import METRICS

ALWAYS = ("CA-LR", "CA-MLP", "CA-CNN", "precision", "recall")  # have a column, measured or not
ABOVE, BELOW = ["real", "nonprivate"], ["pretrained", "floor_public"]  # reference rows, as the table has them
NOT_RUN, NONE = "not run", "-"  # a row of no run; a metric that the run does not have


def table(results: pd.DataFrame) -> pd.DataFrame:
    """The table of a reproduction: means over seeds ± standard deviation, reference rows around the methods.

    Args:
        results: rows with `results.COLUMNS`, of one data set.
    Returns:
        Strings, indexed by row, with `epsilon` (the target), `seeds` (their number) and one column a metric.
        A reference row names its methods where they differ; a row that was not run says so, and a metric that a row
        does not have, as accuracy of images without labels, is a dash.
    Raises:
        ValueError: two values of one metric of the same row and seed: runs that must not be averaged.
    """
    results = results[results["metric"].isin(METRICS)]
    measured = {*results["metric"], *ALWAYS}
    others = sorted(set(results["method"]) - {*ABOVE, *METHODS, *BELOW})
    lines = {}
    for method in (*ABOVE, *METHODS, *others, *BELOW):
        rows = results[results["method"] == method]
        if rows.empty and method in (*ABOVE, *BELOW):
            lines[method, ""] = _line(rows)
        for target, cells in rows.groupby("epsilon_target", dropna=False):
            epsilon = f"{target:g}" if math.isfinite(target) else "none"
            for variants, part in _variants(cells):
                lines[f"{method} ({variants})" if variants else method, epsilon] = _line(part)
    frame = pd.DataFrame(
        [{"epsilon": e, **line} for (_, e), line in lines.items()],
        columns=["epsilon", "seeds", "images", *(m for m in METRICS if m in measured)],
    )
    return frame.set_index(pd.Index([name for name, _ in lines], name="row"))


def _variants(cells: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """`cells` by variant; those that agree are one, and of a reference row unnamed if no other is left."""
    named = cells["variant"].fillna("")
    values = (
        (name, dict(zip(zip(part["seed"], part["metric"], strict=True), part["value"], strict=True)))
        for name, part in cells.groupby(named)
    )
    groups = [names for names, _ in agreeing(values)]
    only = len(groups) == 1 and cells["method"].iloc[0] not in METHODS
    return [("" if only else listed(names), cells[named.isin(names)]) for names in groups]


def _line(cells: pd.DataFrame) -> dict[str, Any]:
    line: dict[str, Any] = {"seeds": cells["seed"].nunique()}
    line["images"] = f"{cells['n_synthetic'].max():.0f}" if len(cells) else NOT_RUN
    absent = NONE if len(cells) else NOT_RUN
    for metric, (decimals, *_) in METRICS.items():
        values = cells[cells["metric"] == metric].drop_duplicates(["seed", "value"])
        if values["seed"].duplicated().any():
            row = values.iloc[0]
            raise ValueError(f"two values of {metric} for {row['method']}, seed {row['seed']}: choose one setting")
        spread = f" ± {values['value'].std():.{decimals}f}" if len(values) > 1 else ""
        line[metric] = f"{values['value'].mean():.{decimals}f}{spread}" if len(values) else absent
    return line
