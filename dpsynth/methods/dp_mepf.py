"""Stages 03 and 04 of DP-MEPF: one noisy release of mean embeddings, then a generator that matches them.

Harder et al. (TMLR 2023), Sec. 3 and 4. The features are those of the public encoder (the paper has a ResNet-18 for
MNIST), or of ImageNet's VGG-19 from a file of its weights. What differs: the joint embedding of features and
label over a declared n, where the code divides by realised class counts, which are private and which its noise does not
cover; one mechanism for both moments; no second release to choose the stopping time by, training just ends.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional as F

from dpsynth import device
from dpsynth.artifacts import Base, Encoder, Perceptual, Synthesiser
from dpsynth.checkpoints import Work
from dpsynth.methods import gans
from dpsynth.methods.method import Method, Options, PrivateStep
from dpsynth.models import gan, networks, training, vgg
from dpsynth.privacy import Private, Sums
from dpsynth.recipes import work
from dpsynth.seeds import seed_of
from dpsynth.stages import progress, query, snapshots
from dpsynth.stages.permit import Permit
from dpsynth.strict import Real

HALF = 100  # images of each half of a batch, about: equally many of each label
POINTS = 50  # of the curve along training


class Moments(Options):
    """DP-MEPF's options."""

    vgg19: str | None = Field(None, description="file of VGG-19's weights: its features in place of our encoder's")

    @field_validator("vgg19")
    @classmethod
    def _one_name(cls, path: str | None) -> str | None:
        """However its path is spelt, it is one file."""
        return path and str(Path(path).expanduser().resolve())

    moments: int = Field(1, ge=1, le=2, description="1: mean embedding of the features; 2: of their squares too")
    matching_steps: int = Field(20, ge=1, le=10**8, description="steps of the generator towards the release")
    matching_rate: Real = Field(1e-3, gt=0, lt=1, description="Adam, at its peak")
    average: Real = Field(0.98, ge=0, lt=1, description="rate of the generator's moving average")


@work
def fresh_generator(work: Work, *, shape: tuple, n_classes: int, seed: int, width: int) -> Base:
    """A generator with random weights."""
    return Base.untrained(gans.initial(shape, n_classes, width, seed).generator)


@work
def read_vgg(work: Work, *, vgg19: str) -> Perceptual:
    """VGG-19's convolutions, from a file of its weights."""
    return Perceptual(vgg.weights(vgg19))


def mechanism(*, moments: int, vgg19: str | None, n_records: int) -> Sums:
    """One release: each record adds one vector to the row of its own label; the plan calibrates the noise.

    With two moments a record's vector is the concatenation of two unit vectors, of norm sqrt(2): one Gaussian mechanism
    with that bound, so that nothing need be composed. The divisor is the declared number of records.

    Raises:
        FileNotFoundError, ValueError: no file of VGG-19's weights, where the options ask for them.
    """
    if vgg19:
        vgg.weights(vgg19, "meta")
    return Sums("mean_embedding", moments**0.5, 1.0, n_records)


@work
def match_moments(
    work: Work, private: Private, encoder: Encoder | Perceptual, base: Base, permit: Permit,
    *, moments: int, matching_steps: int, matching_rate: float, average: float, seed: int,
) -> Synthesiser:  # fmt: skip
    """Release the mean embedding once; then Adam on the squared gap between it and the generator's.

    The labels of the fakes are uniform, as the public prior is. The squared gap is estimated without bias by the
    product of the gaps of two independent halves of a batch: the plain square of one would also punish variety.

    Args:
        moments: 1, the mean of the normalised features; 2, beside it that of their normalised squares.
        matching_steps, matching_rate: steps and learning rate of the generator, all post-processing.
    Returns:
        `curves`: `gap`, the squared gap over the squared norm of the release, and `noise`, the share of that norm which
        is expected of noise alone: below it the generator follows noise.
    """
    embed, dim = perceptual(encoder, private.shape, moments)
    generator = networks.rebuild(base.architecture, base.weights)
    charge = permit.charge(work, private)
    released = private.total(lambda x, labels, draws: embed(device.put(x)), dim, charge, by_label=True)  # (labels, dim)
    released = device.put(released.float())
    optimizer = torch.optim.Adam(generator.parameters(), lr=matching_rate)
    averaged = training.Average(generator, average)
    history: training.History = {"images": [], "gap": []}
    trained = {"model": generator, "optimizer": optimizer, "average": averaged}
    every, bar = snapshots.every(matching_steps), progress.silent(matching_steps, "moment matching")
    for step in training.steps(work, matching_steps, trained, history, bar):
        optimizer.param_groups[0]["lr"] = matching_rate * training.cosine(step, matching_steps)
        history["gap"].append(match(generator, embed, released, optimizer, seed_of(seed, "matching"), step))
        averaged.update(generator)
        if (step + 1) % every == 0:
            history["images"].append(snapshots.of(generator, averaged, seed))
    curves = _curves(torch.tensor(history["gap"]), permit.mechanism, released)
    facts = {f"moment-{name}": curve[-1].clone() for name, curve in curves.items()}
    along = snapshots.captioned(history["images"], "step", every)
    return Synthesiser(averaged.weights, generator.architecture, along, curves, facts)


def perceptual(encoder: Encoder | Perceptual, shape: tuple, moments: int) -> tuple[Callable[[Tensor], Tensor], int]:
    """The features, (B, C, S, S) in [-1, 1] -> (B, dim), and dim: those of every layer of the encoder, as a unit vector
    (phi1); with two moments also their squares, as another (phi2). Each image is seen alone."""
    if isinstance(encoder, Perceptual):
        model = device.placed(vgg.Vgg19()).eval().requires_grad_(False)
        model.load_state_dict(encoder.weights)
    else:
        model = query.classifier(encoder, shape[0])

    def embed(x: Tensor) -> Tensor:
        features = F.normalize(model.activations(x))
        return features if moments == 1 else torch.cat([features, F.normalize(features.square())], dim=1)

    return embed, embed(device.put(torch.zeros(1, *shape))).shape[1]


def match(generator: gan.Generator, embed: Callable, released: Tensor, optimizer, seed: int, step: int) -> Tensor:
    """One step of Adam on the squared gap, over the squared norm of the release: what it was before the step.

    Args:
        released: (labels, dim), the noisy mean embedding; seed, step: address the latents of both halves of the batch.
    """
    draws, rows = training.generator(seed, step), len(released)
    labels = device.put(torch.arange(rows).repeat(max(1, HALF // rows)))
    z = [gan.latents(len(labels), draws, generator.latent) for _ in range(2)]

    def gap(half: int) -> Tensor:
        features = embed(generator(z[half], labels))
        return released - features.view(-1, rows, features.shape[1]).mean(0) / rows

    one, other = gap(0), gap(1)
    loss = (one * other).sum() / released.square().sum()
    training.descend(optimizer, loss)
    return loss.detach()


def _curves(gap: Tensor, mechanism: Sums, released: Tensor) -> dict[str, Tensor]:
    """The gap as means over equal parts of training, and the noise's expected share."""
    means = torch.stack([part.mean() for part in gap.tensor_split(min(POINTS, len(gap)))])
    noise = (mechanism.scale / mechanism.divisor) ** 2 * released.numel() / released.square().sum()
    return {"gap": means, "noise": noise.expand(len(means)).clone()}


def _with_vgg(options: Moments) -> dict[str, Any]:
    """With a file of VGG-19's weights its features stand for those of our own classifier."""
    return {"encoder": read_vgg} if options.vgg19 else {}


EMBEDDING = PrivateStep(name="mean_embedding", release=match_moments, mechanism=mechanism)
DP_MEPF = Method(
    paper="DP-MEPF (TMLR 2023)", options=Moments, encoder=query.train_classifier, base=fresh_generator,
    learn=EMBEDDING, adapt=_with_vgg, page="dp_mepf",
)  # fmt: skip
