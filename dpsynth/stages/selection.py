"""Stage 02: which public images the base model sees, and under which labels.

RPGen Sec. "Stage 1" (last paragraph), PrivImage Sec. 3.3, App. C.2 and its code's disjoint picks.
"""

import torch
from torch import Tensor

from dpsynth import store
from dpsynth.artifacts import Corpus, Release
from dpsynth.data import catalog
from dpsynth.stages import query


def run(p) -> Corpus | None:
    """The corpus of `p`; None for a method whose base sees no images."""
    if p.row.corpus is None:
        return None
    catalog.refuse_shared_files(p.private, p.public)
    return store.build("corpus", p.row.corpus, p, release=query.run(p))


def top_classes(
    work: store.Work, release: Release, *, public: str, background: str, shape: tuple, kept: int, match: str, seed: int
) -> Corpus:
    """The images of the public classes with the most noisy votes.

    Args:
        kept: classes kept a private label (mode "per_class"), or in all (mode "global").
        match: "top_k": every image of a kept class; "proportional": as many in all, shared out by the noisy counts.
    """
    source = catalog.public(public, *shape, background=background)
    chosen = pick(release.histogram, kept)
    rows, labels = [], []
    for label, classes in enumerate(chosen):
        available = [(source.labels == c).nonzero().flatten() for c in classes]
        if match == "proportional":
            draws = torch.Generator().manual_seed(store.seed_of(seed, "selection", str(label)))
            available = _share_out(available, release.histogram[label, classes], draws)
        for position, indices in enumerate(available):
            rows.append(indices)
            labels.append(torch.full_like(indices, label if release.by_label else position))
    n_labels = len(chosen) if release.by_label else kept
    rows = torch.cat(rows)
    return Corpus(source.images[rows], torch.cat(labels), n_labels, release.by_label, chosen, f"{match} of {public}")


def all_public(work: store.Work, release: None, *, public: str, background: str, shape: tuple) -> Corpus:
    """Every public image, under its public label (PDP-Diffusion and others)."""
    source = catalog.public(public, *shape, background=background)
    n = len(source.classes)
    return Corpus(source.images, source.labels, n, False, [list(range(n))], f"all of {public}")


def pick(histogram: Tensor, kept: int) -> list[list[int]]:
    """For each row in turn the `kept` largest columns not taken by an earlier row: (R, C) -> R lists of distinct
    indices.

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


def favourites(release: Release, p, n: int = 8, limit: int = 10) -> tuple[list[list[Tensor]], list[str]]:
    """For each of the first `limit` rows of the noisy histogram the `n` classes with most votes (all, where there are
    fewer), as an example image (C, H, W) each; and the rows' names."""
    source = catalog.public(p.public, *p.shape, background=p.background)
    first = [int((source.labels == c).nonzero()[0]) for c in range(len(source.classes))]
    most = release.histogram[:limit].topk(min(n, len(first)), dim=1).indices.tolist()
    names = list(p.constants.classes[:limit]) if release.by_label else ["all records"]
    return [[source.images[first[c]] for c in row] for row in most], names


def examples(corpus: Corpus, names: tuple[str, ...], n: int, limit: int = 10) -> tuple[Tensor, Tensor, list[str]]:
    """`n` images of each of the first `limit` labels that have any, for a grid: images, labels, names of all labels."""
    labels = corpus.labels.unique().tolist()[:limit]
    rows = torch.cat([(corpus.labels == label).nonzero().flatten()[:n] for label in labels])
    said = names if corpus.private_labels else [f"class {label}" for label in range(corpus.n_labels)]
    return corpus.images[rows], corpus.labels[rows], list(said)


def _share_out(available: list[Tensor], counts: Tensor, draws: torch.Generator) -> list[Tensor]:
    weights = counts.clamp(min=0).double() + 1e-9
    total = sum(map(len, available))
    shares = (weights / weights.sum() * total).round().long().tolist()
    return [rows[torch.randint(len(rows), (n,), generator=draws)] for rows, n in zip(available, shares, strict=True)]
