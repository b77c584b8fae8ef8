"""DP-FETA (S&P 2025): ask for one central image of each label, and warm the denoiser up on these before DP-SGD.

Central images are the mean or the mode of a label's records, at half their side, with noise. Easy features
come first, from the warm-up; DP-SGD then has the hard ones to learn. What differs: one round at rate 1 in the place
of several on subsamples, as a tenth of a few thousand records drowns in noise; the divisor is a constant, where the
code divides by the realised number of a label's records, which the sensitivity does not cover; random affine maps stand
for RandAugment.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dpsynth.artifacts import CentralImages, Corpus
from dpsynth.checkpoints import Work
from dpsynth.methods.diffusion import AT_ONE_PLACE, DP_SGD, Pretrained
from dpsynth.methods.method import Method, PrivateStep
from dpsynth.privacy import Counts, Private, Sums
from dpsynth.recipes import work
from dpsynth.seeds import seed_of
from dpsynth.stages import pretrain, selection
from dpsynth.stages.permit import Permit
from dpsynth.strict import Noise

COPIES = 200  # of each central image in the corpus, each moved in its own way
TURN, GROW, SHIFT = 0.26, 0.15, 0.1  # radians, share of the size, share of the side: the most that a copy is moved by


class Featured(Pretrained):
    """DP-FETA's options: what the denoiser is warmed up on."""

    warmup: Literal["none", "central", "public"] = Field("central", description="what the base is trained on")
    centre: Literal["mean", "mode"] = Field("mean", description="the central image of a label")
    central_noise: Noise = Field(None, description="noise multiplier of the images; by rule if null")


@work
def central_images(work: Work, private: Private, permit: Permit) -> CentralImages:
    """One noisy central image a label: the mean of its records, or under `Counts` the mode of each pixel.

    Sensitivity. Mean: a record's pixels at half side are in [0, 1], so that its vector has l2 norm at most sqrt(d), the
    bound of `Sums`; it enters the row of its own label, and the row is divided by a constant. Mode: a record votes
    for one level of each of the d pixels, d distinct bins: sqrt(d), by `Counts`.
    """
    charge = permit.charge(work, private)
    channels, size = private.shape[0], private.shape[1] // 2
    if isinstance(charge.mechanism, Counts):
        n = levels(channels)
        votes = private.count(lambda x, y, draws: level_votes(x, n), channels * size**2 * n, charge)
        values = votes.view(len(private.classes), -1, n).argmax(2) / (n - 1)
    else:
        values = private.total(lambda x, y, draws: halved(x), channels * size**2, charge, by_label=True)
    return CentralImages(values.double().view(-1, channels, size, size))


def mechanism(
    rule: Callable[[int], float],
    *, shape: tuple, centre: str, central_noise: float | None, n_records: int, n_classes: int,
) -> Counts | Sums:  # fmt: skip
    """One round; noise by the rule of the semantic histogram, unless the options name it."""
    channels, size = shape
    dim = channels * (size // 2) ** 2
    if centre == "mode":
        return Counts("central_images", dim, central_noise or rule(dim))
    return Sums("central_images", dim**0.5, central_noise or rule(1), n_records / n_classes)


def levels(channels: int) -> int:
    """Levels that the mode tells apart: 2 for grey images, 16 for colours, as the paper's code."""
    return 2 if channels == 1 else 16


def halved(x: Tensor) -> Tensor:
    """(B, C, S, S) in [-1, 1] -> (B, C S/2 S/2) in [0, 1]: the mean of each two by two pixels."""
    return (F.avg_pool2d(x, 2).flatten(1) + 1) / 2


def level_votes(x: Tensor, n: int) -> Tensor:
    """One vote a pixel, for its level: (B, C, S, S) -> (B, d) int64, d distinct bins below d n."""
    pixels = halved(x)
    return (pixels * n).long().clamp(0, n - 1) + n * torch.arange(pixels.shape[1])


def images(release: CentralImages, size: int) -> Tensor:
    """What was released, as images: cut to [0, 1], enlarged, and each pixel the median of its neighbourhood.

    Returns:
        (classes, C, size, size) uint8; post-processing.
    """
    large = F.interpolate(release.values.clamp(0, 1).float(), (size, size), mode="bilinear")
    around = F.unfold(F.pad(large, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None], 3)
    return (around.median(1).values.view_as(large) * 255).round().to(torch.uint8)


@work
def central_corpus(work: Work, release: CentralImages, *, shape: tuple, seed: int) -> Corpus:
    """Each central image, turned, resized and shifted at random, `COPIES` times, under its private label."""
    centres = images(release, shape[1])
    labels = torch.arange(len(centres)).repeat_interleave(COPIES)
    draws = torch.Generator().manual_seed(seed_of(seed, "central"))
    moved = _moved(centres[labels].float(), draws).round().clamp(0, 255).to(torch.uint8)
    return Corpus(moved, labels, len(centres), True, [], f"released central images, each moved in {COPIES} ways")


def _moved(x: Tensor, draws: torch.Generator) -> Tensor:
    """Each image under an affine map of its own: (B, C, S, S) -> (B, C, S, S)."""
    angle, grow, right, down = (2 * torch.rand(4, len(x), generator=draws) - 1).unbind()
    angle, grow = TURN * angle, 1 + GROW * grow
    cos, sin = angle.cos() / grow, angle.sin() / grow
    rows = torch.stack([cos, -sin, 2 * SHIFT * right, sin, cos, 2 * SHIFT * down], dim=1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _warmed_up(options: Featured) -> dict[str, Any]:
    """Without a warm-up it is DPDM; on all public images PDP-Diffusion."""
    return {
        "none": {"release": None, "corpus": None, "base": pretrain.fresh},
        "public": {"release": None, "corpus": selection.all_public}, "central": {},
    }[options.warmup]  # fmt: skip


CENTRAL = PrivateStep(name="central_images", release=central_images, mechanism=mechanism)
DP_FETA = Method(
    paper="DP-FETA (IEEE S&P 2025)", options=Featured, release=CENTRAL, corpus=central_corpus,
    base=pretrain.train_diffusion, learn=DP_SGD, settings=AT_ONE_PLACE, adapt=_warmed_up, page="dp_feta",
)  # fmt: skip
