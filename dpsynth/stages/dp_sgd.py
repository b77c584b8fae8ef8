"""Stage 04: fine-tune the base on the private records with DP-SGD.

Abadi et al. (2016), Algorithm 1, with the noise multiplicity of Dockhorn et al. (2023); RPGen Sec. "Stage 3". What
differs: true Poisson sampling at the plan's rate, gradients divided by the clipping norm before Adam, a divisor that
is a public constant. Nothing here is shown of the records: no loss, norm, clip fraction or batch size.
"""

import math
import time
from collections.abc import Callable
from functools import partial

import torch
from pydantic import Field

from dpsynth import device, privacy
from dpsynth.artifacts import Base, Synthesiser
from dpsynth.checkpoints import Work
from dpsynth.models import diffusion, training
from dpsynth.models.ahead import Ahead, Batch, Joined, Kept
from dpsynth.models.pixels import scaled
from dpsynth.models.trainable import learning, restrict
from dpsynth.privacy import Gradients, Private
from dpsynth.recipes import work
from dpsynth.seeds import seed_of
from dpsynth.stages import pretrain, progress
from dpsynth.stages.permit import Permit
from dpsynth.strict import Real, Strict

MICROBATCH = 128
TRIALS = 3  # steps that are timed for an estimate


class Learning(Strict):
    """Options of DP-SGD on a denoiser."""

    max_grad_norm: Real = Field(0.3, ge=1e-6, lt=1e6, description="clipping norm C")
    average: Real = Field(0.95, ge=0, lt=1, description="rate of the weights' moving average in fine-tuning")


def mechanism(
    *, sample_rate: float, steps: int, max_grad_norm: float, noise_multiplicity: int, n_records: int
) -> Gradients:
    """T steps of DP-SGD; the noise multiplier is for the plan to calibrate."""
    return Gradients("dp_sgd", sample_rate, steps, 1.0, max_grad_norm, noise_multiplicity, sample_rate * n_records)


@work(joined=True)
def dp_sgd(
    work: Work, private: Private, base: Base, permit: Permit,
    *, seed: int, learning_rate: float, average: float, trainable: str, augment: str | None,
) -> Synthesiser:  # fmt: skip
    """Adam on noisy gradients of all weights, or of a few; samples are drawn from the moving average.

    Args:
        learning_rate: of Adam, constant after ten steps of warm-up; average: rate of the moving average.
        trainable: which weights learn, as of `trainable.restrict`; augment: as of `diffusion.losses`.
    """
    model = ready(base, len(private.classes), seed)
    restrict(model, trainable)
    return descend(work, private, model, permit, learning_rate, average, augment)


def descend(
    work: Work, private: Private, model: diffusion.Denoiser, permit: Permit,
    learning_rate: float, average: float, augment: str | None,
) -> Synthesiser:  # fmt: skip
    """DP-SGD on the weights of `model` that require gradients."""
    facts = {"learning-percent": torch.tensor(learning(model))}
    wrapped = privacy.per_example(model)
    losses = partial(diffusion.losses, model, through=wrapped, augment=augment)
    charge, steps = permit.charge(work, private), permit.mechanism.steps

    def step_gradient(step: int) -> None:
        private.gradient(wrapped, losses, charge, step, device.at_once(MICROBATCH))

    bar, rate = progress.silent(steps, "DP-SGD", permit.plan), partial(_warmed_up, learning_rate)
    weights = training.adam(work, model, step_gradient, steps, rate, average, {}, bar)
    return Synthesiser(weights, model.architecture, facts=facts)


@work
def without_privacy(
    work: Work, private: Private, base: Base,
    *, seed: int, learning_rate: float, average: float, trainable: str, sample_rate: float, steps: int,
    noise_multiplicity: int, augment: str | None,
) -> Synthesiser:  # fmt: skip
    """The non-private twin: the same rate, steps and optimizer, without clip and noise. Built-in benchmarks only."""
    images, labels = privacy.evaluation(private, "non-private twin")
    model = ready(base, len(private.classes), seed)
    restrict(model, trainable)
    parameters = [p for p in model.parameters() if p.requires_grad]

    views, at_once = noise_multiplicity * sample_rate * len(images), device.at_once(MICROBATCH) // MICROBATCH or 1

    def step_gradient(step: int) -> None:
        draws = training.generator(seed_of(seed, "twin"), step)
        rows = (torch.rand(len(images), generator=draws) < sample_rate).nonzero().flatten()
        pieces = list(enumerate(rows.repeat_interleave(noise_multiplicity).split(MICROBATCH)))

        def batch(number: int) -> Batch:
            """Pieces, each with draws of its own, however many are computed on at once."""
            joined = pieces[number * at_once : (number + 1) * at_once]
            seeds = seed_of(seed, f"twin {step}")
            draws = [diffusion.PublicDraws(training.generator(seeds, n), len(piece)) for n, piece in joined]
            part = torch.cat([piece for _, piece in joined])
            return Batch(device.put(images[part]), device.put(labels[part]), Kept(Joined(draws)))

        def loss(number: int) -> torch.Tensor:
            part = batches(number)
            x = scaled(part.images)
            return diffusion.losses(model, x, part.labels, part.draws, augment=augment).sum() / views

        numbers = range(math.ceil(len(pieces) / at_once))
        batches = Ahead(batch, lambda part: [part.draws], len(numbers))
        training.assign(parameters, training.gradient(parameters, loss, numbers)[1])

    bar, rate = progress.silent(steps, "training without privacy"), partial(_warmed_up, learning_rate)
    weights = training.adam(work, model, step_gradient, steps, rate, average, {}, bar)
    return Synthesiser(weights, model.architecture)


def ready(base: Base, n_classes: int, seed: int) -> diffusion.Denoiser:
    """The base's averaged weights in a denoiser that speaks the private labels.

    Where the corpus did not speak them, each private label starts as a fresh random row; the null label stays.
    """
    architecture = {**base.architecture, "n_labels": n_classes}
    model = pretrain.initial(architecture, seed)
    weights = dict(base.averaged)
    if not base.private_labels:
        rows = model.net.label.weight.detach().clone()
        rows[-1] = weights["net.label.weight"][-1]
        weights["net.label.weight"] = rows
    model.load_state_dict(weights)
    return model


def minutes(base: Base, mechanism: Gradients, *, shape: tuple, n_classes: int, trainable: str) -> float:
    """Minutes that DP-SGD from `base` should take."""
    model = ready(base, n_classes, 0)
    restrict(model, trainable)
    return minutes_of(model, mechanism, shape, n_classes)


def minutes_of(model: diffusion.Denoiser, mechanism: Gradients, shape: tuple[int, int], n_classes: int) -> float:
    """Minutes that DP-SGD on `model` should take, timed on blank images: tells nothing of the records."""
    at_once = device.at_once(MICROBATCH)
    rows = at_once // mechanism.noise_multiplicity or 1
    blank = torch.zeros(rows, shape[0], shape[1], shape[1], dtype=torch.uint8)
    everyone = Gradients("timing", 1.0, TRIALS + 1, 1.0, 1.0, mechanism.noise_multiplicity, 1.0)
    labels, seconds = torch.zeros(rows, dtype=torch.int64), []
    step_gradient = rehearsal(model, blank, labels, n_classes, everyone, at_once)
    for step in range(TRIALS + 1):
        start = time.perf_counter()
        step_gradient(step)
        device.finish()
        seconds.append(time.perf_counter() - start)
    threads = 1 if device.on_gpu() else torch.get_num_threads()
    micro_batches = math.ceil(mechanism.divisor / rows / threads)  # side by side
    return sorted(seconds[1:])[TRIALS // 2] * micro_batches * mechanism.steps / 60


def rehearsal(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, n_classes: int, mechanism: Gradients,
    microbatch: int, loss: Callable | None = None,
) -> Callable[[int], None]:  # fmt: skip
    """What leaves a step's private gradient at the weights, of images that nobody owns, under coins that everybody
    knows: no ledger is asked, none is needed.

    Args:
        loss: `(wrapped network, images, labels, draws)`; None for a denoiser's own.
    """
    classes, wrapped = tuple(map(str, range(n_classes))), privacy.per_example(model)
    toy = Private(name="rehearsal", images=images, labels=labels, classes=classes, n_records=len(images), builtin=True)
    plan = privacy.Plan("rehearsal", len(images), 1.0, 1e-5, (mechanism,))
    charge = privacy.Charge(mechanism, plan, "rehearsal", privacy.Coins(bytes(32)))
    losses = partial(loss, wrapped) if loss else partial(diffusion.losses, model, through=wrapped)
    return lambda step: toy.gradient(wrapped, losses, charge, step, microbatch)


def _warmed_up(learning_rate: float, step: int) -> float:
    return learning_rate * min(1, (step + 1) / 10)
