"""How far synthetic images are from real ones, and which real ones they resemble."""

import numpy as np
import torch
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from dpsynth import device
from dpsynth.metrics.extractors import FeatureExtractor, features

NEIGHBOURS = 3  # of precision and recall (Kynkaanniemi et al. 2019)
KERNEL_SUBSETS, KERNEL_SUBSET_SIZE = 50, 500
ROWS = 5000  # images whose distances to all others are held at once: of 50,000 others, 1 GiB


def between(synthetic: Tensor, reference: Tensor, extractor: FeatureExtractor) -> dict[str, float]:
    """Distances between two sets of images, on the features of `extractor`; by torch-fidelity.

    - `FD-convnet` or `FD-effnet`, after the extractor, or `FID` on Inception: Frechet distance of Gaussians fitted to
      both (Heusel et al. 2017). Biased upwards in small sets: compare at equal sizes only.
    - `KID-convnet`, `KID-effnet` or `KID`: squared maximum mean discrepancy, cubic kernel (Binkowski et al. 2018), mean
      over 50 random subsets of 500, or of the smaller set's size. Unbiased, so it may fall below 0.
    - `precision`: share of `synthetic` in the real manifold, the balls around real images that reach their
      third neighbour; `recall`: share of `reference` in the synthetic one (Kynkaanniemi et al. 2019). Both
      move with the sizes of the sets.

    Deterministic. Leaves torch's global generator alone.

    Args:
        synthetic: uint8 (N, C, H, W), the generated images; reference: uint8 (M, C, H, W), the real ones.
    Raises:
        ValueError: a set is empty, not uint8 images, or has fewer than 4; or their shapes differ.
    """
    check_images(synthetic=synthetic, reference=reference)
    smaller = min(len(synthetic), len(reference))
    if smaller <= NEIGHBOURS:
        raise ValueError(f"distances need more than {NEIGHBOURS} images a set; one has {smaller}")
    with threadpool_limits(1, user_api="blas"):  # of small matrices, threads on a busy machine make minutes
        ours, theirs = features(synthetic, extractor), features(reference, extractor)
        frechet = fid_statistics_to_metric(*map(fid_features_to_statistics, (ours, theirs)), verbose=False)
        size = min(KERNEL_SUBSET_SIZE, smaller)
        kernel = kid_features_to_metric(ours, theirs, kid_subsets=KERNEL_SUBSETS, kid_subset_size=size, verbose=False)
        balls = prc_features_to_metric(
            device.put(ours), device.put(theirs),
            prc_neighborhood=NEIGHBOURS, prc_batch_size=ROWS, save_cpu_ram=True, verbose=False,
        )  # fmt: skip
    return {
        extractor.frechet: frechet["frechet_inception_distance"],
        extractor.kernel: kernel["kernel_inception_distance_mean"],
        "precision": balls["precision"], "recall": balls["recall"],
    }  # fmt: skip


def nearest(synthetic: Tensor, real: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """The `k` images of `real` nearest to each of `synthetic` in pixel space, nearest first.

    Args:
        synthetic: uint8 (N, C, H, W); real: uint8 (M, C, H, W); k: in 1 to M.
    Returns:
        Indices into `real`, (N, k) int64; Euclidean distances of images in [-1, 1], (N, k) float64; a copy's
        is 0.
    Raises:
        ValueError: a set is empty or not uint8 images, shapes differ, or k is out of range.
    """
    check_images(synthetic=synthetic, real=real)
    if not 1 <= k <= len(real):
        raise ValueError(f"Expected k={k} to lie in 1 to {len(real)}, the number of real images")
    gaps = (torch.cat([_gaps(part, others) for others in real.split(ROWS)], 1) for part in synthetic.split(500))
    distances, indices = zip(*(gap.topk(k, largest=False) for gap in gaps), strict=True)
    return torch.cat(indices), torch.cat(distances) / 127.5


def _gaps(images: Tensor, others: Tensor) -> Tensor:
    """Distances (N, M) of uint8 images; whole numbers in float64, whose squares add up exactly: of a copy 0."""
    return torch.cdist(images.flatten(1).double(), others.flatten(1).double())


def tsne(vectors: Tensor | np.ndarray, seed: int) -> np.ndarray:
    """A picture of `vectors` (N, D) in the plane, (N, 2): scikit-learn's t-SNE, perplexity 30 or less.

    Raises:
        ValueError: fewer than 4 rows, or values that are not finite.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or len(vectors) < 4 or not np.isfinite(vectors).all():
        raise ValueError(f"t-SNE needs a finite table of 4 rows or more; got shape {vectors.shape}")
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    draws = np.random.RandomState(np.random.MT19937(seed))
    with threadpool_limits(1):  # of OpenMP too
        return TSNE(perplexity=perplexity, init="pca", random_state=draws).fit_transform(vectors)


def check_images(**sets: Tensor) -> None:
    """Two sets of images that can be compared, by name.

    Raises:
        ValueError: one is not finite, not uint8 (N, C, H, W), or empty; or their shapes differ.
    """
    for name, images in sets.items():
        if images.is_floating_point() and not images.isfinite().all():
            raise ValueError(f"{name} holds values that are not finite: its sampler has diverged")
        if images.dtype != torch.uint8 or images.ndim != 4:
            shape = tuple(images.shape)
            raise ValueError(f"{name} must be uint8 images (N, C, H, W); got {images.dtype} of shape {shape}")
        if not len(images):
            raise ValueError(f"{name} is empty")
    (one, first), (other, second) = sets.items()
    if first.shape[1:] != second.shape[1:]:
        shapes = f"{tuple(first.shape[1:])} and {tuple(second.shape[1:])}"
        raise ValueError(f"{one} and {other} must have the same (C, H, W); got {shapes}")
