"""Each kind of rule, applied to the results of its parameter file."""

import math
from collections.abc import Callable, Iterator

import pandas as pd
from scipy import stats

from dpsynth.metrics.names import ANY_FRECHET, known
from dpsynth.report import results, settings
from dpsynth.report.cells import Found, NotRun, Results, setting, test_error
from dpsynth.report.paired import Difference, over_seeds, seeds_to_tell
from dpsynth.report.verdicts import (
    AGREES,
    CANNOT_TELL,
    DISAGREES,
    ILLUSTRATION,
    NOT_COMPARABLE,
    NOT_RUN,
    Judged,
)  # fmt: skip
from dpsynth.rules import AnyRule, Cell, Cells, Illustration, Order, Settings, Shape, Value

DATASETS = {"cifar10": "CIFAR-10", "celeba32": "CelebA32", "celeba64": "CelebA64", "mnist": "MNIST"}  # as published
TOLERANCE_CA, TOLERANCE_FID = 2.0, 0.1  # of a published cell: points of accuracy; a share of the distance
POINTS = 2.0  # of accuracy: a difference that an interval should be able to tell
PAPERS = "paper"  # the scale at which numbers may be compared with the papers'


def judged(found: Results, rule: AnyRule) -> Iterator[Judged]:
    """A row a metric and pair of cells of the rule; item, claim and rule are for the caller to fill.

    Raises:
        ValueError: the rule names a cell, or a place of its axis, that no run of the file has; or a table of settings
            that there is not.
    """
    return JUDGES[type(rule)](found, rule)


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
    return _difference(sides[0].metric, deltas, test_error(sides, (1, -1, -1, 1)[: len(sides)]))


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
    told = _row(gap.metric, cells, verdict, ours=ours, interval=interval, seeds=gap.n)
    return told._replace(needs=_needs(gap)) if known(gap.metric).percent and gap.n > 1 else told


def _needs(gap: Difference) -> str:
    seeds = seeds_to_tell(POINTS, gap)
    return f"{seeds} seeds" if seeds else "a larger test set"


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
    error = test_error([sweep[inside], sweep[outside]], [1, -1])
    cells = f"{rule.over} {inside} less {rule.over} {outside}"
    return _told(metric, cells, lambda: _difference(sweep[inside].metric, gap, error))


def _trend(found: Results, rule: Shape, metric: str, sweep: dict[float, Found]) -> Judged:
    """The slope of each seed over the order of the axis's values: by a step of one."""
    ranks = pd.Series(range(len(sweep)), dtype=float) - (len(sweep) - 1) / 2
    table = pd.concat([each.values for each in sweep.values()], axis=1, join="inner").set_axis(ranks, axis=1)
    spread = float((ranks**2).sum())
    slopes = table.mul(table.columns, axis=1).sum(axis=1) / spread
    error = test_error(list(sweep.values()), [rank / spread for rank in ranks])
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
    """The cell of a published row, if the file runs it: a reference row is that of the first run that has it."""
    reference = method in ("real", "nonprivate")
    wanted = ({} if reference else {"method": method}) | ({} if method == "real" else {"epsilon": epsilon})
    runs = (p for p in found.points if all(setting(p, name) == value for name, value in wanted.items()))
    first = next(runs, None)
    if first is None:
        return None
    return {"method": first.method, "epsilon": first.epsilon} | ({"row": method} if reference else {})


def _is_near(metric: str, ours: float, paper: float) -> bool:
    tolerance = TOLERANCE_FID * paper if metric == "FID" else TOLERANCE_CA
    return abs(ours - paper) <= tolerance


def _settings(found: Results, rule: Settings) -> Iterator[Judged]:
    table = settings.of(rule.paper, rule.table, found.experiment.scale)
    equal = int((table["equal"] == "yes").sum())
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
