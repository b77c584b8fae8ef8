"""Stage 02: which public images the base model sees, and under which labels.

RPGen Sec. "Stage 1" (last paragraph), PrivImage Sec. 3.3, App. C.2 and its code's disjoint picks.
"""

import torch
from torch import Tensor

from dpsynth.artifacts import Corpus, SemanticHistogram
from dpsynth.checkpoints import Work
from dpsynth.data.public_sets import PublicSet
from dpsynth.recipes import work
from dpsynth.seeds import seed_of


@work
def top_classes(
    work: Work, public: PublicSet, release: SemanticHistogram, *, kept: int, match: str, seed: int
) -> Corpus:
    """The images of the public classes with the most noisy votes.

    Args:
        kept: classes kept a private label (mode "per_class"), or in all (mode "global").
        match: "top_k": every image of a kept class; "proportional": as many in all, shared out by the noisy counts.
    """
    if release.histogram.shape[1] != len(public.classes):
        raise ValueError(
            f"{public.name} has {len(public.classes)} classes, and {release.histogram.shape[1]} were voted for: "
            "its folders changed since; put them back"
        )
    chosen = pick(release.histogram, kept)
    rows, labels = [], []
    for label, classes in enumerate(chosen):
        available = [(public.labels == c).nonzero().flatten() for c in classes]
        if match == "proportional":
            draws = torch.Generator().manual_seed(seed_of(seed, "selection", str(label)))
            available = _share_out(available, release.histogram[label, classes], draws)
        for position, indices in enumerate(available):
            rows.append(indices)
            labels.append(torch.full_like(indices, label if release.by_label else position))
    n_labels = len(chosen) if release.by_label else kept
    rows = torch.cat(rows)
    provenance = f"{match} of {public.name}"
    labels = torch.cat(labels)
    return Corpus(None, labels, n_labels, release.by_label, chosen, provenance, rows, public.content, public)


@work
def all_public(work: Work, public: PublicSet) -> Corpus:
    """Every public image, under its public label (PDP-Diffusion and others)."""
    n, rows, provenance = len(public.classes), torch.arange(len(public.labels)), f"all of {public.name}"
    return Corpus(None, public.labels, n, False, [list(range(n))], provenance, rows, public.content, public)


def pick(histogram: Tensor, kept: int) -> list[list[int]]:
    """For each row in turn the `kept` largest columns not taken by an earlier row: (R, C) -> R lists of distinct
    indices.

    >>> pick(torch.tensor([[5, 9, 1], [7, 8, 0]]), 1)  # the second row wanted class 1 too, which the first has taken
    [[1], [0]]

    Raises:
        ValueError: fewer columns than picks.
    """
    rows, columns = histogram.shape
    if rows * kept > columns:
        raise ValueError(f"cannot keep {kept} classes for each of {rows} rows: there are {columns} public classes")
    free = torch.ones(columns, dtype=torch.bool)
    chosen = []
    for row in histogram:
        order = row.argsort(descending=True, stable=True)
        chosen.append(order[free[order]][:kept].tolist())
        free[chosen[-1]] = False
    return chosen


def recall(histogram: Tensor, kept: int, scale: float, draws: torch.Generator, n_draws: int = 20) -> Tensor:
    """Share of the picks without noise that are picked with noise of standard deviation `scale`: (n_draws,) in [0, 1].

    Args:
        histogram: (R, C), without noise.
    """
    truth = _pairs(pick(histogram, kept))
    noisy = histogram + scale * torch.randn(n_draws, *histogram.shape, generator=draws)
    return torch.tensor([len(truth & _pairs(pick(h, kept))) / len(truth) for h in noisy])


def _pairs(chosen: list[list[int]]) -> set[tuple[int, int]]:
    return {(row, column) for row, columns in enumerate(chosen) for column in columns}


def _share_out(available: list[Tensor], counts: Tensor, draws: torch.Generator) -> list[Tensor]:
    weights = counts.clamp(min=0).double() + 1e-9
    total = sum(map(len, available))
    shares = (weights / weights.sum() * total).round().long().tolist()
    return [rows[torch.randint(len(rows), (n,), generator=draws)] for rows, n in zip(available, shares, strict=True)]
