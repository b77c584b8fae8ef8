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
ACCURACIES = tuple(name for name, metric in METRICS.items() if metric.percent)
FRECHET = ("FD-convnet", "FD-effnet", "FID")  # one of them has every set that was measured


def frechet(measured: Collection[str]) -> str:
    """The Frechet distance that is among them; the convnet's if none is.

    >>> frechet(["CA-LR", "FD-effnet", "recall"])
    'FD-effnet'
    """
    return next((name for name in FRECHET if name in measured), FRECHET[0])


def headline(measured: Collection[str]) -> str:
    """The metric of a figure that shows one: accuracy of the CNN, or of images without labels the Frechet distance."""
    return "CA-CNN" if "CA-CNN" in measured or not {*FRECHET} & {*measured} else frechet(measured)
