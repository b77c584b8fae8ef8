"""Stage 03: train the denoiser on the corpus, without touching private data, with or without adversarial perturbation.

RPGen Sec. "Stage 2", Eq. 2 to 5; PrivImage Sec. 3.4. What differs: EDM loss by default, at larger
noise levels (`models/diffusion.py` says why), sizes for a laptop.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from pydantic import Field

from dpsynth.artifacts import Base, Corpus
from dpsynth.checkpoints import Work
from dpsynth.models import amp, diffusion, networks, training
from dpsynth.models.pixels import scaled
from dpsynth.recipes import work
from dpsynth.seeds import seed_of
from dpsynth.stages import progress
from dpsynth.strict import Strict

SUB_BATCHES = 2  # of a batch, worked on side by side; a view costs a quarter less than in batches of 64


class Conditional(Strict):
    """The option of all methods that pre-train."""

    conditional: bool = Field(True, description="pre-train with the corpus's labels, or as if all were of one class")


@work
def fresh(work: Work, *, shape: tuple, n_classes: int, seed: int, width: int, prediction: str, attention: str) -> Base:
    """A denoiser with random weights (DPDM)."""
    return Base.untrained(initial(architecture(shape, n_classes, width, prediction, attention), seed))


@work
def train_diffusion(
    work: Work, corpus: Corpus, *, shape: tuple, seed: int, width: int, prediction: str, attention: str,
    conditional: bool, pretrain_steps: int, pretrain_batch: int, pretrain_rate: float, pretrain_average: float,
) -> Base:  # fmt: skip
    """A denoiser of the corpus's images.

    Args:
        conditional: learn the corpus's labels; else all images have one (PrivImage's PDP-Diffusion was trained so).
        pretrain_steps, pretrain_batch: Adam's steps, and images of each.
        pretrain_rate: learning rate at its peak; pretrain_average: rate of the moving average.
    """
    corpus = corpus if conditional else without_labels(corpus)
    model = initial(architecture(shape, corpus.n_labels, width, prediction, attention), seed)
    return fit(work, model, corpus, seed, pretrain_steps, pretrain_batch, pretrain_rate, pretrain_average)


@work
def train_with_amp(
    work: Work, corpus: Corpus, *, shape: tuple, seed: int, width: int, prediction: str, attention: str,
    conditional: bool, pretrain_steps: int, pretrain_batch: int, pretrain_rate: float, pretrain_average: float,
    amp_gamma: float, amp_eta: float, amp_normalise: bool,
) -> Base:  # fmt: skip
    """The same, its weights perturbed at each step: RPGen's Stage 2. Arguments as of `train_diffusion`, and of
    `amp.gradient`."""
    corpus = corpus if conditional else without_labels(corpus)
    model = initial(architecture(shape, corpus.n_labels, width, prediction, attention), seed)
    perturb = partial(amp.gradient, gamma=amp_gamma, eta=amp_eta, normalise=amp_normalise)
    return fit(work, model, corpus, seed, pretrain_steps, pretrain_batch, pretrain_rate, pretrain_average, perturb)


def without_labels(corpus: Corpus) -> Corpus:
    """The same images under one label that is no private one."""
    labels = torch.zeros_like(corpus.labels)
    return dataclasses.replace(corpus, labels=labels, n_labels=1, private_labels=False)


def fit(
    work: Work, model: diffusion.Denoiser, corpus: Corpus, seed: int, n_steps: int, batch: int, rate: float,
    average: float, perturb: Callable | None = None,
) -> Base:  # fmt: skip
    """Adam on batches of the corpus.

    Args:
        perturb: `amp.gradient` with its settings; None for plain training.
    Returns:
        `history` has `clean`, the loss at the weights; with perturbation also `perturbed`, the loss at the
        perturbed ones, and `binds`, 1.0 where the projection moved the perturbation.
    """
    parameters, images = [p for p in model.parameters() if p.requires_grad], corpus.pixels
    history: training.History = {"clean": [], "perturbed": [], "binds": []}

    def step_gradient(step: int) -> None:
        def loss(number: int) -> torch.Tensor:
            draws = training.generator(seed_of(seed, f"pretrain {number}"), step)
            rows = training.public_batch(len(images), batch // SUB_BATCHES, draws)
            x, label = scaled(images[rows]), corpus.labels[rows]
            return diffusion.losses(model, x, label, diffusion.PublicDraws(draws, len(x))).mean() / SUB_BATCHES

        at_weights = partial(training.gradient, parameters, loss, range(SUB_BATCHES))
        if perturb:
            losses, gradients = perturb(parameters, at_weights)
            for name, value in losses._asdict().items():
                history[name].append(float(value))
        else:
            clean, gradients = at_weights()
            history["clean"].append(clean)
        training.assign(parameters, gradients)

    bar = progress.public(n_steps, "pre-training" + (" with AMP" if perturb else ""))
    averaged = training.adam(
        work, model, step_gradient, n_steps, lambda step: rate * training.cosine(step, n_steps), average, history, bar
    )
    return Base(model.state_dict(), averaged, model.architecture, corpus.private_labels, history)


def initial(like: dict[str, Any], seed: int) -> diffusion.Denoiser:
    """A denoiser with random weights that depend on the seed and the architecture alone."""
    return networks.initial(like, seed_of(seed, "denoiser"))


def architecture(shape: tuple, n_labels: int, width: int, prediction: str, attention: str) -> dict[str, Any]:
    """Of a denoiser of images: what `networks.build` takes."""
    channels, size = shape
    return {
        "network": "denoiser", "channels": channels, "size": size, "n_labels": n_labels, "width": width,
        "prediction": prediction, "attention": attention,
    }  # fmt: skip
