"""Figures of notebooks 03 and 04: what pre-training and DP-SGD may show of themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from dpsynth.figures.checks import numbers
from dpsynth.figures.style import INK, PALE, called, chart, colours, styled
from dpsynth.privacy.accounting import ADJACENCY


@styled
def losses(histories: Mapping[str, Mapping[str, Sequence[float]]], *, badge: str) -> Figure:
    """Loss of each pre-training, at clean and at perturbed weights; below, how often the projection binds.

    Args:
        histories: name -> {"clean": losses, "perturbed": losses or empty, "binds": 0 or 1 a step, or empty},
            as `Base.history` has them. A running mean over a fiftieth of the longest smooths them all.
    """
    if not histories:
        raise ValueError("there is nothing to draw: histories is empty")
    clean = {name: numbers(f"the loss of {name}", history.get("clean", ())) for name, history in histories.items()}
    beside, binds = (
        {name: history[curve] for name, history in histories.items() if len(history.get(curve, ()))}
        for curve in ("perturbed", "binds")
    )
    window = max(1, max(map(len, clean.values())) // 50)
    shades = colours(histories)
    key = [Line2D([], [], color=shades[n], label=called(n) + (", clean weights" if n in beside else "")) for n in clean]
    key += [Line2D([], [], color=shades[n], linestyle=":", label=f"{called(n)}, perturbed") for n in beside]
    title = "Pre-training loss" + (f", running mean over {window} steps" if window > 1 else "")
    figure = chart(6.4, 4.0 if binds else 2.9, title, badge, key=key)
    panels = figure.subplots(2 if binds else 1, 1, squeeze=False, sharex=True, height_ratios=[3, 1] if binds else [1])
    upper, lower = panels[0, 0], panels[-1, 0]
    for axes, curves, style in ((upper, clean, "-"), (upper, beside, ":"), (lower, binds, "-")):
        for name, values in curves.items():
            axes.plot(_running(values, window), color=shades[name], linewidth=1.4, linestyle=style)
    upper.set_ylabel("loss")
    _skip_the_start(upper, clean, window)
    if binds:
        lower.set(ylim=(-0.05, 1.05), ylabel="projection binds\n(share of steps)")
    lower.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    lower.set_xlabel("pre-training step")
    return figure


def _running(values: Sequence[float], window: int) -> np.ndarray:
    return pd.Series(values, dtype=float).rolling(window, min_periods=1).mean().to_numpy()


def _skip_the_start(axes: Any, curves: Mapping[str, np.ndarray], window: int) -> None:
    """The first steps fall from far above; cut them off where they would flatten the rest."""
    rest = np.concatenate([_running(values, window)[len(values) // 20 :] for values in curves.values()])
    low, high = rest.min(), rest.max()
    axes.set_ylim(low - 0.05 * (high - low or 1), high + 0.1 * (high - low or 1))


@styled
def budget(steps: Any, epsilons: Any, *, epsilon_target: float, query_epsilon: float, badge: str) -> Figure:
    """Epsilon spent after each step of the learner, the queries before it included.

    Args:
        steps: (S,) ascending; epsilons: (S,), of all that was released up to there.
        epsilon_target: the budget; query_epsilon: what the one-shot queries cost alone, 0 if there are none.
    """
    places = numbers("steps", steps)
    spent = numbers("epsilons", epsilons, like=places)
    target, query = numbers("epsilon_target and query_epsilon", [epsilon_target, query_epsilon])
    shade = colours(["privimage_d"])["privimage_d"]
    key = [
        Line2D([], [], color=shade, label="spent so far"),
        Line2D([], [], color=INK, linestyle="--", label=f"budget: {target:g}"),
    ]
    if query > 0:
        key.append(Patch(color=PALE, label=f"queries alone: {query:.3g}"))
    title = f"Epsilon after {places[-1]:.0f} step{'s' if places[-1] > 1 else ''}: {spent[-1]:.3f} of {target:g}"
    figure = chart(6.4, 2.9, title, badge, key=key)
    axes = figure.subplots()
    if query > 0:
        axes.axhspan(0, query, color=PALE, linewidth=0)
    axes.axhline(target, color=INK, linestyle="--", linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.margins(x=0.02)
    axes.plot(places, spent, color=shade, linewidth=1.6, marker="o" if len(places) < 30 else "", markersize=3)
    axes.set_ylim(0, max(target, spent.max()) * 1.08)
    axes.set(xlabel="private step of learning", ylabel=f"epsilon\n({ADJACENCY})")
    return figure


@styled
def matching(gap: Any, noise: Any, *, badge: str) -> Figure:
    """Squared gap between released and synthetic mean embeddings along training, and the part that is noise.

    Args:
        gap, noise: (S,) each, shares of the release's squared norm, at equal distances along training.
    """
    values = numbers("gap", gap)
    floor = numbers("noise", noise, like=values)
    shade = colours(["dp_mepf"])["dp_mepf"]
    key = [
        Line2D([], [], color=shade, label="gap to the release"),
        Line2D([], [], color=INK, linestyle="--", label="what noise alone would leave"),
    ]
    title = f"Moment gap: {values[0]:.3g} of the release at first, {values[-1]:.3g} at last"
    figure = chart(6.4, 2.9, title, badge, key=key)
    axes = figure.subplots()
    along = (np.arange(len(values)) + 0.5) / len(values) * 100
    axes.plot(along, values, color=shade, linewidth=1.6)
    axes.axhline(floor[-1], color=INK, linestyle="--", linewidth=1)
    axes.set_ylim(0, 1.08 * max(values.max(), floor.max()))
    axes.set(xlabel="generator training done, percent", xlim=(0, 100))
    axes.set_ylabel("squared gap over the\nrelease's squared norm")
    return figure
