"""Figures of notebook 00: made-up numbers and closed formulas, no run."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy import stats

from dpsynth.figures.checks import numbers
from dpsynth.figures.style import BLUE, GREY, INK, PALE, chart, colours, styled
from dpsynth.privacy.accounting import ADJACENCY

WITH = colours(["rpgen"])["rpgen"]  # the data set that holds the record


@styled
def densities(noise_multiplier: float, *, epsilon: float, badge: str) -> Figure:
    """The answers of a Gaussian mechanism without and with one record, and the privacy loss of each answer below.

    Answers are in units of the sensitivity: N(0, sigma^2) and N(1, sigma^2), whose loss is (2 x - 1) / (2 sigma^2).

    Args:
        noise_multiplier: sigma; epsilon: the answers beyond this loss are shaded: delta is at most their share.
    """
    (sigma,) = numbers("noise_multiplier", [noise_multiplier])
    if sigma <= 0:
        raise ValueError(f"cannot draw densities of noise multiplier {sigma:g}: it must be above 0")
    x = np.linspace(-4 * sigma, 1 + 4 * sigma, 400)
    loss, beyond = (2 * x - 1) / (2 * sigma**2), epsilon * sigma**2 + 0.5
    key = [
        Line2D([], [], color=BLUE, label="without the record"),
        Line2D([], [], color=WITH, label="with it"),
        Patch(color=WITH, alpha=0.3, label=f"loss above {epsilon:g}"),
    ]
    title = f"One answer, two explanations: noise multiplier {sigma:g}"
    figure = chart(5.8, 3.6, title, badge, key=key)
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(x, stats.norm.pdf(x, 0, sigma), color=BLUE)
    upper.plot(x, with_record := stats.norm.pdf(x, 1, sigma), color=WITH)
    upper.fill_between(x, with_record, where=x > beyond, color=WITH, alpha=0.3, linewidth=0)
    upper.set(ylabel="density", ylim=(0, None))
    lower.plot(x, loss, color=INK)
    for at in (epsilon, -epsilon):
        lower.axhline(at, color=GREY, linestyle=":", linewidth=1)
    lower.set(ylabel="privacy loss", xlabel="answer, in units of the sensitivity")
    return figure


@styled
def _curves(x: Any, lines: Mapping[str, Any], title: str, xlabel: str, delta: float, badge: str) -> Figure:
    """Epsilons over one axis, both logarithmic: (S,) and two of (S,)."""
    places = numbers("x", x)
    shades = dict(zip(lines, ((BLUE, "-"), (WITH, "--")), strict=True))
    key = [Line2D([], [], color=colour, linestyle=dash, label=name) for name, (colour, dash) in shades.items()]
    figure = chart(5.8, 2.5, title, badge, key=key)
    axes = figure.subplots()
    for name, (colour, dash) in shades.items():
        axes.plot(places, numbers(name, lines[name], like=places), color=colour, linestyle=dash)
    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=f"epsilon at delta {delta:g}\n({ADJACENCY})")
    return figure


def composition(steps: Any, composed: Any, added: Any, *, delta: float, badge: str) -> Figure:
    """Epsilon of so many releases: composed by privacy loss distributions, and each one's epsilon added up.

    Args:
        steps: (S,) numbers of releases; composed, added: (S,) epsilons at `delta`.
    """
    lines = {"privacy loss distributions": composed, "epsilons added up": added}
    return _curves(steps, lines, "What a number of releases costs", "releases (log scale)", delta, badge)


def subsampling(rates: Any, epsilons: Any, *, delta: float, badge: str) -> Figure:
    """Epsilon against the rate at which each record is drawn, beside a straight line: (S,) each."""
    rates, spent = numbers("rates", rates), numbers("epsilons", epsilons)
    lines = {"drawn at this rate": spent, "rate times what all records cost": spent[-1] * rates / rates[-1]}
    return _curves(rates, lines, "What drawing few of the records saves", "rate of a record (log scale)", delta, badge)


@styled
def weighting(noise_levels: Mapping[str, Any], weight: Mapping[str, Any], *, sigma: Any, badge: str) -> Figure:
    """Where two losses look: which noise levels they draw, and what an error of the noise estimate counts there.

    Args:
        noise_levels: name -> (n,) draws of sigma in training; weight: name -> (S,) at each of `sigma` (S,).
    """
    places = numbers("sigma", sigma)
    shades = dict(zip(noise_levels, (BLUE, WITH), strict=False))
    key = [Patch(color=colour, label=name) for name, colour in shades.items()]
    figure = chart(6.4, 2.5, "Where two losses look: noise levels drawn, and what an error counts", badge, key=key)
    left, right = figure.subplots(1, 2)
    bins = np.geomspace(places.min(), places.max(), 40)
    for name, colour in shades.items():
        drawn = numbers(f"the noise levels of {name}", noise_levels[name])
        left.hist(drawn, bins, weights=np.full(len(drawn), 100 / len(drawn)), color=colour, alpha=0.5, linewidth=0)
        right.plot(places, numbers(f"the weight of {name}", weight[name], like=places), color=colour)
    left.set(xscale="log", xlabel="noise level sigma (log scale)", ylabel="draws (percent)")
    right.set(xscale="log", yscale="log", xlabel="noise level sigma (log scale)", ylabel="weight of the error in ε")
    for axes in (left, right):
        axes.axhline(0 if axes is left else 1, color=PALE, linewidth=0.8, zorder=0)
    return figure
