"""Each kind of rule, applied to the results of its parameter file."""

import math
from collections.abc import Callable, Iterator

from scipy import stats

from dpsynth.metrics.names import ANY_FRECHET, known
from dpsynth.report import orders, results, settings
from dpsynth.report.cells import Found, NotRun, Results, setting
from dpsynth.report.verdicts import (
    AGREES,
    CANNOT_TELL,
    DISAGREES,
    ILLUSTRATION,
    NOT_COMPARABLE,
    NOT_RUN,
    Judged,
    row,
)  # fmt: skip
from dpsynth.rules import AnyRule, Cell, Cells, Illustration, Order, Settings, Shape, Value

DATASETS = {"cifar10": "CIFAR-10", "celeba32": "CelebA32", "celeba64": "CelebA64", "mnist": "MNIST"}  # as published
TOLERANCE_CA, TOLERANCE_FID = 2.0, 0.1  # of a published cell: points of accuracy; a share of the distance
PAPERS = "paper"  # the scale at which numbers may be compared with the papers'


def judged(found: Results, rule: AnyRule) -> Iterator[Judged]:
    """A row a metric and pair of cells of the rule; item, claim and rule are for the caller to fill.

    Raises:
        ValueError: the rule names a cell, or a place of its axis, that no run of the file has; or a table of settings
            that there is not.
    """
    return JUDGES[type(rule)](found, rule)


def _value(found: Results, rule: Value) -> Iterator[Judged]:
    comparable = rule.anywhere or found.experiment.scale == PAPERS
    for metric in rule.metric:
        at = (found.axis(rule.of, metric) or [None])[-1] if rule.at == "last" else rule.at
        cells = orders.named(rule.of) + (f" at {rule.at}" if rule.at is not None else "")
        _ = found.runs(rule.of)
        try:
            cell = found.find(rule.of, metric, at)
        except NotRun:
            yield row(metric, cells, NOT_RUN, f"{rule.expected:g}")
            continue
        yield _near(cells, f"{rule.expected:g}", cell, rule.expected, rule.tolerance, comparable)


def _near(cells: str, paper: str, cell: Found, expected: float, tolerance: float, comparable: bool) -> Judged:
    """Whether a mean is as expected; cannot tell where its interval reaches over the edge of the tolerance."""
    mean, margin = _mean(cell)
    apart = abs(mean - expected)
    verdict = AGREES if apart <= tolerance else DISAGREES
    if margin is None or abs(apart - tolerance) < margin:
        verdict = CANNOT_TELL
    return _filled(cells, verdict if comparable else NOT_COMPARABLE, paper, cell)


def _mean(cell: Found) -> tuple[float, float | None]:
    """Mean over seeds, and half its 95 percent interval with the test set's error; none at one seed."""
    n = len(cell.values)
    over = stats.t.ppf(0.975, n - 1) * cell.values.std() / math.sqrt(n) if n > 1 else None
    return cell.values.mean(), None if over is None else math.hypot(over, stats.norm.ppf(0.975) * cell.error)


def _filled(cells: str, verdict: str, paper: str, cell: Found) -> Judged:
    mean, margin = _mean(cell)
    decimals = known(cell.metric).decimals
    interval = "" if margin is None else f"{mean - margin:.{decimals}f} to {mean + margin:.{decimals}f}"
    return row(cell.metric, cells, verdict, paper, f"{mean:.{decimals}f}", interval, len(cell.values))


def _cells(found: Results, rule: Cells) -> Iterator[Judged]:
    """Each published cell whose method and budget the file runs; of one data set, its own or the first published."""
    source, _, table = rule.table.rpartition(", ")
    published = results.published()
    published = published[published["source"].str.startswith(source) & (published["table"] == table)]
    if published.empty:
        raise ValueError(f"{found.experiment.name}: a rule names {rule.table!r}, which published.csv does not have")
    own = DATASETS.get(found.points[0].private)
    dataset = own if own in set(published["dataset"]) else published["dataset"].iloc[0]
    comparable = own == dataset and found.experiment.scale == PAPERS
    for line in published[published["dataset"] == dataset].itertuples():
        if cell := _cell_of(found, line.method, line.epsilon):
            metric = ANY_FRECHET if line.metric == "FID" and not comparable else line.metric
            budget = f", epsilon {line.epsilon:g}" if math.isfinite(line.epsilon) else ""
            name, paper = f"{line.row}{budget}", f"{line.metric} {line.value:g}"
            tolerance = TOLERANCE_FID * line.value if line.metric == "FID" else TOLERANCE_CA
            try:
                yield _near(name, paper, found.find(cell, metric), line.value, tolerance, comparable)
            except NotRun:
                yield row(metric, name, NOT_RUN, paper)


def _cell_of(found: Results, method: str, epsilon: float) -> Cell | None:
    """The cell of a published row, if the file runs it: a reference row is that of the first run that has it."""
    reference = method in ("real", "nonprivate")
    wanted = ({} if reference else {"method": method}) | ({} if method == "real" else {"epsilon": epsilon})
    runs = (p for p in found.points if all(setting(p, name) == value for name, value in wanted.items()))
    first = next(runs, None)
    if first is None:
        return None
    return {"method": first.method, "epsilon": first.epsilon} | ({"row": method} if reference else {})


def _settings(found: Results, rule: Settings) -> Iterator[Judged]:
    table = settings.of(rule.paper, rule.table, found.experiment.scale)
    equal = int((table["equal"] == "yes").sum())
    verdict = NOT_COMPARABLE if found.experiment.scale != PAPERS else AGREES if equal == len(table) else DISAGREES
    yield row("settings", rule.table, verdict, f"{len(table)} settings", f"{equal} equal")


def _illustration(found: Results, rule: Illustration) -> Iterator[Judged]:
    yield row("", "", ILLUSTRATION)


JUDGES: dict[type, Callable[[Results, AnyRule], Iterator[Judged]]] = {
    Order: orders.order, Shape: orders.shape, Value: _value, Cells: _cells, Settings: _settings,
    Illustration: _illustration,
}  # fmt: skip
