"""Stages 03 and 04 of DPSDA: Private Evolution, which trains nothing.

Lin et al. (ICLR 2024), Algorithms 1 and 2: private records vote for the synthetic candidate nearest to them, candidates
with many noisy votes are kept and varied, again and again. Two APIs make candidates: our publicly trained denoiser
(RANDOM_API draws, VARIATION_API noises an image to a level and denoises it, as SDEdit does), or the renderer of the
public glyphs (Sim-PE, Lin et al. 2025). What differs: discrete Gaussian noise; the threshold in units of the noise, so
that one setting serves every epsilon; equally many candidates a label, where the code reads label shares from the
private set.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from dpsynth import device
from dpsynth.artifacts import Base, Encoder, Synthesiser
from dpsynth.checkpoints import Work
from dpsynth.methods.diffusion import AT_ONE_PLACE
from dpsynth.methods.method import Method, Options, PrivateStep
from dpsynth.models import diffusion, networks, samplers, training
from dpsynth.models.pixels import scaled, to_bytes
from dpsynth.models.population import Population
from dpsynth.models.renderer import Renderer
from dpsynth.privacy import Counts, Private
from dpsynth.recipes import work
from dpsynth.seeds import seed_of
from dpsynth.stages import pretrain, progress, query, selection, snapshots
from dpsynth.stages.permit import Permit
from dpsynth.strict import Real

SIGMA_HIGH, SIGMA_LOW = 2.0, 0.2  # noise levels of a variation of amplitude 1, and of one near 0
DENOISING = 5  # steps of the denoiser in a variation
AT_ONCE = 250  # candidates computed on together
SHOWN, PER_LABEL = 10, 2  # in the figure: of how many labels, and how many of each


class Evolution(Options, pretrain.Conditional, pretrain.Network):
    """DPSDA's options."""

    api: Literal["diffusion", "glyphs"] = Field("diffusion", description="candidates of the denoiser, or rendered")
    iterations: int = Field(3, ge=1, le=10**4, description="histograms of votes, T")
    candidates: int = Field(20, ge=2, le=10**6, description="population of each private label")
    lookahead: int = Field(
        2, ge=0, le=1000, description="variations whose mean embedding stands for a candidate; 0: itself"
    )
    threshold: Real = Field(1.0, ge=0, lt=1e6, description="taken from every count, in deviations of the noise")
    prediction: diffusion.Prediction = Field("edm", description="of the denoiser, as for the methods that share it")


State = dict[str, Tensor]  # candidates: `images` (N, C, S, S) uint8, and what else their API must know of them


class DenoiserApi:
    """Candidates from a publicly trained denoiser; a `Renderer` has the same two functions."""

    def __init__(self, model: diffusion.Denoiser):
        self.model = model

    def random(self, labels: Tensor, seed: int) -> State:
        """RANDOM_API: a candidate of each public label, which its variations keep."""
        return {"images": samplers.denoised(self.model, labels, seed), "labels": labels}

    @torch.no_grad()
    def vary(self, state: State, amplitude: float, seed: int) -> State:
        """VARIATION_API: noise to a level between SIGMA_LOW and SIGMA_HIGH, then Euler's steps down to none."""
        draws = torch.Generator().manual_seed(seed)
        levels = SIGMA_LOW * (SIGMA_HIGH / SIGMA_LOW) ** amplitude * torch.linspace(1, 0, DENOISING + 1) ** 2
        varied = []
        for images, labels in zip(state["images"].split(AT_ONCE), state["labels"].split(AT_ONCE), strict=True):
            x = device.put(scaled(images) + levels[0] * torch.randn(images.shape, generator=draws))
            labels = device.put(labels)
            *_, x = samplers.ddim(
                lambda x, level, y=labels: self.model(x, level.expand(len(x)), y), x, device.put(levels)
            )
            varied.append(device.host(to_bytes(x)))
        return {**state, "images": torch.cat(varied)}


@work
def renderer(work: Work, *, shape: tuple) -> Base:
    """The renderer of the public glyphs as base: nothing is trained."""
    return Base({}, {}, Renderer(*shape).architecture, private_labels=False)


def mechanism(*, iterations: int) -> Counts:
    """T histograms of one vote a record; T discrete Gaussians compose exactly. The plan calibrates their noise."""
    return Counts("nearest_votes", 1, 1.0, steps=iterations)


@work
def evolve(
    work: Work, private: Private, encoder: Encoder, base: Base, permit: Permit,
    *, candidates: int, lookahead: int, threshold: float, seed: int,
) -> Synthesiser:  # fmt: skip
    """As many iterations as the plan has histograms: votes, threshold, resampling, variation; the last population is
    the synthesiser. Variations shrink from one iteration to the next.

    Args:
        candidates: of each private label. lookahead: a candidate is embedded as the mean of so many of its variations.
        threshold: what is taken from every count, H of Algorithm 1, in standard deviations of the noise.
    """
    model, net = networks.rebuild(base.architecture, base.averaged), query.classifier(encoder, private.shape[0])
    api = model if isinstance(model, Renderer) else DenoiserApi(model)
    n_labels, n_steps = len(private.classes), permit.mechanism.steps
    draws = torch.Generator().manual_seed(start := seed_of(seed, "random"))
    labels = torch.randint(model.n_labels, (n_labels * candidates,), generator=draws)
    population = PopulationState(api.random(labels, start))
    history: training.History = {"images": []}
    bar = progress.silent(n_steps, "evolution", permit.plan)
    charge = permit.charge(work, private)
    for step in training.steps(work, n_steps, {"population": population}, history, bar):
        amplitude, number, state = 1 - step / n_steps, str(step), population.state
        ahead = [
            embedded(net, api.vary(state, amplitude, seed_of(seed, "lookahead", number, str(n)))["images"])
            for n in range(lookahead)
        ]
        points = torch.stack(ahead).mean(0) if ahead else embedded(net, state["images"])
        votes = nearest(net, points.view(n_labels, candidates, -1))
        counts = private.count(votes, candidates, charge, step)
        history["images"].append(_favourites(state["images"], counts))
        chosen = resampled(counts, threshold * permit.mechanism.scale, training.generator(seed, step))
        parents = {name: values[_rows(chosen, candidates)] for name, values in state.items()}
        population.state = api.vary(parents, amplitude, seed_of(seed, "variation", number))
    images = population.state["images"]
    along = snapshots.captioned(history["images"], "most voted for in iteration")
    along["of the last population"] = _spread(images, n_labels, candidates)
    return Synthesiser({"images": images}, Population(*private.shape[:2], n_labels, candidates).architecture, along)


def nearest(net: query.Queried, points: Tensor) -> Callable:
    """The vote of each record: the candidate of its own label whose embedding is nearest to its own, in l2.

    Args:
        net: each image is seen alone; points: (labels, candidates, D).
    """
    flat, half_squares = device.put(points.flatten(0, 1)), points.square().sum(2) / 2

    def vote(x: Tensor, labels: Tensor, draws) -> Tensor:
        products = device.host(net.features(device.put(x)) @ flat.T).view(len(x), *points.shape[:2])
        return (half_squares[labels] - products[torch.arange(len(x)), labels]).argmin(1, keepdim=True)

    return vote


def resampled(counts: Tensor, threshold: float, draws: torch.Generator) -> Tensor:
    """Candidates drawn by their noisy counts, less the threshold and never below zero: (L, N) -> indices (L, N).

    Of a label without a count above it, every candidate is as likely. Systematic: of n draws, a candidate of share s
    gets n s, rounded up or down.
    """
    weights = (counts.double() - threshold).clamp(min=0)
    weights[weights.sum(1) == 0] = 1
    ends = (weights / weights.sum(1, keepdim=True)).cumsum(1)
    n = counts.shape[1]
    places = (torch.arange(n) + torch.rand(len(counts), 1, generator=draws)) / n
    return torch.searchsorted(ends, places.double()).clamp(max=n - 1)


def embedded(net: query.Queried, images: Tensor) -> Tensor:
    """The encoder's last features of images at rest: (N, D)."""
    return torch.cat([device.host(net.features(scaled(device.put(part)))) for part in images.split(AT_ONCE)])


class PopulationState:
    """The candidates, as checkpoints keep them."""

    def __init__(self, state: State):
        self.state = state

    def state_dict(self) -> State:
        return self.state

    def load_state_dict(self, state: State) -> None:
        self.state = state


def _rows(places: Tensor, candidates: int) -> Tensor:
    """Places among the candidates of each label, (L, k), as rows of the population: (L k,)."""
    return (places + candidates * torch.arange(len(places))[:, None]).flatten()


def _favourites(images: Tensor, counts: Tensor) -> Tensor:
    """The candidates with most noisy votes, of the first labels."""
    return images[_rows(counts[:SHOWN].topk(PER_LABEL, dim=1).indices, counts.shape[1])]


def _spread(images: Tensor, n_labels: int, candidates: int) -> Tensor:
    """A few candidates of the first labels: apart, as neighbours are often variations of one candidate."""
    places = (torch.arange(PER_LABEL) * 2 + 1) * candidates // (2 * PER_LABEL)
    return images[_rows(places.expand(min(SHOWN, n_labels), -1), candidates)]


def _rendered(options: Evolution) -> dict[str, Any]:
    """With `api: glyphs` the public set's own renderer makes the candidates, and nothing is trained."""
    return {"corpus": None, "base": renderer} if options.api == "glyphs" else {}


EVOLUTION = PrivateStep(name="nearest_votes", release=evolve, mechanism=mechanism)
DPSDA = Method(
    paper="DPSDA, Private Evolution (ICLR 2024)", options=Evolution, encoder=query.train_classifier,
    corpus=selection.all_public, base=pretrain.train_diffusion, learn=EVOLUTION,
    settings=AT_ONE_PLACE, adapt=_rendered, page="dpsda",
)  # fmt: skip
