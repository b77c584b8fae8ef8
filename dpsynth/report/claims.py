"""Verdicts: the results of a parameter file, held against its rules.

Agrees, disagrees, cannot tell, not comparable, not run; an illustration is called so. A rule with several metrics or
pairs of cells has a row for each; the first metric of an item's first rule gives the item its verdict.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd
from scipy import stats

from dpsynth.experiments import Experiment
from dpsynth.metrics.names import ANY_FRECHET, known
from dpsynth.report import results, settings
from dpsynth.report.cells import Found, NotRun, Results, setting
from dpsynth.report.paired import Difference, over_seeds
from dpsynth.rules import AnyRule, Cell, Cells, Illustration, Order, Settings, Shape, Value

AGREES, DISAGREES, CANNOT_TELL = "agrees", "disagrees", "cannot tell"
NOT_COMPARABLE, NOT_RUN, ILLUSTRATION = "not comparable", "not run", "illustration"
DATASETS = {"cifar10": "CIFAR-10", "celeba32": "CelebA32", "celeba64": "CelebA64", "mnist": "MNIST"}  # as published
TOLERANCE_CA, TOLERANCE_FID = 2.0, 0.1  # of a published cell: points of accuracy; a share of the distance
PAPERS = "paper"  # the scale at which numbers may be compared with the papers'


class Judged(NamedTuple):
    """One row of claims.csv, but for what the parameter file says of all of its rows."""

    item: str
    claim: str
    rule: str
    metric: str
    cells: str
    paper: str
    ours: str
    interval: str
    seeds: int
    verdict: str


def judge(experiment: Experiment, rows: pd.DataFrame) -> list[Judged]:
    """Each rule of a parameter file, on the results of its runs at one scale.

    Args:
        rows: with `results.COLUMNS`, of this file and scale; none for what was not run.
    Raises:
        ValueError: the rows are of several scales or commits; or a rule names a cell that no run of the file has.
    """
    refuse_mixed(experiment.name, rows)
    found = Results(experiment, rows)
    judged = []
    for rule in experiment.compare:
        item = rule.item or experiment.items[0]
        judged += [
            one._replace(item=item, claim=rule.claim, rule=said(rule)) for one in JUDGES[type(rule)](found, rule)
        ]
    return judged


def refuse_mixed(name: str, rows: pd.DataFrame) -> None:
    """Raise ValueError where results are of several scales, data sets or commits."""
    for column in ("scale", "dataset", "commit"):
        if len(values := sorted(rows[column].dropna().unique())) > 1:
            raise ValueError(
                f"results of {name} mix several values of {column} ({', '.join(map(str, values))}): "
                f"`dpsynth run` of the whole file writes them anew from what stands"
            )


def verdict_of(judged: list[Judged]) -> str:
    """The verdict of an item: that of its first rule, on that rule's first metric, for all of its pairs together."""
    first = judged[0]
    return together([one.verdict for one in judged if (one.claim, one.metric) == (first.claim, first.metric)])


def together(verdicts: list[str]) -> str:
    """One verdict for several cells that are claimed alike.

    >>> together(["agrees", "cannot tell"]), together(["agrees", "disagrees"]), together(["agrees", "agrees"])
    ('cannot tell', 'disagrees', 'agrees')
    """
    return next(v for v in (DISAGREES, NOT_RUN, CANNOT_TELL, NOT_COMPARABLE, AGREES, ILLUSTRATION) if v in verdicts)


def said(rule: AnyRule) -> str:
    """A rule in words."""
    match rule:
        case Order(beyond=None):
            return "order: the sign of the paired difference, 95 percent interval"
        case Order():
            return "order: the sign of the difference of paired differences, 95 percent interval"
        case Shape(best=None):
            return f"shape: {rule.trend} over {rule.over}, slope over the order of its values, 95 percent interval"
        case Shape():
            best = " or ".join(map(str, rule.best))
            return f"shape: best at {rule.over} {best}, paired with the best of the other values"
        case Value():
            return f"value: {rule.expected:g} within {rule.tolerance:g}" + (
                ", on any data" if rule.anywhere else ", on the papers' data and at scale paper"
            )
        case Cells():
            return "value: on the papers' data and at scale paper, within the table's tolerance"
    return rule.rule


def _order(found: Results, rule: Order) -> Iterator[Judged]:
    beyond = rule.beyond.pairs if rule.beyond else [None] * len(rule.pairs)
    for metric in rule.metric:
        for k, (better, than) in enumerate(rule.pairs):
            against = beyond[k % len(beyond)]
            for cell in (better, than, *(against or ())):
                _ = found.runs(cell)  # which refuses what there is not, also where nothing was run
            cells = f"{_named(better, than)} less {_named(than, better)}"
            if against:
                cells = f"({cells}) less ({_named(*against)} less {_named(*reversed(against))})"
            yield _told(metric, cells, lambda m=metric, b=better, t=than, a=against: _gap(found, b, t, a, m, rule.at))


def _gap(found: Results, better: Cell, than: Cell, beyond: tuple | None, metric: str, at: float | None) -> Difference:
    sides = [found.find(better, metric, at), found.find(than, metric, at)]
    deltas = sides[0].values - sides[1].values
    if beyond:
        others = [found.find(cell, metric, at) for cell in beyond]
        deltas, sides = deltas - (others[0].values - others[1].values), [*sides, *others]
    return _difference(sides[0].metric, deltas, math.hypot(*(side.error for side in sides)))


def _difference(metric: str, deltas: pd.Series, error: float) -> Difference:
    if deltas.dropna().empty:
        raise NotRun
    return over_seeds(metric, deltas.dropna(), error)


def _told(metric: str, cells: str, difference: Callable[[], Difference]) -> Judged:
    """A difference that is claimed to be for the better."""
    try:
        gap = difference()
    except NotRun:
        return _row(metric, cells, NOT_RUN)
    verdict = {"better": AGREES, "worse": DISAGREES}.get(gap.verdict, CANNOT_TELL)
    return _of(gap, cells, verdict)


def _of(gap: Difference, cells: str, verdict: str) -> Judged:
    decimals = known(gap.metric).decimals
    ours = f"{gap.mean:+.{decimals}f}"
    interval = (
        "" if gap.margin is None else f"{gap.mean - gap.margin:+.{decimals}f} to {gap.mean + gap.margin:+.{decimals}f}"
    )
    return _row(gap.metric, cells, verdict, ours=ours, interval=interval, seeds=gap.n)


def _row(
    metric: str, cells: str, verdict: str, paper: str = "", ours: str = "", interval: str = "", seeds: int = 0
) -> Judged:
    return Judged("", "", "", metric, cells, paper, ours, interval, seeds, verdict)


def _shape(found: Results, rule: Shape) -> Iterator[Judged]:
    for metric in rule.metric:
        try:
            sweep = _sweep(found, rule, metric)
            yield _best(found, rule, metric, sweep) if rule.best else _trend(found, rule, metric, sweep)
        except NotRun:
            yield _row(metric, f"over {rule.over}", NOT_RUN)


def _sweep(found: Results, rule: Shape, metric: str) -> dict[float, Found]:
    """The metric at each place of the axis, in order."""
    if rule.over == "at":
        places = found.axis(rule.where, metric)
        if not places:
            raise NotRun
        return {place: found.find(rule.where, metric, place) for place in places}
    runs = [p for p in found.points if all(setting(p, name) == value for name, value in rule.where.items())]
    places = sorted({setting(p, rule.over) for p in runs})
    return {place: found.find({**rule.where, rule.over: place}, metric) for place in places}


def _best(found: Results, rule: Shape, metric: str, sweep: dict[float, Found]) -> Judged:
    if missing := [place for place in rule.best if place not in sweep]:
        raise ValueError(
            f"{found.experiment.name}: a rule names {rule.over} {missing[0]}, which no run of the file has"
        )
    sign = 1 if known(metric).higher_is_better else -1

    def top(places: list) -> float:
        return max(places, key=lambda place: sign * sweep[place].values.mean())

    inside, outside = top(rule.best), top([place for place in sweep if place not in rule.best])
    gap = sweep[inside].values - sweep[outside].values
    error = math.hypot(sweep[inside].error, sweep[outside].error)
    cells = f"{rule.over} {inside} less {rule.over} {outside}"
    return _told(metric, cells, lambda: _difference(sweep[inside].metric, gap, error))


def _trend(found: Results, rule: Shape, metric: str, sweep: dict[float, Found]) -> Judged:
    """The slope of each seed over the order of the axis's values: by a step of one."""
    ranks = pd.Series(range(len(sweep)), dtype=float) - (len(sweep) - 1) / 2
    table = pd.concat([each.values for each in sweep.values()], axis=1, join="inner").set_axis(ranks, axis=1)
    spread = float((ranks**2).sum())
    slopes = table.mul(table.columns, axis=1).sum(axis=1) / spread
    error = math.sqrt(sum((rank * each.error) ** 2 for rank, each in zip(ranks, sweep.values(), strict=True))) / spread
    gap = _difference(next(iter(sweep.values())).metric, slopes, error)
    cells = f"slope from {rule.over} {min(sweep):g} to {max(sweep):g}, by a step"
    if gap.margin is None or abs(gap.mean) <= gap.margin:
        return _of(gap, cells, CANNOT_TELL)
    return _of(gap, cells, AGREES if (gap.mean > 0) == (rule.trend == "rises") else DISAGREES)


def _value(found: Results, rule: Value) -> Iterator[Judged]:
    for metric in rule.metric:
        cells = _named(rule.of, {}) + (f" at {rule.at:g}" if rule.at is not None else "")
        paper = f"{rule.expected:g}"
        try:
            cell = found.find(rule.of, metric, rule.at)
        except NotRun:
            yield _row(metric, cells, NOT_RUN, paper)
            continue
        mean, margin = _mean(cell)
        apart = abs(mean - rule.expected)
        verdict = AGREES if apart <= rule.tolerance else DISAGREES
        if margin is None or abs(apart - rule.tolerance) < margin:
            verdict = CANNOT_TELL
        if found.experiment.scale != PAPERS and not rule.anywhere:
            verdict = NOT_COMPARABLE
        yield _filled(cells, verdict, paper, cell)


def _mean(cell: Found) -> tuple[float, float | None]:
    """Mean over seeds, and half its 95 percent interval with the test set's error; none at one seed."""
    n = len(cell.values)
    over = stats.t.ppf(0.975, n - 1) * cell.values.std() / math.sqrt(n) if n > 1 else None
    return cell.values.mean(), None if over is None else math.hypot(over, stats.norm.ppf(0.975) * cell.error)


def _filled(cells: str, verdict: str, paper: str, cell: Found) -> Judged:
    mean, margin = _mean(cell)
    decimals = known(cell.metric).decimals
    interval = "" if margin is None else f"{mean - margin:.{decimals}f} to {mean + margin:.{decimals}f}"
    return _row(cell.metric, cells, verdict, paper, f"{mean:.{decimals}f}", interval, len(cell.values))


def _cells(found: Results, rule: Cells) -> Iterator[Judged]:
    """Each published cell whose method and budget the file runs; of one data set, its own or the first published."""
    source, _, table = rule.table.rpartition(", ")
    published = results.published()
    published = published[published["source"].str.startswith(source) & (published["table"] == table)]
    own = DATASETS.get(found.points[0].private)
    dataset = own if own in set(published["dataset"]) else published["dataset"].iloc[0]
    comparable = own == dataset and found.experiment.scale == PAPERS
    for line in published[published["dataset"] == dataset].itertuples():
        cell = _cell_of(found, line.method, line.epsilon)
        if cell is None:
            continue
        ours = ANY_FRECHET if line.metric == "FID" else line.metric
        name, paper = f"{line.method} at epsilon {line.epsilon:g}", f"{line.metric} {line.value:g}"
        try:
            value = found.find(cell, ours)
        except NotRun:
            yield _row(ours, name, NOT_RUN, paper)
            continue
        near = _is_near(line.metric, value.values.mean(), line.value)
        verdict = (AGREES if near else DISAGREES) if comparable else NOT_COMPARABLE
        yield _filled(name, verdict, paper, value)


def _cell_of(found: Results, method: str, epsilon: float) -> Cell | None:
    """The cell of a published row, if the file runs it with one setting."""
    at = {} if math.isnan(epsilon) else {"epsilon": epsilon}
    cells = {"real": {"row": "real"}, "nonprivate": {"row": "nonprivate", "epsilon": math.inf}}
    cell = cells.get(method, {"method": method} | at)
    of_row = [p for p in found.points if all(setting(p, k) == v for k, v in cell.items() if k != "row")]
    first = {"method": of_row[0].method, "epsilon": of_row[0].epsilon} if of_row else None
    if first is None or len({p.seed for p in of_row if (p.method, p.epsilon) == tuple(first.values())}) < 1:
        return None
    return cell | first if method == "real" else cell


def _is_near(metric: str, ours: float, paper: float) -> bool:
    tolerance = TOLERANCE_FID * paper if metric == "FID" else TOLERANCE_CA
    return abs(ours - paper) <= tolerance


def _settings(found: Results, rule: Settings) -> Iterator[Judged]:
    table = settings.table(found.experiment.scale)
    table = table[table["source"].str.contains(rule.table)]
    equal = int((table["paper"] == table["ours"]).sum())
    verdict = NOT_COMPARABLE if found.experiment.scale != PAPERS else AGREES if equal == len(table) else DISAGREES
    yield _row("settings", rule.table, verdict, f"{len(table)} settings", f"{equal} equal")


def _illustration(found: Results, rule: Illustration) -> Iterator[Judged]:
    yield _row("", "", ILLUSTRATION)


def _named(cell: Cell, beside: Cell) -> str:
    """What sets a cell apart from the one that it is compared with."""
    apart = {k: v for k, v in cell.items() if beside.get(k) != v} or cell
    return ", ".join(f"{v}" if k in ("method", "row") else f"{k} {v}" for k, v in apart.items())


JUDGES: dict[type, Callable[[Results, AnyRule], Iterator[Judged]]] = {
    Order: _order, Shape: _shape, Value: _value, Cells: _cells, Settings: _settings, Illustration: _illustration,
}  # fmt: skip
