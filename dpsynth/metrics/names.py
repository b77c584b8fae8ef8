"""The metrics by name, in the order of the tables: how each is printed, and which way is better. Said once.

Which of them a set of images has depends on it: one without labels has no accuracy, and the distances are named after
their extractor.
"""

from collections.abc import Collection
from typing import NamedTuple


class Metric(NamedTuple):
    """Decimals that are printed, and what the number is."""

    decimals: int
    higher_is_better: bool = False
    percent: bool = False


_ACCURACY = Metric(1, higher_is_better=True, percent=True)
METRICS = {
    "CA-LR": _ACCURACY, "CA-MLP": _ACCURACY, "CA-CNN": _ACCURACY, "CA-ResNet9": _ACCURACY,
    "FD-convnet": Metric(2), "KID-convnet": Metric(4), "FD-effnet": Metric(2), "KID-effnet": Metric(4),
    "FID": Metric(2), "KID": Metric(4),
    "precision": Metric(3, higher_is_better=True), "recall": Metric(3, higher_is_better=True),
}  # fmt: skip
# Of what parameter files have measured beside those, and of what a run costs: by the start of the name.
_SHARE, _COST = Metric(3, higher_is_better=True), Metric(0)
BESIDE = {
    "accuracy-": _ACCURACY, "neighbours": _SHARE, "recall-of-picks": _SHARE, "similarity": _SHARE,
    "loss-": Metric(4), "rise-": Metric(4), "seconds": _COST, "peak-MiB": _COST, "weights": _COST,
    "images-of-pretraining": _COST,
}  # fmt: skip
MEAN = "CA"  # stands for the mean of the accuracies that both papers have
ANY_FRECHET = "FD"  # stands for the Frechet distance that was measured
MEAN_OF = ("CA-LR", "CA-MLP", "CA-CNN")
ACCURACIES = tuple(name for name, metric in METRICS.items() if metric.percent)
FRECHET = ("FD-convnet", "FD-effnet", "FID")  # one of them has every set that was measured


def known(name: str) -> Metric:
    """What a number of results.csv is.

    Raises:
        ValueError: no metric has that name.

    >>> known("recall").higher_is_better, known("rise-base-private-gaussian").higher_is_better
    (True, False)
    """
    if name in (MEAN, ANY_FRECHET):
        return METRICS[MEAN_OF[0] if name == MEAN else "FID"]
    beside = (metric for start, metric in BESIDE.items() if name.startswith(start))
    found = METRICS.get(name) or next(beside, None)
    if found is None:
        raise ValueError(f"no metric is called {name!r}; there are {', '.join([MEAN, ANY_FRECHET, *METRICS, *BESIDE])}")
    return found


def frechet(measured: Collection[str]) -> str:
    """The Frechet distance that is among them; the convnet's if none is.

    >>> frechet(["CA-LR", "FD-effnet", "recall"])
    'FD-effnet'
    """
    return next((name for name in FRECHET if name in measured), FRECHET[0])


def headline(measured: Collection[str]) -> str:
    """The metric of a figure that shows one: accuracy of the CNN, or of images without labels the Frechet distance."""
    return "CA-CNN" if "CA-CNN" in measured or not {*FRECHET} & {*measured} else frechet(measured)
