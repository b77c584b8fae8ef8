"""Stage 03: train the denoiser on the corpus, without touching private data, with or without adversarial perturbation.

RPGen Sec. "Stage 2", Eq. 2 to 5; PrivImage Sec. 3.4. What differs: EDM loss by default, at larger
noise levels (`models/diffusion.py` says why), sizes for a laptop.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field

from dpsynth import device, distributed
from dpsynth.artifacts import Base, Corpus
from dpsynth.checkpoints import Work
from dpsynth.data.shapes import Pixels
from dpsynth.models import amp, diffusion, networks, training
from dpsynth.models.ahead import Ahead, Batch, Kept
from dpsynth.models.pixels import scaled
from dpsynth.recipes import work
from dpsynth.seeds import seed_of
from dpsynth.stages import progress
from dpsynth.strict import Strict

SUB_BATCHES = 2  # of a batch, worked on side by side; a view costs a quarter less than in batches of 64


Multiples = Annotated[list[Annotated[int, Field(ge=1, le=64)]], Field(min_length=1, max_length=8)]


class Unet(Strict):
    """A network of the papers' kind, `ddpmpp.DDPMpp`: `unet: {levels: [1, 2, 2], blocks: 2, attention: [16]}`.

    As it stands it is that of PrivImage's Table 5 for CIFAR-10, with `width: 32`.
    """

    levels: Multiples = Field([1, 2, 2], description="channels of each level, in widths; each has half the side")
    blocks: int = Field(2, ge=1, le=16, description="residual blocks of a level, on the way down")
    attention: list[int] = Field([16], description="sides of the levels with attention, in pixels")


class Network(Strict):
    """The options of all methods whose base is a denoiser."""

    unet: Unet | None = Field(None, description="the papers' U-Net: levels, blocks, attention; or null, a small one")
    augment: diffusion.Augment | None = Field(None, description="flips: train on mirror images too; or null, none")


class Conditional(Strict):
    """The option of all methods that pre-train."""

    conditional: bool = Field(True, description="pre-train with the corpus's labels, or as if all were of one class")


@work
def fresh(
    work: Work, *, shape: tuple, n_classes: int, seed: int, width: int, prediction: str, attention: str,
    unet: dict | None,
) -> Base:  # fmt: skip
    """A denoiser with random weights (DPDM)."""
    return Base.untrained(initial(architecture(shape, n_classes, width, prediction, attention, unet), seed))


@work(joined=True)
def train_diffusion(
    work: Work, corpus: Corpus, *, shape: tuple, seed: int, width: int, prediction: str, attention: str,
    unet: dict | None, augment: str | None,
    conditional: bool, pretrain_steps: int, pretrain_batch: int, pretrain_rate: float, pretrain_average: float,
) -> Base:  # fmt: skip
    """A denoiser of the corpus's images.

    Args:
        attention, unet: which network, as of `diffusion.Denoiser`; augment: as of `diffusion.losses`.
        conditional: learn the corpus's labels; else all images have one (PrivImage's PDP-Diffusion was trained so).
        pretrain_steps, pretrain_batch: Adam's steps, and images of each.
        pretrain_rate: learning rate at its peak; pretrain_average: rate of the moving average.
    """
    corpus = corpus if conditional else without_labels(corpus)
    model = initial(architecture(shape, corpus.n_labels, width, prediction, attention, unet), seed)
    return fit(
        work, model, corpus, seed, pretrain_steps, pretrain_batch, pretrain_rate, pretrain_average, augment=augment
    )


@work(joined=True)
def train_with_amp(
    work: Work, corpus: Corpus, *, shape: tuple, seed: int, width: int, prediction: str, attention: str,
    unet: dict | None, augment: str | None,
    conditional: bool, pretrain_steps: int, pretrain_batch: int, pretrain_rate: float, pretrain_average: float,
    amp_gamma: float, amp_eta: float, amp_normalise: bool,
) -> Base:  # fmt: skip
    """The same, its weights perturbed at each step: RPGen's Stage 2. Arguments as of `train_diffusion`, and of
    `amp.gradient`."""
    corpus = corpus if conditional else without_labels(corpus)
    model = initial(architecture(shape, corpus.n_labels, width, prediction, attention, unet), seed)
    perturb = partial(amp.gradient, gamma=amp_gamma, eta=amp_eta, normalise=amp_normalise)
    return fit(
        work, model, corpus, seed, pretrain_steps, pretrain_batch, pretrain_rate, pretrain_average, perturb, augment
    )


def without_labels(corpus: Corpus) -> Corpus:
    """The same images under one label that is no private one."""
    labels = torch.zeros_like(corpus.labels)
    return dataclasses.replace(corpus, labels=labels, n_labels=1, private_labels=False)


def fit(
    work: Work, model: diffusion.Denoiser, corpus: Corpus, seed: int, n_steps: int, batch: int, rate: float,
    average: float, perturb: Callable | None = None, augment: str | None = None,
) -> Base:  # fmt: skip
    """Adam on batches of the corpus.

    Args:
        perturb: `amp.gradient` with its settings; None for plain training. augment: as of `diffusion.losses`.
    Returns:
        `history` has `clean`, the loss at the weights; with perturbation also `perturbed`, the loss at the
        perturbed ones, and `binds`, 1.0 where the projection moved the perturbation.
    Raises:
        ValueError: there are more processes than images for them.
    """
    if batch // SUB_BATCHES < distributed.world():
        raise ValueError(
            f"pretrain_batch={batch} gives {distributed.world()} processes no {SUB_BATCHES} images each; start fewer"
        )
    parameters = [p for p in model.parameters() if p.requires_grad]
    history: training.History = {"clean": [], "perturbed": [], "binds": []}
    compiled = device.compiled(model)

    def loss(part: Batch) -> torch.Tensor:
        x, draws = scaled(part.images), part.draws.again()
        values = diffusion.losses(model, x, part.labels, draws, through=compiled, augment=augment)
        return values.sum() / (batch // SUB_BATCHES) / SUB_BATCHES  # this process's part of the mean

    parts = partial(_parts, corpus.pixels, corpus.labels, seed, batch)
    batches = Ahead(parts, lambda of_step: [part.draws for part in of_step], n_steps)

    def step_gradient(step: int) -> None:
        parts = batches(step)

        def at_weights() -> tuple[torch.Tensor, list[torch.Tensor]]:
            value, gradients = training.gradient(parameters, loss, parts)
            return distributed.sum_of([value])[0], distributed.sum_of(gradients)

        if perturb:
            losses, gradients = perturb(parameters, at_weights)
            for name, value in losses._asdict().items():
                history[name].append(value.double())
        else:
            clean, gradients = at_weights()
            history["clean"].append(clean)
        training.assign(parameters, gradients)

    bar = progress.public(n_steps, "pre-training" + (" with AMP" if perturb else ""))
    averaged = training.adam(
        work, model, step_gradient, n_steps, lambda step: rate * training.cosine(step, n_steps), average, history, bar
    )
    return Base(model.state_dict(), averaged, model.architecture, corpus.private_labels, history)


def _parts(images: Pixels, labels: torch.Tensor, seed: int, batch: int, step: int) -> list[Batch]:
    """The batch of a step in SUB_BATCHES, each from a generator of its own; of each, this process's share of the rows,
    with the draws that they have in one process."""
    parts, share = [], distributed.share()
    for number in range(SUB_BATCHES):
        generator = training.generator(seed_of(seed, f"pretrain {number}"), step)
        rows = training.public_batch(len(images), batch // SUB_BATCHES, generator)
        draws = Kept(diffusion.PublicDraws(generator, len(rows), share))
        mine = rows[share]
        parts.append(Batch(device.put(images[mine]), device.put(labels[mine]), draws))
    return parts


def initial(like: dict[str, Any], seed: int) -> diffusion.Denoiser:
    """A denoiser with random weights that depend on the seed and the architecture alone."""
    return networks.initial(like, seed_of(seed, "denoiser"))


def architecture(
    shape: tuple, n_labels: int, width: int, prediction: str, attention: str, unet: dict | None = None
) -> dict[str, Any]:
    """Of a denoiser of images: what `networks.build` takes."""
    channels, size = shape
    return {
        "network": "denoiser", "channels": channels, "size": size, "n_labels": n_labels, "width": width,
        "prediction": prediction, "attention": attention, "unet": unet,
    }  # fmt: skip
