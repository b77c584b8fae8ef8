"""Which labels synthetic images get: from a uniform public prior, or from the private labels' noisy frequencies.

The papers take the private set's class counts for public, or uniform. Here the second is the default; `prior: noisy`
asks for the counts once, in the same plan.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dpsynth.artifacts import LabelCounts
from dpsynth.checkpoints import Work
from dpsynth.privacy import Counts, Private
from dpsynth.recipes import work
from dpsynth.stages.permit import Permit


@work
def label_histogram(work: Work, private: Private, permit: Permit) -> LabelCounts:
    """Each record casts one vote, in the row of its own label: sensitivity 1 (`privacy.Counts`)."""

    def vote(x, labels, draws):
        return torch.zeros(len(labels), 1, dtype=torch.int64)

    return LabelCounts(private.count(vote, 1, permit.charge(work, private))[:, 0])


def mechanism(rule: Callable[[int], float]) -> Counts:
    """One vote a record; noise by the rule of the semantic histogram."""
    return Counts("label_histogram", 1, rule(1))


def proportional(prior: LabelCounts, n: int) -> Tensor:
    """`n` labels in proportion to the counts, negative ones taken as 0, by largest remainders: (n,) int64, sorted.

    >>> proportional(LabelCounts(torch.tensor([3, -1, 1])), 8).tolist()
    [0, 0, 0, 0, 0, 0, 2, 2]
    """
    weights = prior.counts.clamp(min=0).double()
    if not weights.sum() > 0:
        weights = torch.ones_like(weights)
    exact = weights / weights.sum() * n
    counts = exact.floor().long()
    largest = (exact - counts).argsort(descending=True, stable=True)
    counts[largest[: n - int(counts.sum())]] += 1
    return torch.arange(len(counts)).repeat_interleave(counts)
