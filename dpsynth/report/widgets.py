"""The site's interactive pages in a notebook: sliders over the package's own numbers and figures.

Where a notebook is executed with nobody at it (papermill, nbconvert, the site), the first picture alone is shown, as of
any figure: a widget without its front end is an empty place, or asks another host for scripts.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from dpsynth import device, figures
from dpsynth.budget.certificate import cross_checks
from dpsynth.figures.style import Picture, get_ipython
from dpsynth.models import diffusion, networks, samplers
from dpsynth.models.pixels import to_bytes
from dpsynth.pipeline import Run
from dpsynth.privacy import Counts, accounting
from dpsynth.privacy.mechanisms import Mechanism
from dpsynth.report import displays, pictures
from dpsynth.seeds import seed_of
from dpsynth.stages import selection

Sliders = dict[str, tuple[str, dict[str, Any]]]  # by argument: the kind of ipywidgets, and what it is made with
AT_REST = {"continuous_update": False}  # a figure takes longer than a slider moves


def budget(run: Run) -> Any:
    """What the run's plan would cost at another noise, rate and number of steps; the plan itself stays as it is.

    Returns:
        An ipywidgets box; where no front end is, its first picture.
    """
    *queries, learner = run.plan.mechanisms

    def draw(noise: float, rate: float, steps: int, query: float | None = None) -> Picture:
        changed = replace(learner, noise_multiplier=noise, sample_rate=rate, steps=steps)
        asked = [replace(m, noise_multiplier=query or m.noise_multiplier) for m in queries]
        return figures.costs(*costs([*asked, changed], run.params.delta), badge=displays.badge(run.params))

    sliders: Sliders = {
        "noise": _log(learner.noise_multiplier, -1, 3), "rate": _log(learner.sample_rate, -4, 0),
        "steps": ("BoundedIntText", {"value": learner.steps, "min": 1, "max": 100_000}),
    }  # fmt: skip
    if queries:
        sliders["query"] = _log(queries[0].noise_multiplier, -1, 3)
    return _live(draw, sliders)


def costs(mechanisms: Sequence[Mechanism], delta: float) -> tuple[dict[str, float], dict[str, float]]:
    """Epsilon of each mechanism alone, by its name, and of all together, by the accountant's, that of record first."""
    alone = {f"{m.name} alone": accounting.epsilon([m], delta) for m in mechanisms}
    checks = {f"all, {name}": spent for name, spent in cross_checks(mechanisms, delta).items() if isfinite(spent)}
    record = {"all, PLD (of record)": accounting.epsilon(mechanisms, delta)}
    return alone, record | checks | {"all, PLD, replace one": accounting.epsilon(mechanisms, delta, replace=True)}


def query_noise(run: Run) -> Any:
    """Which public classes a private label gets as the query's noise grows. Opens the records of a benchmark.

    Returns:
        As of `budget`.
    """
    public, labels = run.public, run.params.constants.classes
    exact = selection.pick(pictures.votes_without_noise(run).histogram, run.options.kept)

    def draw(noise: float, label: int, number: int) -> Picture:
        picks, recall = picked(run, noise, number)
        images = torch.stack([public.images[(public.labels == c).nonzero()[0, 0]] for c in picks[label]])
        captions = ["kept" if c in exact[label] else "strayed" for c in picks[label]]
        title = f"Classes picked for {labels[label]} at noise {noise:.3g}; recall over all labels: {recall:.0%}"
        return figures.grid(images, title=title, captions=captions, badge=displays.badge(run.params))

    planned = run.plan.mechanism("semantic_histogram").noise_multiplier
    choices = {"options": [(name, place) for place, name in enumerate(labels)], "value": 0}
    sliders: Sliders = {"noise": _log(planned, 0, 2.7), "label": ("Dropdown", choices)}
    return _live(draw, sliders | {"number": ("IntSlider", {"value": 1, "min": 1, "max": 20, **AT_REST})})


def picked(run: Run, noise: float, number: int) -> tuple[list[list[int]], float]:
    """The classes picked under the `number`-th draw of noise, and the share of the noiseless picks among them."""
    histogram = pictures.votes_without_noise(run).histogram
    scale = Counts("query", run.options.votes, noise).scale
    noisy = histogram + scale * torch.randn(histogram.shape, generator=torch.Generator().manual_seed(number))
    picks, exact = selection.pick(noisy, run.options.kept), selection.pick(histogram, run.options.kept)
    common = sum(len({*ours} & {*theirs}) for ours, theirs in zip(picks, exact, strict=True))
    return picks, common / sum(map(len, exact))


def trajectory(run: Run) -> Any:
    """What the sampler holds, and what the denoiser makes of it, step by step.

    Returns:
        As of `budget`.
    """
    noisy, clean, levels = along(run)

    def draw(step: int) -> Picture:
        at = slice(step - 1, step)
        names = run.params.constants.classes
        return figures.trajectory(noisy[at], clean[at], levels[at], names, badge=displays.badge(run.params))

    return _live(draw, {"step": ("IntSlider", {"value": len(levels) // 2, "min": 1, "max": len(levels), **AT_REST})})


def along(run: Run) -> tuple[Tensor, Tensor, list[float]]:
    """One image a label, along `samplers.dpm_solver`, by which samples are drawn.

    Returns:
        x, scaled to the contrast of images, and D(x; sigma): (S, N, C, H, W) uint8 each; the S noise levels.
    """
    synthesiser = run.synthesiser
    model = networks.rebuild(synthesiser.architecture, synthesiser.weights)
    noisy, clean, levels = [], [], []

    def seen(denoise: samplers.Denoise, x: Tensor, sigma: Tensor) -> Tensor:
        guess = denoise(x, sigma)
        contrast = diffusion.SIGMA_DATA / (sigma**2 + diffusion.SIGMA_DATA**2).sqrt()
        noisy.append(device.host(to_bytes(model.decode(x * contrast))))
        clean.append(device.host(to_bytes(model.decode(guess))))
        levels.append(sigma.item())
        return guess

    def solver(denoise: samplers.Denoise, x: Tensor, sigmas: Tensor) -> Iterator[Tensor]:
        yield from samplers.dpm_solver(partial(seen, denoise), x, sigmas)

    labels = torch.arange(len(run.params.constants.classes))
    list(samplers.trajectory(model, labels, seed_of(run.params.seed, "preview"), solver))
    return torch.stack(noisy), torch.stack(clean), levels


def has_front_end() -> bool:
    """Whether someone is at the notebook: a Jupyter server names the sessions that it starts, VS Code the file."""
    shell = get_ipython()
    return "JPY_SESSION_NAME" in os.environ or "__vsc_ipynb_file__" in getattr(shell, "user_ns", {})


def _live(draw: Callable[..., Picture], sliders: Sliders) -> Any:
    if not has_front_end():
        return draw(**{name: made["value"] for name, (_, made) in sliders.items()})
    import ipywidgets  # here: where nobody is, no widget is made

    made = {name: getattr(ipywidgets, kind)(description=name, **given) for name, (kind, given) in sliders.items()}
    return ipywidgets.interactive(draw, **made)


def _log(value: float, low: float, high: float) -> tuple[str, dict[str, Any]]:
    """From 10^low to 10^high."""
    return "FloatLogSlider", {"value": value, "min": low, "max": high, "step": 0.01, **AT_REST}
