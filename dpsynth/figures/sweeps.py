"""Figures of one parameter file: a metric over an option or an axis, and the differences that its rules judge."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from dpsynth.figures.style import GREY, INK, PALE, called, chart, colours, named_bars, readable, styled
from dpsynth.metrics.names import ANY_FRECHET, FRECHET, known

LONGEST = 120  # letters of a label
LETTER = 0.068  # inches of width that a letter of a label takes
COLUMNS = 4  # panels side by side
VERDICTS = {"agrees": "#009e73", "disagrees": "#d55e00", "cannot tell": GREY}  # of those that have an interval


@styled
def sweep(values: pd.DataFrame, axis: str, *, title: str, badge: str, paper: pd.DataFrame | None = None) -> Figure:
    """Metrics over an option: a dot a seed, a line through the means, and a bar for the mean's 95 percent interval.

    The option's values stand at equal distances, in order.

    Args:
        values: `line`, `metric`, `x`, `seed`, `value`; a panel a metric.
        axis: what the option is called; paper: `metric` (FD, or the name), `x`, `value`, on an axis of its own at the
            right.
    Raises:
        ValueError: there is nothing to draw.
    """
    if values.empty:
        raise ValueError(f"there is nothing to draw over {axis}")
    metrics = list(values["metric"].unique())
    lines = list(values["line"].unique())
    shades = colours(lines)
    key = [Line2D([], [], color=shades[line], marker="o", markersize=4, label=called(line, 40)) for line in lines]
    if paper is not None and len(paper):
        key.append(Line2D([], [], color=INK, marker="D", markersize=4, linestyle=":", label="paper (right axis)"))
    columns = min(len(metrics), COLUMNS)
    rows = -(-len(metrics) // columns)
    figure = chart(0.6 + 3.1 * columns, 2.7 * rows, title, badge, key=key)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for metric, axes in zip(metrics, panels, strict=False):  # in this order: no panel is taken in vain
        part = values[values["metric"] == metric]
        places = sorted(part["x"].unique())
        for number, line in enumerate(lines):
            _line(axes, part[part["line"] == line], places, shades[line], (number - (len(lines) - 1) / 2) * 0.12)
        axes.set_xticks(range(len(places)), [f"{place:g}" for place in places], fontsize=7)
        axes.set_xlabel(axis)
        axes.set_ylabel(_named(metric))
        if paper is not None:
            drawn = ANY_FRECHET if metric in FRECHET else metric
            _beside(axes, paper[(paper["metric"] == drawn) & paper["x"].isin(places)], places)
    for axes in panels:
        axes.axis("off")
    return figure


@styled
def gaps(judged: pd.DataFrame, *, title: str, badge: str) -> Figure:
    """Differences of two cells with their 95 percent intervals, by verdict; a panel a metric.

    Args:
        judged: `metric`, `cells`, `mean`, `low`, `high`, `verdict`, a row a difference; no interval where low is NaN.
    Raises:
        ValueError: there is nothing to draw.
    """
    if judged.empty:
        raise ValueError("there is nothing to draw: no rule has a difference yet")
    metrics, cells = list(judged["metric"].unique()), list(judged["cells"].unique())
    key = [Line2D([], [], color=shade, marker="o", linestyle="", label=name) for name, shade in VERDICTS.items()]
    tall = 0.9 + 0.28 * len(cells)
    names = [readable(each, LONGEST) for each in cells]
    wide = 0.6 + LETTER * max(map(len, names)) + 2.1 * len(metrics)
    figure = chart(wide, tall, title, badge, key=key)
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        axes.axvline(0, color=INK, linewidth=0.8)
        for row in judged[judged["metric"] == metric].itertuples():
            place, shade = cells.index(row.cells), VERDICTS.get(row.verdict, GREY)
            axes.plot(row.mean, place, "o", color=shade, markersize=5)
            if np.isfinite(row.low):
                axes.plot([row.low, row.high], [place, place], color=shade, linewidth=1.6)
        axes.set_xlabel(_named(metric), fontsize=8)
        axes.margins(x=0.1)
        axes.grid(axis="y", color=PALE, linewidth=0.5)
    named_bars(panels[0], names)
    return figure


def _line(axes: Axes, part: pd.DataFrame, places: Sequence[float], shade: str, shift: float) -> None:
    groups = {places.index(x): group["value"].to_numpy(float) for x, group in part.groupby("x")}
    at = np.array(sorted(groups)) + shift
    means = np.array([groups[place].mean() for place in sorted(groups)])
    for place, group in groups.items():
        axes.scatter(np.full(len(group), place + shift), group, s=9, color=shade, alpha=0.45, linewidths=0)
    spread = [_half_width(groups[place]) for place in sorted(groups)]
    axes.errorbar(at, means, yerr=spread, color=shade, linewidth=1.4, elinewidth=0.9, capsize=2)


def _beside(axes: Axes, paper: pd.DataFrame, places: Sequence[float]) -> None:
    """The paper's points, on an axis of their own at the right."""
    if paper.empty:
        return
    beside = axes.twinx()
    beside.plot([places.index(x) for x in paper["x"]], paper["value"], "D:", color=INK, markersize=4, linewidth=1)
    beside.spines["right"].set_visible(True)
    beside.margins(y=0.15)


def _half_width(values: np.ndarray) -> float:
    """Half the 95 percent interval of a mean, Student's t; 0, so that nothing is drawn, of one value."""
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def _named(metric: str) -> Any:
    facts = known(metric)
    better = "higher is better" if facts.higher_is_better else "lower is better"
    return f"{metric}{', percent' * facts.percent}\n({better})"
