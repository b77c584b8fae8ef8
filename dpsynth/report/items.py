"""Each table and figure of the papers as a page: command, claim, paper, ours, interval, seeds, scale, verdict, figures.

Read from results/: `<file>.csv` of a parameter file at its own scale, `<file>_<scale>.csv` at another.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dpsynth import experiments, figures
from dpsynth.experiments import Experiment
from dpsynth.figures.style import Picture
from dpsynth.metrics.names import MEAN_OF, headline
from dpsynth.project import PACKAGE
from dpsynth.report import claims, results
from dpsynth.report.cells import NotRun, Results, setting
from dpsynth.report.comparison import NONE
from dpsynth.report.judges import PAPERS
from dpsynth.report.verdicts import NOT_RUN, Judged

MOVE = "norm of the move of the weights"
CURVES = {  # of each figure of curves: how its metrics' names begin and end, and what the axis is called
    "recall": ("recall-of-picks", "", "noise multiplier of the query"), "accuracy": ("accuracy-", "", "training step"),
    "gaussian": ("rise-", "-gaussian", MOVE), "adversarial": ("rise-", "-adversarial", MOVE),
    "loss": ("loss-", "-gaussian", MOVE),
}  # fmt: skip
NUMBERED = {"RPGen": (2, 5), "PrivImage": (8, 14)}  # tables and figures of each


class Item(NamedTuple):
    """One parameter file at one scale, with its results and verdicts."""

    experiment: Experiment
    rows: pd.DataFrame
    judged: list[Judged]
    name: str  # of its results: the file's, and its scale if that is another than the file's own

    @property
    def command(self) -> str:
        """What makes it."""
        other = f" SCALE={self.experiment.scale}" if self.name != self.experiment.name else ""
        return f"make {self.experiment.name.replace('_', '-', 1)}{other}"


def every() -> list[Item]:
    """All parameter files that reproduce an item of a paper, with the results that are committed."""
    return [one for path in files() for one in of(path)]


def files() -> list[Path]:
    """The parameter files of the papers' tables and figures."""
    folder = PACKAGE.parent / "params"
    return [path for paper in experiments.PAPERS for path in sorted((folder / paper).glob("*.yaml"))]


def of(path: Path) -> Iterator[Item]:
    """A parameter file at its own scale, and at each other that results are committed of.

    Raises:
        ValueError: the results mix scales or commits, or lack a column; or a rule names what there is not.
    """
    own = experiments.load(path)
    yield _read(own, results.COMMITTED / f"{own.name}.csv")
    for other in sorted(results.COMMITTED.glob(f"{own.name}_*.csv")):
        if (scale := other.stem.removeprefix(f"{own.name}_")) in experiments.scales.names():
            yield _read(experiments.load(path, scale), other)


def _read(experiment: Experiment, path: Path) -> Item:
    rows = results.read(path) if path.exists() else pd.DataFrame(columns=results.COLUMNS)
    try:
        claims.refuse_mixed(experiment.name, rows)
        rows = rows[rows["params_digest"].isin({p.digest for p in experiment.points()})]  # of today's settings
        answers = results.read_answers(path.with_name(f"{path.stem}-{results.ANSWERS}"))
        return Item(experiment, rows, claims.judge(experiment, rows, answers), path.stem)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def committed(name: str) -> Item:
    """The parameter file of that name, `rpgen_fig5`, at its own scale.

    Raises:
        ValueError: there is none; and as `of`.
    """
    paths = [path for path in files() if experiments.name_of(path) == name]
    if not paths:
        raise ValueError(f"no parameter file of a paper gives results called {name!r}")
    return next(of(paths[0]))


def numbered() -> list[str]:
    """The 29 tables and figures of the two papers, in order."""
    return [
        f"{paper} {kind} {n}"
        for paper, (tables, drawn) in NUMBERED.items()
        for kind, last in (("Table", tables), ("Figure", drawn))
        for n in range(1, last + 1)
    ]


def draw(item: Item) -> dict[str, Picture]:
    """The figures of an item that its results have, by name: `sweep` over an option, curves, or `rows` of the table;
    and `gaps`, what its rules compare.

    Raises:
        ValueError: it has no results; the sentence names the command that makes them.
    """
    if item.rows.empty:
        raise ValueError(f"{item.name} has no results yet; `{item.command}` makes them")
    badge = badge_of(item)
    drawn = {}
    if (axis := swept(item.experiment)) and len(values := _over(item, axis)):
        drawn["sweep"] = figures.sweep(values, axis, title=title_of(item), badge=badge, paper=_printed(item))
    for name, (start, end, axis) in CURVES.items():
        if len(values := _curves(item, start, end)):
            drawn[name] = figures.sweep(values, axis, title=title_of(item), badge=badge)
    if not _options(item.experiment) and "quality" in item.experiment.measures:
        drawn["rows"] = figures.comparison(item.rows, headline({*item.rows["metric"]}), badge=badge)
    told = pd.DataFrame([_gap(one) for one in item.judged if one.interval and one.rule.startswith(("order", "shape"))])
    if len(told):
        drawn["gaps"] = figures.gaps(told, title=f"{title_of(item)} What its rules compare", badge=badge)
    return drawn


def verdicts(item: Item) -> pd.DataFrame:
    """A row a rule, metric and pair of cells."""
    rows = [
        {
            "item": one.item, "verdict": one.verdict, "claim": one.claim, "metric": one.metric, "cells": one.cells,
            "ours": one.ours or one.verdict, "interval": one.interval, "paper": one.paper, "seeds": one.seeds,
            "to tell 2 points": one.needs, "rule": one.rule,
        }
        for one in item.judged
    ]  # fmt: skip
    return pd.DataFrame(rows).replace("", NONE)


def badge_of(item: Item) -> str:
    """Scale, data and seeds of an item's results."""
    first, seeds = item.rows.iloc[0], sorted(map(int, item.rows["seed"].unique()))
    scale = f"{first['scale']} scale" + ("" if first["scale"] == PAPERS else ", not the papers'")
    where = f"{scale} | {item.name}, {first['dataset']}, public {first['public']}"
    return f"{where} | seeds {', '.join(map(str, seeds))} | commit {first['commit']}"


def title_of(item: Item) -> str:
    """What its parameter file reproduces."""
    return item.experiment.reproduces


def swept(experiment: Experiment) -> str | None:
    """The option over which a file runs, if it has three values or more."""
    return next((name for name, values in _options(experiment).items() if len(values) > 2), None)


def _options(experiment: Experiment) -> dict[str, list]:
    """The axes of a file that are no method, budget or seed."""
    axes = {name: values for grid in experiment.over for name, values in grid.items()}
    return {name: values for name, values in axes.items() if name not in ("method", "epsilon", "seed")}


def _over(item: Item, axis: str) -> pd.DataFrame:
    """What `figures.sweep` takes, of the metrics that the file's rules name."""
    found, rows = Results(item.experiment, item.rows), []
    metrics = dict.fromkeys(m for rule in item.experiment.compare for m in getattr(rule, "metric", []))
    lines = _lines(found, axis)
    for metric in list(metrics)[:3]:
        for line, cell, place in lines:
            try:
                cell_values = found.find(cell, metric)
            except NotRun:
                continue
            rows += [(line, cell_values.metric, place, seed, value) for seed, value in cell_values.values.items()]
    return pd.DataFrame(rows, columns=["line", "metric", "x", "seed", "value"])


def _lines(found: Results, axis: str) -> list[tuple[str, dict, float]]:
    """Each cell over the axis: the line that it is of, what names it, its place."""
    named = dict.fromkeys(name for grid in (*found.experiment.over, *found.experiment.also) for name in grid)
    beside_axis = [name for name in named if name not in (axis, "seed")]
    varying = [name for name in beside_axis if len({setting(p, name) for p in found.points}) > 1]
    cells = {}
    for p in found.points:
        if setting(p, axis) is None:
            continue
        beside = {name: setting(p, name) for name in varying if setting(p, name) is not None}
        line = ", ".join(str(v) if name == "method" else f"{name} {v}" for name, v in beside.items()) or p.method
        cells[line, setting(p, axis)] = beside | {"method": p.method, axis: setting(p, axis)}
    return [(line, cell, place) for (line, place), cell in cells.items()]


def _curves(item: Item, start: str, end: str) -> pd.DataFrame:
    """What `figures.sweep` takes of curves: a panel a metric, a line a setting."""
    metric = item.rows["metric"]
    rows = item.rows[metric.str.startswith(start) & metric.str.endswith(end) & item.rows["at"].notna()]
    if rows.empty:
        return pd.DataFrame(columns=["line", "metric", "x", "seed", "value"])
    line = rows["variant"].where(rows["variant"] != "", rows["method"])
    return pd.DataFrame(
        {"line": line, "metric": rows["metric"], "x": rows["at"], "seed": rows["seed"], "value": rows["value"]}
    )


def _printed(item: Item) -> pd.DataFrame:
    """The points of RPGen's curves that its text gives: its Table 1 on CIFAR-10 at epsilon 10, and changes against it.

    The papers print their curves as pictures alone, and a drop "of 40.0 percent" is read as relative.
    """
    published = results.published()
    rpgen = published[published["source"].str.startswith("RPGen") & (published["dataset"] == "CIFAR-10")]
    table1 = rpgen[(rpgen["table"] == "Table 1") & (rpgen["epsilon"] == 10)]
    text = rpgen[rpgen["table"] == "text"]
    points = []
    for point in item.experiment.printed:
        base = table1[table1["method"] == point.method]
        whole = {"FD": base.loc[base["metric"] == "FID", "value"].item()}
        whole["CA"] = base.loc[base["metric"].isin(MEAN_OF), "value"].mean()
        change = text[text["row"] == point.change].set_index("metric")["value"]
        for metric, value in whole.items():
            percent = change[{"FD": "FID change", "CA": "CA change"}[metric]] if point.change else 0.0
            points.append((metric, point.at, value * (1 + percent / 100)))
    return pd.DataFrame(points, columns=["metric", "x", "value"])


def _gap(one: Judged) -> dict:
    low, high = map(float, one.interval.split(" to "))
    return {
        "metric": one.metric, "cells": one.cells, "mean": float(one.ours), "low": low, "high": high,
        "verdict": one.verdict,
    }  # fmt: skip


def table(items: list[Item]) -> pd.DataFrame:
    """A row an item and parameter file, the numbered ones first: the index of the pages."""
    names = [*numbered(), *_beyond(items)]
    return pd.DataFrame([_line(name, item) for name in names for item in items if name in item.experiment.items])


def _line(name: str, item: Item) -> dict[str, str | int]:
    judged = [one for one in item.judged if one.item == name]
    return {
        "item": f"[{name}](docs/items/{item.name}.md)", "verdict": claims.verdict_of(judged), "claim": judged[0].claim,
        "scale": item.experiment.scale, "data": item.rows["dataset"].iloc[0] if len(item.rows) else NOT_RUN,
        "seeds": max(one.seeds for one in judged), "command": f"`{item.command}`",
    }  # fmt: skip


def _beyond(items: list[Item]) -> list[str]:
    known = numbered()
    return list(dict.fromkeys(name for item in items for name in item.experiment.items if name not in known))
