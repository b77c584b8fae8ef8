"""Stages 03 and 04 of the GANs: pre-train on the corpus, then DP-SGD on the discriminator alone.

DPGAN (Xie et al. 2018), DPGAN-p and PrivImage+G (PrivImage, Sec. 4.2, App. C.1). The generator is never shown a record:
it follows a copy of the discriminator, and is post-processing of released gradients.

What differs: true Poisson batches. The discriminator's maps are bounded to unit norm after every step; without that,
public training ended at one image a label, and private training lost what there was. A step has a fixed public number
of fakes, as they are clipped by themselves: one fake more for each record drawn would let a record move the sum by 2 C.
PrivImage's code draws as many as records, and Opacus clips a record and its fake together, which is C, as accounted.
"""

import copy
from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from dpsynth import device, privacy
from dpsynth.artifacts import Base, Corpus, Synthesiser
from dpsynth.checkpoints import Work
from dpsynth.methods.diffusion import HISTOGRAM
from dpsynth.methods.method import Method, Options, PrivateStep
from dpsynth.models import biggan, gan, networks, training
from dpsynth.models.pixels import scaled
from dpsynth.models.trainable import by_part
from dpsynth.privacy import Fakes, Gradients, Private
from dpsynth.recipes import work
from dpsynth.seeds import seed_of
from dpsynth.stages import pretrain, progress, query, selection, snapshots
from dpsynth.stages.permit import Permit
from dpsynth.strict import Real

BATCH = 64  # public images of a step, and as many fakes
SUB_BATCHES = slice(0, 32), slice(32, 64)  # worked on side by side
MICROBATCH = 64
BETAS = (0.0, 0.99)  # of Adam: without momentum, as DPImageBench's GANs

Gans = gan.Gan | biggan.BigGan


class Gan(Options):
    """Options of DP-SGD on a discriminator; they stand in the place of `learning_rate` and `noise_multiplicity`."""

    max_grad_norm: Real = Field(0.3, ge=1e-6, lt=1e6, description="clipping norm C, of the discriminator's gradients")
    discriminator_rate: Real = Field(1e-3, gt=0, lt=1, description="Adam, the discriminator's private steps")
    generator_rate: Real = Field(5e-4, gt=0, lt=1, description="Adam, the generator's steps beside them")
    turn: int = Field(1, ge=1, le=10**6, description="private steps between the generator's turns")
    generator_steps: int = Field(1, ge=1, le=10**4, description="steps of the generator in a turn: post-processing")
    average: Real = Field(0.95, ge=0, lt=1, description="rate of the generator's moving average")
    gan_network: Literal["biggan"] | None = Field(None, description="the papers' networks; or null, small ones")


class PublicGan(Gan, pretrain.Conditional):
    """Options of the GANs that are pre-trained on public images."""

    public_rate: Real = Field(5e-4, gt=0, lt=1, description="Adam, both networks in pre-training")


class SemanticGan(PublicGan, query.Voting):
    """PrivImage+G's options: the query's, and the GAN's."""


@work
def fresh_gan(work: Work, *, shape: tuple, n_classes: int, seed: int, width: int, gan_network: str | None) -> Base:
    """A generator and a discriminator with random weights (DPGAN)."""
    return Base.untrained(initial(shape, n_classes, width, seed, gan_network))


@work
def train_gan(
    work: Work, corpus: Corpus, *, shape: tuple, seed: int, width: int, gan_network: str | None, pretrain_steps: int,
    public_rate: float, conditional: bool,
) -> Base:  # fmt: skip
    """Hinge loss and Adam on batches of 64 of the corpus, as many fakes beside them.

    Args:
        width, gan_network: as of `architecture`.
        pretrain_steps: of the discriminator, each with one of the generator; public_rate: learning rate of both.
        conditional: as of `pretrain.train_diffusion`.
    Returns:
        `history` has `clean`, the discriminator's loss on public images.
    """
    corpus = corpus if conditional else pretrain.without_labels(corpus)
    model = initial(shape, corpus.n_labels, width, seed, gan_network)
    nets = (model.discriminator, model.generator)
    optimizers = [torch.optim.Adam(net.parameters(), lr=public_rate, betas=BETAS) for net in nets]
    average = training.Average(model, 0.998)
    history: training.History = {"clean": []}
    trained = {"model": model, "average": average, "real": optimizers[0], "fake": optimizers[1]}
    for step in training.steps(work, pretrain_steps, trained, history, progress.public(pretrain_steps, "pre-training")):
        history["clean"].append(_discriminator_step(model, optimizers[0], corpus, seed, step))
        generator_step(model.generator, model.discriminator, optimizers[1], seed_of(seed, "turn"), step)
        average.update(model)
    return Base(model.state_dict(), average.weights, model.architecture, corpus.private_labels, history)


def mechanism(*, sample_rate: float, steps: int, max_grad_norm: float, n_records: int) -> Gradients:
    """T steps of DP-SGD on the discriminator; the noise multiplier is for the plan to calibrate.

    The loss draws no noise, so that a record has one view: noise multiplicity 1.
    """
    return Gradients("dp_sgd", sample_rate, steps, 1.0, max_grad_norm, 1, sample_rate * n_records)


@work(joined=True)
def dp_gan(
    work: Work, private: Private, base: Base, permit: Permit,
    *, seed: int, discriminator_rate: float, generator_rate: float, turn: int, generator_steps: int, average: float,
) -> Synthesiser:  # fmt: skip
    """DP-SGD on the discriminator; after every `turn` of its steps, `generator_steps` of the generator.

    A step's fakes are as many as records are expected, a constant of the plan, with equally many of each label; their
    mean clipped gradient is public and gets no noise. The generator follows a plain copy of the discriminator, whose
    weights are bounded after each step.

    Args:
        discriminator_rate, generator_rate: learning rates of Adam; average: rate of the generator's moving average.
    """
    model = ready(base, len(private.classes), seed)
    generator, discriminator = model.generator, model.discriminator
    judge = copy.deepcopy(discriminator).requires_grad_(False)
    wrapped = privacy.per_example(discriminator)
    of_real, of_fake = losses(wrapped, True), losses(wrapped, False)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=discriminator_rate, betas=BETAS)
    turns = torch.optim.Adam(generator.parameters(), lr=generator_rate, betas=BETAS)
    averaged = training.Average(generator, average)
    n_steps, history = permit.mechanism.steps, {"images": []}
    every = snapshots.every(n_steps)
    trained = {"model": model, "optimizer": optimizer, "turns": turns, "average": averaged}
    bar = progress.silent(n_steps, "DP-SGD", permit.plan)
    charge = permit.charge(work, private)
    for step in training.steps(work, n_steps, trained, history, bar):
        images, labels = _fakes(generator, n_fakes(permit.mechanism), seed_of(seed, "fakes"), step)
        fakes = Fakes(images, labels, of_fake)
        private.gradient(wrapped, of_real, charge, step, device.at_once(MICROBATCH), fakes)
        optimizer.step()
        gan.scale_to_unit_norm(discriminator)
        if (step + 1) % turn == 0:
            judge.load_state_dict(discriminator.state_dict())
            for number in range(generator_steps):
                generator_step(generator, judge, turns, seed_of(seed, "turn", str(number)), step)
                averaged.update(generator)
        if (step + 1) % every == 0:
            history["images"].append(snapshots.of(generator, averaged, seed))
    return Synthesiser(averaged.weights, generator.architecture, snapshots.captioned(history["images"], "step", every))


def noise_to_signal(base: Base, mechanism: Gradients, n_classes: int, seed: int) -> tuple[list[str], list[float]]:
    """Of each layer of the discriminator, and of all: the noise's expected norm over the largest that the mean clipped
    gradient of an expected batch can have, sigma sqrt(d) / (q N). From public constants alone."""
    sizes = {layer: every for layer, (_, every) in by_part(ready(base, n_classes, seed).discriminator).items()}
    sizes["all layers"] = sum(sizes.values())
    return list(sizes), [mechanism.noise_multiplier * d**0.5 / mechanism.divisor for d in sizes.values()]


def architecture(shape: tuple, n_labels: int, width: int, gan_network: str | None) -> dict[str, Any]:
    """Of both networks: what `networks.build` takes.

    Args:
        width: of either, as of their classes; gan_network: "biggan" (`biggan.BigGan`), or None (`gan.Gan`).
    """
    return dict(network=gan_network or "gan", channels=shape[0], size=shape[1], n_labels=n_labels, width=width)


def initial(shape: tuple, n_labels: int, width: int, seed: int, gan_network: str | None = None) -> Gans:
    """Both networks with random weights that depend on the seed and the arguments alone."""
    return networks.initial(architecture(shape, n_labels, width, gan_network), seed_of(seed, "gan"))


def ready(base: Base, n_classes: int, seed: int) -> Gans:
    """The base's pair, raw, speaking the private labels: where the corpus did not, labels start as fresh random
    rows."""
    model = networks.initial({**base.architecture, "n_labels": n_classes}, seed_of(seed, "gan"))
    weights = dict(base.weights)
    if not base.private_labels:
        for name in ("generator.label.weight", "discriminator.label.weight"):
            weights[name] = model.state_dict()[name].clone()
    model.load_state_dict(weights)
    return model


def generator_step(generator: gan.Generator, judge: gan.Discriminator, optimizer, seed: int, step: int) -> None:
    """One step of Adam on -D(G(z, y), y), 64 fakes with random labels; `judge` saw released numbers alone."""
    draws = training.generator(seed, step)
    z = gan.latents(BATCH, draws, generator.latent)
    labels = device.put(torch.randint(generator.n_labels, (BATCH,), generator=draws))

    def loss(rows: slice) -> Tensor:
        return -judge(generator(z[rows], labels[rows]), labels[rows]).sum() / BATCH

    _descend(generator, loss, optimizer)


def _discriminator_step(model: Gans, optimizer, corpus: Corpus, seed: int, step: int) -> Tensor:
    draws = training.generator(seed_of(seed, "pretrain gan"), step)
    rows = training.public_batch(len(corpus.labels), BATCH, draws)
    x, labels = scaled(device.put(corpus.pixels[rows])), device.put(corpus.labels[rows])
    with torch.no_grad():
        fakes = model.generator(gan.latents(BATCH, draws, model.generator.latent), labels)

    def loss(rows: slice) -> Tensor:
        real = gan.hinge(model.discriminator(x[rows], labels[rows]), True)
        return (real + gan.hinge(model.discriminator(fakes[rows], labels[rows]), False)).sum() / BATCH

    value = _descend(model.discriminator, loss, optimizer)
    gan.scale_to_unit_norm(model.discriminator)
    return value


def _descend(net: torch.nn.Module, loss: Callable, optimizer: torch.optim.Optimizer) -> Tensor:
    parameters = list(net.parameters())
    value, gradients = training.gradient(parameters, loss, SUB_BATCHES)
    training.assign(parameters, gradients)
    optimizer.step()
    return value


@torch.no_grad()
def _fakes(generator: gan.Generator, n: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
    labels = device.put(torch.arange(n) % generator.n_labels)
    return generator(gan.latents(n, training.generator(seed, step), generator.latent), labels), labels


def n_fakes(mechanism: Gradients) -> int:
    """Fakes of a step: as many as records are expected, a constant of the plan."""
    return max(1, round(mechanism.divisor))


def losses(wrapped: privacy.Watched, real: bool) -> Callable:
    """The hinge loss of each row, (rows,), of its own image alone: as `Private.gradient` and `Fakes` ask for it."""
    return lambda x, labels, draws: gan.hinge(wrapped(x, labels), real)


DISCRIMINATOR = PrivateStep(name="dp_sgd", release=dp_gan, mechanism=mechanism)
DPGAN = Method(
    paper="DPGAN (Xie et al. 2018)", options=Gan, base=fresh_gan, learn=DISCRIMINATOR, page="gans",
)  # fmt: skip
DPGAN_P = Method(
    paper="DPGAN-p (Xie et al. 2018, pre-trained; PrivImage Sec. 4.2)", options=PublicGan,
    corpus=selection.all_public, base=train_gan, learn=DISCRIMINATOR, page="gans",
)  # fmt: skip
PRIVIMAGE_G = Method(
    paper="PrivImage+G (USENIX Security 2024)", options=SemanticGan, encoder=query.train_classifier, release=HISTOGRAM,
    corpus=selection.top_classes, base=train_gan, learn=DISCRIMINATOR, page="gans",
)  # fmt: skip
