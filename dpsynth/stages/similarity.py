"""How near sets of images are in meaning: PrivImage's Semantic Distribution Similarity, and how labels cluster.

What differs from PrivImage (Sec. 5.1, Eq. 5): a class's vector is the mean feature of its images, less the mean of all
public classes, where PrivImage embeds the class's name; glyphs have no names to embed. So all public classes together
are near 0, and what is above is nearer to the records than chance. Evaluations on a public
benchmark, not releases.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dpsynth import privacy
from dpsynth.artifacts import Corpus, Curves, Extractor, Samples
from dpsynth.checkpoints import Work
from dpsynth.data.public_sets import PublicSet
from dpsynth.metrics import extractors
from dpsynth.recipes import work
from dpsynth.stages.evaluate import seen_by

ROWS = 2000  # vectors whose distances to all others are held at once
EACH = 50  # images that a class's vector is the mean of, at most


@work
def similarity(
    work: Work, corpus: Corpus, public: PublicSet, extractor: Extractor | None, private: privacy.Private,
    *, inception: str | None,
) -> Curves:  # fmt: skip
    """Semantic Distribution Similarity (PrivImage, Eq. 5) of the private records to the corpus and to the whole public
    set: the mean cosine of their classes' vectors, weighted by the classes' frequencies, in [-1, 1].

    Returns:
        `similarity` of the corpus at 0 and of all public classes at 1.
    """
    network = seen_by(extractor, inception)
    n = len(public.classes)
    classes = _class_vectors(public.images, public.labels, n, network)
    centre = classes.mean(0)
    images, labels = privacy.evaluation(private, "semantic similarity of the corpus")
    ours = normalize(_class_vectors(images, labels, len(private.classes), network) - centre, dim=1)
    classes = normalize(classes - centre, dim=1)
    frequency = labels.bincount(minlength=len(ours)).double() / len(labels)
    chosen = torch.zeros(n, dtype=torch.float64).index_add_(
        0, public.labels[corpus.rows], torch.ones(len(corpus.rows), dtype=torch.float64)
    )
    spread = public.labels.bincount(minlength=n).double()
    values = [(frequency @ ours @ classes.T @ (weight / weight.sum())).item() for weight in (chosen, spread)]
    return Curves({"similarity": torch.tensor([[0.0, 1.0], values], dtype=torch.float64).T.contiguous()})


@work
def clusters(work: Work, samples: Samples, extractor: Extractor | None, *, inception: str | None) -> Curves:
    """Share of synthetic images whose nearest other one, in features, has the same label: `neighbours`, in [0, 1].

    What t-SNE shows as clusters by category (RPGen, Figure 1), as a number. One image a label, drawn again and again,
    has 1: it says nothing of variety.
    """
    vectors = extractors.features(samples.images, seen_by(extractor, inception))
    vectors = vectors.double()
    nearest = torch.cat([_nearest_other(vectors, start) for start in range(0, len(vectors), ROWS)])
    share = (samples.labels[nearest] == samples.labels).double().mean()
    return Curves({"neighbours": torch.tensor([[0.0, share]], dtype=torch.float64)})


def _nearest_other(vectors: Tensor, start: int) -> Tensor:
    """Of each of `ROWS` vectors from `start` on, which other one is nearest."""
    gaps = torch.cdist(vectors[start : start + ROWS], vectors)
    own = torch.arange(len(gaps))
    gaps[own, start + own] = torch.inf
    return gaps.argmin(1)


def _class_vectors(images: Tensor, labels: Tensor, n: int, network: extractors.FeatureExtractor) -> Tensor:
    """The mean feature of the first images of each class: (n, D) float64."""
    rows = [(labels == label).nonzero().flatten()[:EACH] for label in range(n)]
    if empty := [label for label, each in enumerate(rows) if not len(each)]:
        raise ValueError(f"class {empty[0]} has no image, and so no vector")
    vectors = extractors.features(images[torch.cat(rows)], network).double()
    return torch.stack([part.mean(0) for part in vectors.split([len(each) for each in rows])])
