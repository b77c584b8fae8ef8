"""Stage 03: train the denoiser on the corpus, without touching private data, with or without adversarial perturbation.

RPGen Sec. "Stage 2", Eq. 2 to 5; PrivImage Sec. 3.4. What differs: EDM loss by default, at larger
noise levels (`models/diffusion.py` says why), sizes for a laptop.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from tqdm import tqdm

from dpsynth import store
from dpsynth.artifacts import Base, Corpus
from dpsynth.models import amp, diffusion, networks, training
from dpsynth.models.pixels import scaled
from dpsynth.stages import query, selection

BATCH, PARTS = 128, 2  # parts of a batch, worked on side by side; a view costs a quarter less than in batches of 64
RATE = 7e-3  # of Adam, at its peak
AVERAGE = 0.998


def run(p) -> Base:
    """The base model of `p`, trained now if it was not before."""
    have = {"encoder": query.encoder(p), "corpus": selection.run(p)}
    return store.build("base", p.row.base, p, **store.named(p.row.base, have))


def twins(p) -> dict[str, Base]:
    """The base with and without perturbation, for private runs of methods that can perturb; else the base alone."""
    if "amp_gamma" not in p or not p["amp_gamma"] or math.isinf(p.epsilon):
        return {"pre-training": run(p)}
    without = p.replace(options={**p.options, "amp_gamma": 0.0})
    return {"with AMP": run(p), "without AMP": run(without)}


def fresh(
    work: store.Work, corpus: None, *, shape: tuple, n_classes: int, seed: int, width: int, prediction: str = "edm"
) -> Base:
    """A denoiser with random weights (DPDM)."""
    return Base.untrained(initial(architecture(shape, n_classes, width, prediction), seed))


def train_diffusion(
    work: store.Work, corpus: Corpus, *, shape: tuple, seed: int, width: int, pretrain_steps: int,
    prediction: str = "edm", attention: str = "middle", conditional: bool = True, amp_gamma: float = 0.0,
    amp_eta: float = 0.4, amp_projection: str = "global", amp_normalise: bool = False,
) -> Base:  # fmt: skip
    """A denoiser of the corpus's images; `amp_gamma` > 0 perturbs the weights at each step.

    Args:
        conditional: learn the corpus's labels; else all images have one (PrivImage's PDP-Diffusion was trained so).
    """
    corpus = corpus if conditional else without_labels(corpus)
    model = initial(architecture(shape, corpus.n_labels, width, prediction, attention), seed)
    perturb = partial(amp.gradient, gamma=amp_gamma, eta=amp_eta, projection=amp_projection, normalise=amp_normalise)
    return fit(work, model, corpus, seed, pretrain_steps, perturb if amp_gamma else None)


def without_labels(corpus: Corpus) -> Corpus:
    """The same images under one label that is no private one."""
    labels = torch.zeros_like(corpus.labels)
    return dataclasses.replace(corpus, labels=labels, n_labels=1, private_labels=False)


def fit(
    work: store.Work, model: diffusion.Denoiser, corpus: Corpus, seed: int, pretrain_steps: int,
    perturb: Callable | None = None,
) -> Base:  # fmt: skip
    """Adam on batches of 128 of the corpus.

    Args:
        perturb: `amp.gradient` with its settings; None for plain training.
    Returns:
        `history` has `clean`, the loss at the weights; with perturbation also `perturbed`, the loss at the
        perturbed ones, and `binds`, 1.0 where the projection moved the perturbation.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=RATE)
    average = diffusion.Average(model, AVERAGE)
    history: dict[str, list[float]] = {"clean": [], "perturbed": [], "binds": []}
    parts = {"model": model, "optimizer": optimizer, "average": average}
    bar = tqdm(total=pretrain_steps, desc="pre-training" + (" with AMP" if perturb else ""), mininterval=5)
    for step in training.steps(work, pretrain_steps, parts, history):
        bar.update(step + 1 - bar.n)
        optimizer.param_groups[0]["lr"] = RATE * training.cosine(step, pretrain_steps)

        def loss(part: int, step=step) -> torch.Tensor:
            return _loss(model, corpus, training.generator(store.seed_of(seed, f"pretrain {part}"), step)) / PARTS

        at_weights = partial(training.gradient, parameters, loss, range(PARTS))
        if perturb:
            losses, gradients = perturb(parameters, at_weights)
            for name, value in losses._asdict().items():
                history[name].append(float(value))
        else:
            clean, gradients = at_weights()
            history["clean"].append(clean)
        for parameter, g in zip(parameters, gradients, strict=True):
            parameter.grad = g
        optimizer.step()
        average.update(model)
    return Base(model.state_dict(), average.weights, model.architecture, corpus.private_labels, history)


def initial(like: dict[str, Any], seed: int) -> diffusion.Denoiser:
    """A denoiser with random weights that depend on the seed and the architecture alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(store.seed_of(seed, "denoiser"))
        return networks.build(like)


def architecture(shape: tuple, n_labels: int, width: int, prediction: str, attention: str = "middle") -> dict[str, Any]:
    """Of a denoiser of images: what `networks.build` takes."""
    channels, size = shape
    return {
        "network": "denoiser", "channels": channels, "size": size, "n_labels": n_labels, "width": width,
        "prediction": prediction, "attention": attention,
    }  # fmt: skip


def _loss(model: diffusion.Denoiser, corpus: Corpus, draws: torch.Generator) -> torch.Tensor:
    rows = training.public_batch(len(corpus.images), BATCH // PARTS, draws)
    x, label = scaled(corpus.images[rows]), corpus.labels[rows]
    draws, x = diffusion.PublicDraws(draws, len(x)), model.encode(x)
    return diffusion.loss(model, model.prediction, model.null, x, label, draws).mean()
