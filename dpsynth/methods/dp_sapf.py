"""DP-SAPF (USENIX Security 2026): ask which matrices the private records would move most, and adapt those alone.

A probe takes each record's gradient at the base, clipped to norm C as a whole, and releases a score of every candidate
matrix with noise, once. The top share of them gets low-rank adapters, which DP-SGD then trains. What differs: a small
denoiser on pixels stands for Stable Diffusion; the labels' table learns too, as no text encoder speaks the private
labels; probe and DP-SGD share one plan.
"""

import torch
from torch import Tensor

from dpsynth import privacy, store
from dpsynth.artifacts import Base, Saliency, Synthesiser
from dpsynth.models import diffusion, lora, networks
from dpsynth.privacy import Counts, Private, Sums
from dpsynth.stages import dp_sgd, planning, pretrain

LABELS = "net.label"


def probe(
    work: store.Work, private: Private, base: Base, allowance: planning.Allowance,
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
    wrapped = privacy.PerExample(model)

    def norms(x: Tensor, label: Tensor, draws) -> Tensor:
        return squared_norms(wrapped, names, x, label, draws, max_grad_norm)

    mechanism = allowance.mechanism
    charge = allowance.charge(work, private)
    if isinstance(mechanism, Counts):

        def favourites(x: Tensor, label: Tensor, draws) -> Tensor:
            return norms(x, label, draws).nan_to_num().topk(mechanism.votes, dim=1).indices

        scores = private.count(favourites, len(names), charge, by_label=False)[0]
    else:
        scores = private.total(norms, len(names), charge)[0]
    wrapped.close()
    return Saliency(scores.double(), names, mechanism.scale / getattr(mechanism, "divisor", 1.0))


def squared_norms(
    wrapped: privacy.PerExample, names: list[str], x: Tensor, label: Tensor, draws, max_grad_norm: float
) -> Tensor:
    """Squared Frobenius norm of each named matrix's part of each record's clipped gradient, in units of C: (B, M).

    Each is in [0, 1], and so is the sum of a record's; NaN where the gradient is not finite.
    """
    model = wrapped.model

    def losses() -> Tensor:
        return diffusion.loss(wrapped, model.prediction, model.null, model.encode(x), label, draws)

    found = wrapped.gradients(losses, len(x))
    squares = torch.stack([g.double().flatten(1).square().sum(1) for g in found], dim=1)  # (B, P)
    total = squares.sum(1, keepdim=True)
    places = {id(parameter): place for place, parameter in enumerate(wrapped.parameters)}
    chosen = [places[id(model.get_submodule(name).weight)] for name in names]
    return squares[:, chosen] / total.clamp(min=max_grad_norm**2)


def probe_price(p, learn) -> list[Counts | Sums]:
    """One vector of scores; noise by the rule of the semantic histogram, unless the options name it.

    Raises:
        ValueError: more votes than there are candidate matrices; nothing was asked yet.
    """
    votes = p["saliency_votes"] if p["score"] == "votes" else 1
    noise = p["saliency_noise"] or planning.query_noise(p, votes, learn)
    if p["score"] == "sq_norm":
        return [Sums("saliency", 1.0, noise, p.constants.n_records)]
    architecture = pretrain.architecture(p.shape, p.n_classes, p.width, p["prediction"], p["attention"])
    if votes > (available := len(lora.candidates(networks.build(architecture), p["convolutions"]))):
        raise ValueError(f"saliency_votes={votes}, but the network has only {available} candidate matrices")
    return [Counts("saliency", votes, noise)]


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
        draws = torch.Generator().manual_seed(store.seed_of(seed, "saliency"))
        order = torch.randperm(len(distinct), generator=draws)
    else:
        sums = torch.stack([sum(s for s, u in zip(scores, units, strict=True) if u == one) for one in distinct])
        order = sums.argsort(descending=True, stable=True)
    kept = {distinct[i] for i in order[: max(1, int(share * len(distinct) + 1e-9))]}
    return [name for name, u in zip(names, units, strict=True) if u in kept]


def dp_sgd_on_chosen(
    work: store.Work, private: Private, base: Base, probe: Saliency | None, allowance: planning.Allowance,
    *, seed: int, learning_rate: float, average: float, choice: str, unit: str, share: float, low_rank: bool,
    convolutions: bool,
) -> Synthesiser:  # fmt: skip
    """DP-SGD on adapters of the chosen matrices (or on these themselves) and on the labels' table."""
    model = dp_sgd.ready(base, len(private.classes), seed)
    names = lora.candidates(model, convolutions)
    chosen = pick(names, probe and probe.scores, choice=choice, unit=unit, share=share, seed=seed)
    _free(model, chosen, low_rank, seed)
    learned = dp_sgd.descend(work, private, model, allowance, learning_rate, average)
    model.load_state_dict(learned.weights)
    lora.merge(model)
    return Synthesiser(model.state_dict(), model.architecture, facts=learned.facts)


def minutes(p) -> float:
    """Minutes that `p`'s DP-SGD should take, with as many matrices as it will choose."""
    model = dp_sgd.ready(pretrain.run(p), p.n_classes, p.seed)
    names = lora.candidates(model, p["convolutions"])
    choice = "all" if p["choice"] == "all" else "random"
    _free(model, pick(names, None, choice=choice, unit=p["unit"], share=p["share"], seed=p.seed), p["low_rank"], p.seed)
    return dp_sgd.minutes_of(p, model)


def chosen(p) -> tuple[Saliency, list[str]] | None:
    """The released scores of `p` and the names of the matrices that learned, for a figure; None without a probe."""
    if not p.row.probe or not planning.run(p).is_private:
        return None
    said = dp_sgd.probe(p)
    settings = {name: p[name] for name in ("choice", "unit", "share", "seed")}
    return said, pick(said.names, said.scores, **settings)


def _free(model: torch.nn.Module, names: list[str], low_rank: bool, seed: int) -> None:
    """Let the named matrices, or adapters of them, and the labels' table learn, and nothing else."""
    if low_rank:
        lora.adapt(model, names, store.seed_of(seed, "adapters"))
    else:
        model.requires_grad_(False)
        for name in names:
            model.get_submodule(name).weight.requires_grad_(True)
    model.get_submodule(LABELS).requires_grad_(True)


def _block(name: str) -> str:
    """The block that a layer is in; a layer directly in the network is one of its own."""
    parent = name.rpartition(".")[0]
    return name if parent == "net" else parent
