"""DP-SAPF (USENIX Security 2026): ask which matrices the private records would move most, and adapt those alone.

A probe takes each record's gradient at the base, clipped to norm C as a whole, and releases a score of every candidate
matrix with noise, once. The top share of them gets low-rank adapters, which DP-SGD then trains. What differs: a small
denoiser on pixels stands for Stable Diffusion; the labels' table learns too, as no text encoder speaks the private
labels; probe and DP-SGD share one plan.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from dpsynth import device, privacy
from dpsynth.artifacts import Base, Saliency, Synthesiser
from dpsynth.checkpoints import Work
from dpsynth.methods.diffusion import Denoising
from dpsynth.methods.method import Method, PrivateStep
from dpsynth.models import diffusion, lora, networks
from dpsynth.privacy import Counts, Gradients, Private, Sums
from dpsynth.recipes import work
from dpsynth.seeds import seed_of
from dpsynth.stages import dp_sgd, pretrain, selection
from dpsynth.stages.permit import Permit
from dpsynth.strict import Noise, Real

LABEL_TABLE = "net.label"


class Salient(Denoising, pretrain.Conditional):
    """DP-SAPF's options: how matrices are scored, which are chosen, and what of them learns."""

    attention: Literal["middle", "every"] = Field("every", description="attention at one place, or at three")
    convolutions: bool = Field(False, description="convolutions' kernels are candidates too")
    choice: Literal["saliency", "random", "all"] = Field("saliency", description="which matrices learn")
    score: Literal["sq_norm", "votes"] = Field("sq_norm", description="squared gradient norms, or votes")
    saliency_votes: int = Field(3, ge=1, le=10**5, description="votes a record casts, for score: votes")
    saliency_noise: Noise = Field(None, description="noise multiplier of the probe; by rule if null")
    unit: Literal["matrix", "layer"] = Field("matrix", description="choose matrices, or whole blocks of them")
    share: Real = Field(0.3, gt=0, le=1, description="share of the matrices, or blocks, that is chosen")
    low_rank: bool = Field(True, description="adapters of rank 4, or the whole matrices")


@work
def probe(
    work: Work, private: Private, base: Base, permit: Permit,
    *, seed: int, max_grad_norm: float, convolutions: bool,
) -> Saliency:  # fmt: skip
    """Noisy score of each candidate matrix: squared norms (mean over the declared records), or votes (their number).

    Sensitivity. A record's whole gradient is scaled to norm at most C; in units of C its squared norms over disjoint
    matrices are at least 0 and sum to at most 1, so that their vector has l2 norm at most 1, the bound of `Sums`
    (which scales down what rounding leaves above it, and leaves out what is not finite). With votes, a record votes
    for exactly v distinct matrices: sqrt(v), by `Counts`. Either depends on the record and its addressed draws alone.
    """
    model = dp_sgd.ready(base, len(private.classes), seed)
    names = lora.candidates(model, convolutions)
    wrapped = privacy.per_example(model)

    def norms(x: Tensor, label: Tensor, draws) -> Tensor:
        return squared_norms(wrapped, names, x, label, draws, max_grad_norm)

    def favourites(x: Tensor, label: Tensor, draws) -> Tensor:
        return norms(x, label, draws).nan_to_num().topk(mechanism.votes, dim=1).indices

    mechanism, charge = permit.mechanism, permit.charge(work, private)
    if isinstance(mechanism, Counts):
        scores = private.count(favourites, len(names), charge, by_label=False)[0]
    else:
        scores = private.total(norms, len(names), charge)[0]
    wrapped.close()
    return Saliency(scores.double(), names, mechanism.scale / getattr(mechanism, "divisor", 1.0))


def squared_norms(
    wrapped: privacy.Watched, names: list[str], x: Tensor, label: Tensor, draws, max_grad_norm: float
) -> Tensor:
    """Squared Frobenius norm of each named matrix's part of each record's clipped gradient, in units of C: (B, M).

    Each is in [0, 1], and so is the sum of a record's; NaN where the gradient is not finite.
    """
    model = wrapped.model
    x, label, placed = device.put(x), device.put(label), diffusion.Placed(draws)
    gradients = wrapped.gradients(partial(diffusion.losses, model, x, label, placed, through=wrapped), len(x))
    squares = torch.stack([g.double().flatten(1).square().sum(1) for g in gradients], dim=1)  # (B, P)
    total = squares.sum(1, keepdim=True)
    places = {id(parameter): place for place, parameter in enumerate(wrapped.parameters)}
    chosen = [places[id(model.get_submodule(name).weight)] for name in names]
    return device.host(squares[:, chosen] / total.clamp(min=max_grad_norm**2))


def probe_mechanism(
    rule: Callable[[int], float],
    *, shape: tuple, n_classes: int, n_records: int, width: int, prediction: str, attention: str, unet: dict | None,
    convolutions: bool, score: str, saliency_votes: int, saliency_noise: float | None,
) -> Counts | Sums:  # fmt: skip
    """One vector of scores; noise by the rule of the semantic histogram, unless the options name it.

    Raises:
        ValueError: more votes than there are candidate matrices; nothing was asked yet.
    """
    if score == "sq_norm":
        return Sums("saliency", 1.0, saliency_noise or rule(1), n_records)
    model = networks.build(pretrain.architecture(shape, n_classes, width, prediction, attention, unet))
    if saliency_votes > (available := len(lora.candidates(model, convolutions))):
        raise ValueError(f"saliency_votes={saliency_votes}, but the network has only {available} candidate matrices")
    return Counts("saliency", saliency_votes, saliency_noise or rule(saliency_votes))


def pick(names: list[str], scores: Tensor | None, *, choice: str, unit: str, share: float, seed: int) -> list[str]:
    """The names of the matrices that learn: at least one, in the network's order.

    Args:
        scores: (M,) as released, for choice "saliency"; choice "random": as many by the seed; "all": every one.
        unit: "matrix", or "layer": whole blocks by their summed score; share: of the matrices or blocks, rounded down.
    """
    if choice == "all":
        return names
    units = [_block(name) if unit == "layer" else name for name in names]
    distinct = list(dict.fromkeys(units))
    if choice == "random":
        draws = torch.Generator().manual_seed(seed_of(seed, "saliency"))
        order = torch.randperm(len(distinct), generator=draws)
    else:
        sums = torch.stack([sum(s for s, u in zip(scores, units, strict=True) if u == name) for name in distinct])
        order = sums.argsort(descending=True, stable=True)
    chosen = {distinct[i] for i in order[: max(1, int(share * len(distinct) + 1e-9))]}
    return [name for name, u in zip(names, units, strict=True) if u in chosen]


@work(joined=True)
def dp_sgd_on_chosen(
    work: Work, private: Private, base: Base, probe: Saliency | None, permit: Permit,
    *, seed: int, learning_rate: float, average: float, choice: str, unit: str, share: float, low_rank: bool,
    convolutions: bool, augment: str | None,
) -> Synthesiser:  # fmt: skip
    """DP-SGD on adapters of the chosen matrices (or on these themselves) and on the labels' table."""
    model = dp_sgd.ready(base, len(private.classes), seed)
    scores = probe and probe.scores
    names = pick(lora.candidates(model, convolutions), scores, choice=choice, unit=unit, share=share, seed=seed)
    _free(model, names, low_rank, seed)
    learned = dp_sgd.descend(work, private, model, permit, learning_rate, average, augment)
    model.load_state_dict(learned.weights)
    lora.merge(model)
    return Synthesiser(model.state_dict(), model.architecture, facts=learned.facts)


def minutes(
    base: Base, mechanism: Gradients,
    *, shape: tuple, n_classes: int, seed: int, choice: str, unit: str, share: float, low_rank: bool,
    convolutions: bool,
) -> float:  # fmt: skip
    """Minutes that DP-SGD from `base` should take, with as many matrices as it will choose."""
    model = dp_sgd.ready(base, n_classes, seed)
    choice = "all" if choice == "all" else "random"
    names = pick(lora.candidates(model, convolutions), None, choice=choice, unit=unit, share=share, seed=seed)
    _free(model, names, low_rank, seed)
    return dp_sgd.minutes_of(model, mechanism, shape, n_classes)


def _free(model: torch.nn.Module, names: list[str], low_rank: bool, seed: int) -> None:
    """Let the named matrices, or adapters of them, and the labels' table learn, and nothing else."""
    if low_rank:
        lora.adapt(model, names, seed_of(seed, "adapters"))
    else:
        model.requires_grad_(False)
        for name in names:
            model.get_submodule(name).weight.requires_grad_(True)
    model.get_submodule(LABEL_TABLE).requires_grad_(True)


def _block(name: str) -> str:
    """The block that a layer is in; a layer directly in the network is one of its own."""
    parent = name.rpartition(".")[0]
    return name if parent == "net" else parent


def _without_probe(options: Salient) -> dict[str, Any]:
    """Matrices that are drawn, or all, are not asked for."""
    return {} if options.choice == "saliency" else {"probe": None}


PROBE = PrivateStep(name="saliency", release=probe, mechanism=probe_mechanism)
ON_CHOSEN = PrivateStep(
    name="dp_sgd", release=dp_sgd_on_chosen, mechanism=dp_sgd.mechanism, estimate_minutes=minutes,
)  # fmt: skip
DP_SAPF = Method(
    paper="DP-SAPF (USENIX Security 2026)", options=Salient, corpus=selection.all_public,
    base=pretrain.train_diffusion, probe=PROBE, learn=ON_CHOSEN, adapt=_without_probe, page="dp_sapf",
)  # fmt: skip
