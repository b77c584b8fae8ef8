"""How much noise a selection bears: an evaluation on public benchmarks, not a release."""

import torch

from dpsynth.privacy import Counts, accounting
from dpsynth.stages import query, selection

NOISE = (2, 5, 10, 20, 50, 100, 200, 484)  # the last is the papers' for CIFAR-10


def curve(p, n_draws: int = 20) -> dict[str, torch.Tensor]:
    """Share of the noiseless picks that noisy picks recover, against the query's noise multiplier.

    Opens the records of a built-in benchmark through `privacy.evaluation`.

    Returns:
        `noise` (S,), `recall` (S, n_draws) in [0, 1], `epsilon` (S,): what such a query alone would cost.
    """
    histogram = query.exact(p).histogram
    truth = _pairs(selection.pick(histogram, p["kept"]))
    draws = torch.Generator().manual_seed(p.seed)
    recall = []
    for noise in NOISE:
        scale = Counts("query", p["votes"], noise).scale
        noisy = histogram + scale * torch.randn(n_draws, *histogram.shape, generator=draws)
        recall.append([len(truth & _pairs(selection.pick(h, p["kept"]))) / len(truth) for h in noisy])
    alone = [accounting.epsilon([Counts("query", p["votes"], noise)], p.delta) for noise in NOISE]
    return {"noise": torch.tensor(NOISE), "recall": torch.tensor(recall), "epsilon": torch.tensor(alone)}


def _pairs(chosen: list[list[int]]) -> set[tuple[int, int]]:
    return {(row, column) for row, columns in enumerate(chosen) for column in columns}
