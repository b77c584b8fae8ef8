"""Which labels synthetic images get: from a uniform public prior, or from the private labels' noisy frequencies.

The papers take the private set's class counts for public, or uniform. Here the second is the default; `prior: noisy`
asks for the counts once, in the same plan.
"""

import torch
from torch import Tensor

from dpsynth import store
from dpsynth.artifacts import Prior
from dpsynth.privacy import Counts, Private
from dpsynth.stages import planning


def run(p) -> Prior | None:
    """The noisy label counts of `p`, asked now if they were not before; None where the prior is uniform."""
    return planning.ask("prior", p.row.prior, p) if p.row.prior else None


def label_histogram(work: store.Work, private: Private, allowance: planning.Allowance) -> Prior:
    """Each record casts one vote, in the row of its own label: sensitivity 1 (`privacy.Counts`)."""

    def vote(x, labels, draws):
        return torch.zeros(len(labels), 1, dtype=torch.int64)

    return Prior(private.count(vote, 1, allowance.charge(work, private))[:, 0])


def price(p, learn) -> list[Counts]:
    """One vote a record; noise by the rule of the semantic histogram."""
    return [Counts("label_histogram", 1, planning.query_noise(p, 1, learn))]


def proportional(prior: Prior, n: int) -> Tensor:
    """`n` labels in proportion to the counts, negative ones taken as 0, by largest remainders: (n,) int64, sorted."""
    weights = prior.counts.clamp(min=0).double()
    if not weights.sum() > 0:
        weights = torch.ones_like(weights)
    exact = weights / weights.sum() * n
    counts = exact.floor().long()
    largest = (exact - counts).argsort(descending=True, stable=True)
    counts[largest[: n - int(counts.sum())]] += 1
    return torch.arange(len(counts)).repeat_interleave(counts)
