"""Rules that compare cells of ours with each other: orders, and shapes of a sweep."""

from collections.abc import Callable, Iterator

import pandas as pd

from dpsynth.metrics.names import known
from dpsynth.report.cells import Found, NotRun, Results, setting, test_error
from dpsynth.report.paired import Difference, over_seeds, seeds_to_tell
from dpsynth.report.verdicts import AGREES, CANNOT_TELL, DISAGREES, NOT_RUN, Judged, row
from dpsynth.rules import Cell, Order, Shape

POINTS = 2.0  # of accuracy: a difference that an interval should be able to tell


def order(found: Results, rule: Order) -> Iterator[Judged]:
    """A row a metric and pair; the intervals of all pairs of a metric hold together (Bonferroni)."""
    others = rule.beyond.pairs if rule.beyond else [()] * len(rule.pairs)
    for metric in rule.metric:
        for (better, than), beyond in zip(rule.pairs, others, strict=True):
            for cell in (better, than, *beyond):
                _ = found.runs(cell)  # which refuses what there is not, also where nothing was run
            cells = _pair(better, than)
            if beyond:
                cells = f"({cells}) less ({_pair(*beyond)})"
            yield told(metric, cells, lambda m=metric, s=(better, than, *beyond): _gap(found, rule, s, m), rule.margin)


def shape(found: Results, rule: Shape) -> Iterator[Judged]:
    """A row a metric."""
    for metric in rule.metric:
        places = _places(found, rule, metric)
        if missing := [place for place in rule.best or () if rule.over != "at" and place not in places]:
            name = found.experiment.name
            raise ValueError(f"{name}: a rule names {rule.over} {missing[0]}, which no run of the file has")
        try:
            sweep = {place: found.find(cell, metric, at) for place, (cell, at) in places.items()}
            if not sweep:
                raise NotRun
            yield _best(rule, metric, sweep) if rule.best else _trend(rule, sweep)
        except NotRun:
            yield row(metric, f"over {rule.over}", NOT_RUN)


def told(metric: str, cells: str, difference: Callable[[], Difference], margin: float = 0.0) -> Judged:
    """A difference that is claimed to be for the better, or worse by less than `margin`."""
    try:
        gap = difference()
    except NotRun:
        return row(metric, cells, NOT_RUN)
    allowed = margin if known(gap.metric).higher_is_better else -margin
    verdict = gap._replace(mean=gap.mean + allowed).verdict
    return _of(gap, cells, {"better": AGREES, "worse": DISAGREES}.get(verdict, CANNOT_TELL))


def _gap(found: Results, rule: Order, sides: tuple[Cell, ...], metric: str) -> Difference:
    cells = [found.find(cell, metric, rule.at) for cell in sides]
    weights = (1, -1, -1, 1)[: len(cells)]
    deltas = sum(weight * cell.values for weight, cell in zip(weights, cells, strict=True))
    return _difference(cells[0].metric, deltas, test_error(cells, weights), len(rule.pairs))


def _difference(metric: str, deltas: pd.Series, error: float, comparisons: int = 1) -> Difference:
    if deltas.dropna().empty:
        raise NotRun
    return over_seeds(metric, deltas.dropna(), error, comparisons)


def _of(gap: Difference, cells: str, verdict: str) -> Judged:
    decimals, margin = known(gap.metric).decimals, gap.margin
    interval = "" if margin is None else f"{gap.mean - margin:+.{decimals}f} to {gap.mean + margin:+.{decimals}f}"
    one = row(gap.metric, cells, verdict, ours=f"{gap.mean:+.{decimals}f}", interval=interval, seeds=gap.n)
    if not known(gap.metric).percent or gap.n < 2:
        return one
    seeds = seeds_to_tell(POINTS, gap)
    return one._replace(needs=f"{seeds} seeds" if seeds else "a larger test set")


def _places(found: Results, rule: Shape, metric: str) -> dict[float, tuple[Cell, float | None]]:
    """Each place of the axis, in order: the cell, and where on a curve."""
    if rule.over == "at":
        return {at: (rule.where, at) for at in found.axis(rule.where, metric)}
    runs = [p for p in found.points if all(setting(p, name) == value for name, value in rule.where.items())]
    places = {setting(p, rule.over) for p in runs}
    if None in places or not places:
        raise ValueError(f"{found.experiment.name}: a rule is over {rule.over!r}, which its runs do not have")
    return {place: ({**rule.where, rule.over: place}, None) for place in sorted(places)}


def _best(rule: Shape, metric: str, sweep: dict[float, Found]) -> Judged:
    """The better mean of the claimed places less the best of the others: the best of several is the best by luck too,
    for which the interval is widened by their number (Bonferroni)."""
    sign = 1 if known(metric).higher_is_better else -1

    def top(places: list[float]) -> float:
        return max(places, key=lambda place: sign * sweep[place].values.mean())

    claimed, others = list(rule.best), [place for place in sweep if place not in rule.best]
    inside, outside = top(claimed), top(others)
    gap = sweep[inside].values - sweep[outside].values
    error = test_error([sweep[inside], sweep[outside]], [1, -1])
    comparisons = len(claimed) * len(others)
    cells = f"{rule.over} {inside} less {rule.over} {outside}"
    return told(metric, cells, lambda: _difference(sweep[inside].metric, gap, error, comparisons))


def _trend(rule: Shape, sweep: dict[float, Found]) -> Judged:
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


def named(cell: Cell) -> str:
    """A cell in words: "rpgen, epsilon 10"."""
    return ", ".join(f"{v}" if k in ("method", "row") else f"{k} {v}" for k, v in cell.items())


def _pair(better: Cell, than: Cell) -> str:
    """What sets two cells apart, and after it what they share: "rpgen less privimage_d, epsilon 10"."""
    shared = {k: v for k, v in better.items() if than.get(k) == v}
    apart = [named({k: v for k, v in cell.items() if k not in shared}) or "the method's own" for cell in (better, than)]
    return " less ".join(apart) + (f", {named(shared)}" if shared else "")
