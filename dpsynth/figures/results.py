"""Figures of a whole reproduction: how the rows of its table compare, and what goes with quality."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from dpsynth.figures.style import GREY, PALE, ROWS, called, chart, colours, named_bars, readable, styled
from dpsynth.metrics.names import ACCURACIES, METRICS

IDENTITY = ["method", "variant", "epsilon_target", "seed"]  # what has one value of each metric
FACTS = {
    "learning-percent": "weights that learn from private records, percent",
    "moment-gap": "squared moment gap over the release's squared norm",
}


class Line(NamedTuple):
    """One row of the table, and its values by (epsilon, seed); epsilon inf where none is promised."""

    label: str
    method: str
    values: dict[tuple[float, int], float]


@styled
def comparison(results: pd.DataFrame, metric: str, *, badge: str) -> Figure:
    """One metric of every row of the table: a dot for each seed, a bar at the mean; a panel for each epsilon.

    Args:
        results: rows of results.csv, of one scale and one data set. Rows without a finite epsilon stand in every panel.
    """
    table = _table(results, metric)
    lines = list(_lines(table))
    shades = colours(line.method for line in lines)
    targets = sorted({e for line in lines for e, _ in line.values} - {np.inf}) or [np.inf]
    key = [
        Line2D([], [], color=GREY, marker="o", linestyle="", markersize=4, label="one seed"),
        Line2D([], [], color=GREY, marker="|", linestyle="", markersize=10, markeredgewidth=2, label="mean"),
    ]
    title = f"{metric} of each method: mean ± standard deviation (number of seeds)"
    figure = chart(2.2 + 3.0 * len(targets), 1.15 + 0.26 * len(lines), title, badge, key=key)
    panels = figure.subplots(1, len(targets), squeeze=False, sharex=True, sharey=True)[0]
    for axes, target in zip(panels, targets, strict=True):
        for place, line in enumerate(lines):
            here = [value for (epsilon, _), value in line.values.items() if epsilon in (target, np.inf)]
            _dots(axes, place, np.array(here), shades[line.method])
        named_bars(axes, [line.label for line in lines])
        axes.set_xlabel(_axis(metric))
        axes.set_title(_setting(table, target), loc="left")
    return figure


@styled
def against(results: pd.DataFrame, fact: str, metric: str, *, badge: str) -> Figure:
    """One metric of each run over a fact of its synthesiser: a numbered dot a run, the numbers named beside.

    Args:
        results: as of `comparison`; drawn are the methods whose runs differ in the fact.
        fact: one of `FACTS`; the axis is logarithmic if all are positive and span a factor of 10.
    """
    places, heights = (_table(results, name).set_index(IDENTITY)["value"].astype(float) for name in (fact, metric))
    runs = pd.DataFrame({"x": places, "y": heights}).dropna().sort_values("x", kind="stable").reset_index()
    runs = runs[runs.groupby("method")["x"].transform("nunique") > 1]
    if runs.empty:
        raise ValueError(f"there is nothing to draw: no method has runs that differ in {fact}")
    shades = colours(runs["method"])
    key = [Line2D([], [], color=shades[m], marker="o", linestyle="", label=called(m)) for m in shades]
    figure = chart(7.2, max(2.9, 0.5 + 0.16 * len(runs)), f"{metric} over {FACTS.get(fact, fact)}", badge, key=key)
    axes, names = figure.subplots(1, 2, width_ratios=[3, 2])
    names.axis("off")
    for number, run in enumerate(runs.itertuples(), 1):
        axes.plot(run.x, run.y, "o", color=shades[run.method], markersize=11)
        axes.annotate(str(number), (run.x, run.y), color="white", fontsize=7, ha="center", va="center_baseline")
        name = f"{called(run.method)} at epsilon {run.epsilon_target:g}" + f", {run.variant}" * bool(run.variant)
        names.text(0, 1 - (number - 0.5) / len(runs), f"{number}  {readable(name, 80)}", va="center", parse_math=False)
    if runs["x"].max() > 10 * runs["x"].min() > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(0.08, 0.12)
    if metric in ACCURACIES:
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, (low + high) / 2 - 5), max(high, (low + high) / 2 + 5))
    axes.set_xlabel(FACTS.get(fact, fact))
    axes.set_ylabel(_axis(metric))
    return figure


def whole(results: pd.DataFrame, metric: str, *, badge: str) -> dict[str, Figure]:
    """`comparison` of all rows, and `against` each fact that varies among them, by metric or fact; see there."""
    varying = results.groupby(["metric", "method"])["value"].nunique().groupby("metric").max()
    facts = [fact for fact in FACTS if varying.get(fact, 0) > 1]
    return {metric: comparison(results, metric, badge=badge)} | {
        fact: against(results, fact, metric, badge=badge) for fact in facts
    }


def _table(results: pd.DataFrame, metric: str) -> pd.DataFrame:
    table = results[results["metric"] == metric]
    if table.empty:
        known = ", ".join(sorted(set(results["metric"]))) or "none"
        raise ValueError(f"there is nothing to draw: the results hold no {metric}; their metrics are: {known}")
    for column in ("scale", "dataset"):
        if table[column].nunique() > 1:
            values = ", ".join(sorted(set(table[column])))
            raise ValueError(f"the results mix several values of {column} ({values}): choose one first")
    epsilon = table["epsilon_target"].astype(float).fillna(np.inf)
    table = table.assign(epsilon_target=epsilon, variant=table["variant"].fillna(""))
    table = table.drop_duplicates([*IDENTITY, "value"]).sort_values("seed", kind="stable")
    if (twice := table[table.duplicated(IDENTITY)]).size:
        first = ", ".join(f"{name} {twice.iloc[0][name]}" for name in IDENTITY)
        raise ValueError(f"the results hold several values of {metric} for {first}: choose one setting first")
    return table


def _lines(table: pd.DataFrame) -> Iterator[Line]:
    """In the order of the tables; variants of a method are one line where they agree on what they share.

    A line names its options where they are not the usual ones, and, where a reference row has several lines, all
    methods that it is of.
    """
    known = [name for name in ROWS if name in set(table["method"])]
    for method in known + sorted(set(table["method"]) - set(known)):
        rows = table[table["method"] == method].set_index(["epsilon_target", "seed"])
        groups = agreeing((name, part["value"].astype(float).to_dict()) for name, part in rows.groupby("variant"))
        usual = {"", method, *(ROWS if len(groups) == 1 else ())}
        for names, values in groups:
            options = "" if usual & {*names} else f" ({listed([*map(_variant, names)])})"
            yield Line(called(method) + options, method, values)


def _variant(name: str) -> str:
    """`name` as `results.join` gives it: settings, or of a reference row its method, and settings."""
    method, colon, settings = name.partition(": ")
    return called(method, 60) + colon + readable(settings, 60)


def listed(names: list[str]) -> str:
    """Names in a row; of more than three the first two, and how many more there are."""
    return ", ".join(names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"])


def agreeing(variants: Iterable[tuple[str, dict[Any, float]]]) -> list[tuple[list[str], dict[Any, float]]]:
    """Variants that agree in what they share are one: of each such group, the names and all values.

    Args:
        variants: name, and values by what they are of (a seed, a metric, a budget).
    """
    groups: list[tuple[list[str], dict[Any, float]]] = []
    for name, values in variants:
        for names, known in groups:
            shared = known.keys() & values.keys()
            if shared and all(known[key] == values[key] for key in shared):
                names.append(name)
                known.update(values)
                break
        else:
            groups.append(([name], dict(values)))
    return groups


def _dots(axes: Any, place: int, values: np.ndarray, shade: str) -> None:
    axes.axhline(place, color=PALE, linewidth=0.6, zorder=0)
    at = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8}
    if len(values) == 0:
        axes.annotate("not run here", (1.02, place), color=GREY, **at)
        return
    axes.scatter(values, np.full(len(values), place), s=18, color=shade, alpha=0.6, linewidths=0)
    axes.plot(values.mean(), place, marker="|", markersize=11, markeredgewidth=2, color=shade)
    axes.annotate(_summary(values), (1.02, place), **at)


def _summary(values: np.ndarray) -> str:
    mean = values.mean()
    if not np.isfinite(mean):
        return "not finite"
    decimals = min(6, max(0, 2 - int(np.floor(np.log10(abs(mean)))))) if mean else 0
    spread = f" ± {values.std(ddof=1):.{decimals}f}" if len(values) > 1 else ""
    return f"{mean:.{decimals}f}{spread} ({len(values)})"


def _axis(metric: str) -> str:
    known = METRICS[metric]
    better = "higher is better" if known.higher_is_better else "lower is better"
    return metric + ", percent" * known.percent + f"\n({better})"


def _setting(table: pd.DataFrame, target: float) -> str:
    if np.isinf(target):
        return "not private"
    here = table[table["epsilon_target"] == target].replace("", np.nan)
    delta = " or ".join(f"{value:g}" for value in sorted(set(here["delta"].dropna().astype(float))))
    return f"epsilon {target:g}, delta {delta}\n({', '.join(sorted(set(here['adjacency'].dropna())))})"
