"""Stage 04: fine-tune the base on the private records with DP-SGD.

Abadi et al. (2016), Algorithm 1, with the noise multiplicity of Dockhorn et al. (2023); RPGen Sec. "Stage 3". What
differs: true Poisson sampling at the plan's rate, gradients divided by the clipping norm before Adam, a divisor that
is a public constant. Nothing here is shown of the records: no loss, norm, clip fraction or batch size.
"""

import math
import time
from dataclasses import replace

import torch

from dpsynth import privacy, store
from dpsynth.artifacts import Base, Synthesiser
from dpsynth.models import diffusion, training
from dpsynth.models.pixels import scaled
from dpsynth.models.trainable import by_part, learning, restrict
from dpsynth.privacy import Gradients, Private
from dpsynth.stages import label_prior, planning, pretrain, progress, query, selection

MICROBATCH = 128


def run(p) -> Synthesiser:
    """The synthesiser of `p`, fine-tuned now if it was not before; its ledger entry is settled."""
    have = _inputs(p)
    if math.isinf(p.epsilon):
        have["private"] = planning.private(p)
        return store.build("twin", p.row.learn.exact, p, **store.named(p.row.learn.exact, have))
    prior = label_prior.run(p)
    return planning.ask("synthesiser", p.row.learn, p, *([prior] if prior else []), **have, probe=probe(p))


def probe(p) -> store.Stored | None:
    """What `p` asks of the private records through its base, before it learns; None for most methods."""
    return planning.ask("probe", p.row.probe, p, **_inputs(p)) if p.row.probe else None


def _inputs(p) -> dict[str, store.Stored | None]:
    """What the stages before this one yield, by the names that learners and probes ask for it."""
    return {
        "encoder": query.encoder(p), "release": query.run(p), "corpus": selection.run(p), "base": pretrain.run(p),
    }  # fmt: skip


def expected_minutes(p) -> float | None:
    """Minutes that the learner of `p` should take; None where there is no estimate."""
    return p.row.learn.minutes(p) if p.row.learn.minutes else None


def gradients_price(p) -> list[Gradients]:
    """T steps of DP-SGD; the noise multiplier is for the plan to calibrate."""
    divisor = p["sample_rate"] * p.constants.n_records
    return [
        Gradients("dp_sgd", p["sample_rate"], p["steps"], 1.0, p["max_grad_norm"], p["noise_multiplicity"], divisor)
    ]


def dp_sgd(
    work: store.Work, private: Private, base: Base, allowance: planning.Allowance,
    *, seed: int, learning_rate: float, average: float, trainable: str,
) -> Synthesiser:  # fmt: skip
    """Adam on noisy gradients of all weights, or of a few; samples are drawn from the moving average.

    Args:
        learning_rate: of Adam, constant after ten steps of warm-up; average: rate of the moving average.
        trainable: which weights learn, as of `trainable.restrict`.
    """
    model = ready(base, len(private.classes), seed)
    restrict(model, trainable)
    return descend(work, private, model, allowance, learning_rate, average)


def descend(
    work: store.Work, private: Private, model: diffusion.Denoiser, allowance: planning.Allowance,
    learning_rate: float, average: float,
) -> Synthesiser:  # fmt: skip
    """DP-SGD on the weights of `model` that require gradients."""
    facts = {"learning-percent": torch.tensor(learning(model))}
    wrapped = privacy.PerExample(model)

    def loss(x, label, draws):
        return diffusion.loss(wrapped, model.prediction, model.null, model.encode(x), label, draws)

    charge, steps = allowance.charge(work, private), allowance.mechanism.steps

    def step_gradient(step: int) -> None:
        private.gradient(wrapped, loss, charge, step, MICROBATCH)

    return replace(_train(work, model, step_gradient, steps, learning_rate, average, allowance.plan), facts=facts)


def without_privacy(
    work: store.Work, private: Private, base: Base,
    *, seed: int, learning_rate: float, average: float, trainable: str, sample_rate: float, steps: int,
    noise_multiplicity: int,
) -> Synthesiser:  # fmt: skip
    """The non-private twin: the same rate, steps and optimizer, without clip and noise. Built-in benchmarks only."""
    images, labels = privacy.evaluation(private, "non-private twin")
    model = ready(base, len(private.classes), seed)
    restrict(model, trainable)
    parameters = [p for p in model.parameters() if p.requires_grad]

    def step_gradient(step: int) -> None:
        draws = training.generator(store.seed_of(seed, "twin"), step)
        rows = (torch.rand(len(images), generator=draws) < sample_rate).nonzero().flatten()
        views = noise_multiplicity * sample_rate * len(images)

        def loss(numbered: tuple[int, torch.Tensor]) -> torch.Tensor:
            number, part = numbered
            draws = diffusion.PublicDraws(training.generator(store.seed_of(seed, f"twin {step}"), number), len(part))
            x, y = model.encode(scaled(images[part])), labels[part]
            return diffusion.loss(model, model.prediction, model.null, x, y, draws).sum() / views

        pieces = rows.repeat_interleave(noise_multiplicity).split(MICROBATCH)
        _, gradients = training.gradient(parameters, loss, enumerate(pieces))
        for parameter, g in zip(parameters, gradients, strict=True):
            parameter.grad = g

    return _train(work, model, step_gradient, steps, learning_rate, average, None)


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


def dp_sgd_minutes(p) -> float:
    """Minutes that `p`'s DP-SGD should take."""
    model = ready(pretrain.run(p), p.n_classes, 0)
    restrict(model, p["trainable"])
    return minutes_of(p, model)


def shares(p) -> dict[str, tuple[int, int]]:
    """Weights of each part of the network, (those that learn, all), by its name."""
    model = ready(pretrain.run(p), p.n_classes, 0)
    restrict(model, p["trainable"])
    return by_part(model)


def minutes_of(p, model: diffusion.Denoiser, trials: int = 3) -> float:
    """Minutes that DP-SGD on `model` should take, timed on blank images: tells nothing of the records."""
    mechanism = gradients_price(p)[0]
    rows = MICROBATCH // p["noise_multiplicity"] or 1
    toy = Private(
        name="timing", images=torch.zeros(rows, p.shape[0], p.shape[1], p.shape[1], dtype=torch.uint8),
        labels=torch.zeros(rows, dtype=torch.int64), classes=p.constants.classes, n_records=rows, builtin=True,
    )  # fmt: skip
    everyone = Gradients("timing", 1.0, trials + 1, 1.0, 1.0, p["noise_multiplicity"], 1.0)
    wrapped = privacy.PerExample(model)
    # A set of blank images that nobody owns, under coins that everybody knows: no ledger is asked, none is needed.
    nobody = privacy.Plan("timing", rows, p.epsilon, p.delta, (everyone,))
    charge = privacy.Charge(everyone, nobody, "timing", privacy.Coins(bytes(32)))
    seconds = []
    for step in range(trials + 1):
        start = time.perf_counter()
        toy.gradient(
            wrapped,
            lambda x, y, d: diffusion.loss(wrapped, model.prediction, model.null, model.encode(x), y, d),
            charge,
            step,
            MICROBATCH,
        )
        seconds.append(time.perf_counter() - start)
    micro_batches = math.ceil(mechanism.divisor / rows / torch.get_num_threads())  # side by side
    return sorted(seconds[1:])[trials // 2] * micro_batches * mechanism.steps / 60


def _train(work, model, step_gradient, n_steps, learning_rate, average, plan) -> Synthesiser:
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    averaged = diffusion.Average(model, average)
    state = {"model": model, "optimizer": optimizer, "average": averaged}
    bar = progress.silent(n_steps, "DP-SGD" if plan else "training without privacy")
    for step in training.steps(work, n_steps, state, {}):
        optimizer.param_groups[0]["lr"] = learning_rate * min(1, (step + 1) / 10)
        step_gradient(step)
        optimizer.step()
        averaged.update(model)
        progress.tell(bar, step + 1, plan)
    bar.close()
    return Synthesiser(averaged.weights, model.architecture)
