"""Two rows of the results at equal seeds: how far apart they are, and whether that can be told from chance."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pandas as pd
from scipy import stats

from dpsynth.methods import METHODS
from dpsynth.metrics.names import FRECHET, METRICS, known
from dpsynth.report.comparison import NONE

# Of those, what both rows have; first the metrics that tell rows apart.
SHOWN = ["CA-LR", "CA-MLP", "recall", "CA-CNN", "CA-ResNet9", *FRECHET]
OVER = (
    "± is half a 95 percent interval: Student's t over the seeds, with the test set's own binomial error added in "
    "squares to accuracies, as if the two rows erred independently of each other. Without ± there is one seed, and no "
    "interval."
)
Pair = tuple[str, pd.DataFrame, pd.DataFrame]  # what is compared, left rows, right rows


class Difference(NamedTuple):
    """Left row minus right row, in the metric's unit (accuracies: percentage points)."""

    metric: str
    mean: float
    half_width: float | None  # of the 95 percent interval over seeds by Student's t; none at one seed
    n: int  # seeds
    test_error: float  # standard error that the finite test set adds; 0 for metrics that are no accuracy
    comparisons: int = 1  # with which its interval holds together, at 95 percent (Bonferroni)

    @property
    def margin(self) -> float | None:
        """Half the 95 percent interval over seeds and test set; none at one seed."""
        if self.half_width is None:
            return None
        return math.hypot(self.half_width, stats.norm.ppf(_tail(self.comparisons)) * self.test_error)

    @property
    def verdict(self) -> str:
        """Whether the left row is "better" or "worse"; "cannot tell" where the interval holds 0, or there is none."""
        if self.margin is None or abs(self.mean) <= self.margin:
            return "cannot tell"
        return "better" if (self.mean > 0) == known(self.metric).higher_is_better else "worse"

    def __str__(self) -> str:
        decimals = known(self.metric).decimals
        margin = "" if self.margin is None else f" ± {self.margin:.{decimals}f}"
        return f"{self.mean:+.{decimals}f}{margin}"


def difference(left: pd.DataFrame, right: pd.DataFrame, metric: str) -> Difference:
    """The mean paired difference of two rows over the seeds that both have.

    Args:
        left, right: rows of results.csv with `seed`, `metric`, `value`, `n_reference`, each of one row of the table.
    Raises:
        ValueError: no seed in common, or two values at one.

    >>> ours = pd.DataFrame({"seed": [0, 1, 2], "metric": "recall", "value": [0.7, 0.8, 0.9], "n_reference": 1000})
    >>> floor = ours.assign(value=[0.2, 0.2, 0.2])
    >>> found = difference(ours, floor, "recall")
    >>> print(found, found.verdict)
    +0.600 ± 0.248 better
    """
    sides = [side[side["metric"] == metric].drop_duplicates(["seed", "value"]) for side in (left, right)]
    sides = [side.set_index("seed") for side in sides]
    if not all(side.index.is_unique for side in sides):
        raise ValueError(f"two values of {metric} at one seed: choose one setting")
    both = pd.concat([side["value"] for side in sides], axis=1, join="inner", keys=["left", "right"], sort=True)
    if both.empty:
        raise ValueError(f"no seed has {metric} of both rows")
    errors = [
        accuracy_error(both[name].mean(), side["n_reference"].max()) for name, side in zip(both, sides, strict=True)
    ]
    return over_seeds(metric, both["left"] - both["right"], math.hypot(*errors) if METRICS[metric].percent else 0.0)


def over_seeds(metric: str, deltas: pd.Series, test_error: float, comparisons: int = 1) -> Difference:
    """What differences at each seed say together.

    Args:
        deltas: one a seed; test_error: the standard error that the test set adds to their mean; comparisons: as of
            `Difference`.
    """
    n = len(deltas)
    tail = _tail(comparisons)
    half_width = float(stats.t.ppf(tail, n - 1) * deltas.std() / math.sqrt(n)) if n > 1 else None
    return Difference(metric, float(deltas.mean()), half_width, n, test_error, comparisons)


def _tail(comparisons: int) -> float:
    return 1 - 0.025 / comparisons


def seeds_to_tell(points: float, gap: Difference) -> int | None:
    """How many seeds would narrow the interval of a difference to this margin, if their spread stays as it is.

    Returns:
        None, if no number of seeds would: the test set is too small; or if one seed has no spread to go by.

    >>> seeds_to_tell(2.0, Difference("CA-CNN", 1.0, half_width=4.3, n=3, test_error=0.5))
    7
    """
    tail = _tail(gap.comparisons)
    rest = points**2 - (stats.norm.ppf(tail) * gap.test_error) ** 2
    if gap.half_width is None or rest <= 0:
        return None
    deviation = gap.half_width * math.sqrt(gap.n) / stats.t.ppf(tail, gap.n - 1)
    counts = range(2, 10_000)
    return next((n for n in counts if stats.t.ppf(tail, n - 1) * deviation / math.sqrt(n) <= math.sqrt(rest)), None)


def accuracy_error(percent: float, n: int) -> float:
    """The binomial standard error of an accuracy, in percentage points.

    >>> round(accuracy_error(92.0, 1000), 2)
    0.86
    """
    return math.sqrt(max(percent * (100 - percent), 0) / n)


def table(pairs: Iterable[Pair]) -> pd.DataFrame:
    """A row a pair (its name, left, right), a column a metric of `SHOWN` that any pair has; a verdict where there is an
    interval, and a dash where there is no such metric."""
    rows, measured = [], set()
    for name, left, right in pairs:
        row = {"difference": name, "seeds": str(len({*left["seed"]} & {*right["seed"]}))}
        for deltas in _differences(left, right):
            row[deltas.metric] = str(deltas) if deltas.margin is None else f"{deltas}, {deltas.verdict}"
        measured |= row.keys()
        rows.append(row)
    columns = ["difference", "seeds", *(metric for metric in SHOWN if metric in measured)]
    return pd.DataFrame(rows, columns=columns).fillna(NONE)


def stated(left: pd.DataFrame, right: pd.DataFrame) -> str:
    """The differences of `SHOWN` in a sentence, by verdict."""
    verdicts = {"better": [], "worse": [], "cannot tell": []}
    for deltas in _differences(left, right):
        verdicts[deltas.verdict].append(f"{deltas.metric} ({deltas})")
    return "; ".join(f"{verdict} in {', '.join(these)}" for verdict, these in verdicts.items() if these) + "."


def _differences(left: pd.DataFrame, right: pd.DataFrame) -> Iterator[Difference]:
    both = {*left["metric"]} & {*right["metric"]}
    return (difference(left, right, metric) for metric in SHOWN if metric in both)


def rows(results: pd.DataFrame, method: str, variant: str = "", epsilon: float = 10.0) -> pd.DataFrame:
    """One row of the table at one budget: all its seeds and metrics."""
    at = (results["method"] == method) & (results["variant"] == variant)
    return results[at & (results["epsilon_target"] == epsilon)]


def against(results: pd.DataFrame) -> Iterator[Pair]:
    """Each method, at each budget, beside its own public floor and its own base before private learning, if it has."""
    methods = results[results["method"].isin(METHODS)].sort_values("epsilon_target", kind="stable")
    for (epsilon, method, variant), left in methods.groupby(["epsilon_target", "method", "variant"], sort=False):
        for reference in ("floor_public", "pretrained"):
            right = rows(results, reference, f"{method}: {variant}" if variant else method, epsilon)
            if len(right):
                yield f"{method}{f' ({variant})' if variant else ''} less its {reference}, ε {epsilon:g}", left, right


def perturbation(results: pd.DataFrame) -> Pair:
    """RPGen beside PrivImage+D, which is the same but for the perturbation."""
    return "rpgen less privimage_d, ε 10", rows(results, "rpgen"), rows(results, "privimage_d")


def beside_usual(results: pd.DataFrame) -> Iterator[Pair]:
    """Each variant of a method beside the one with the fewest settings of its own."""
    for method, rows in results[results["method"].isin(METHODS)].groupby("method", sort=False):
        usual, *others = sorted(rows["variant"].unique(), key=lambda name: (name.count(",") + bool(name), name))
        for name in others:
            yield f"{method}: {name}", rows[rows["variant"] == name], rows[rows["variant"] == usual]
