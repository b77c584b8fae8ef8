"""Figures of what learns from the private records: how many weights, which matrices, under how much noise."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dpsynth.figures.checks import numbers, same_length
from dpsynth.figures.style import BLUE, INK, WHISKER, chart, colours, named_bars, readable, styled

LEARNS, RESTS = BLUE, "#b5cde0"


@styled
def trainable(shares: Mapping[str, tuple[int, int]], *, badge: str) -> Figure:
    """Weights of each part of the network, and how many of them learn.

    Args:
        shares: name of the part -> (weights that learn, all its weights), as `models.trainable.by_part` has them.
    """
    counts = numbers("shares", list(shares.values()))
    learn, every = counts.sum(0)
    key = [Patch(color=LEARNS, label="learn"), Patch(color=RESTS, label="stay as they are")]
    title = f"{learn:,.0f} of {every:,.0f} weights learn from private records ({100 * learn / every:.1f} percent)"
    axes = _bars(list(shares), counts[:, 1], RESTS, title, badge, key=key)
    axes.barh(range(len(counts)), counts[:, 0], color=LEARNS)
    axes.set_xlabel("weights")
    return axes.figure


@styled
def saliency(scores: Any, names: Sequence[str], chosen: Sequence[str], scale: float, *, badge: str) -> Figure:
    """The released score of each candidate matrix, through the network from top to bottom, those chosen darker.

    Args:
        scores: (M,) as released; names: of the matrices, M; chosen: names of those that learn.
        scale: standard deviation of the noise in a score, drawn on each bar.
    """
    key = [
        Patch(color=LEARNS, label="chosen"), Patch(color=RESTS, label="not chosen"),
        Line2D([], [], color=INK, linewidth=1, label=f"noise: ±1 standard deviation, {scale:.3g}"),
    ]  # fmt: skip
    shades = [LEARNS if name in chosen else RESTS for name in names]
    title = f"Saliency as released: {len(chosen)} of {len(names)} matrices are chosen"
    short = [name.removeprefix("net.") for name in names]
    axes = _bars(short, numbers("scores", scores), shades, title, badge, key=key, xerr=scale)
    axes.set_xlabel("noisy score")
    return axes.figure


@styled
def noise_to_signal(layers: Sequence[str], ratios: Any, *, badge: str) -> Figure:
    """Of each layer that DP-SGD trains: the noise of a step over the longest mean clipped gradient there can be.

    Args:
        layers: names, the whole network's last; ratios: one each, above 0, of public constants.
    """
    shades = [colours(["dpgan"])["dpgan"]] * (len(layers) - 1) + [INK]
    title = "Noise to signal of a discriminator's step, by layer"
    note = "expected norm of the noise over the norm that an expected batch of clipped gradients can have at most"
    axes = _bars(layers, numbers("ratios", ratios), shades, title, badge, note=note)
    axes.axvline(1, color=INK, linestyle="--", linewidth=1)
    axes.set_xlabel("noise to signal; at 1 they are as long as each other")
    return axes.figure


def _bars(
    names: Sequence[str], values: Any, shades: Any, title: str, badge: str, xerr: float | None = None, **around: Any
) -> Axes:
    """A named bar for each of `values`, whiskers of `xerr` on them, on a chart of its own."""
    same_length("names", names, values)
    axes = chart(6.4, 0.6 + 0.2 * len(names), title, badge, **around).subplots()
    axes.barh(range(len(names)), values, color=shades, xerr=xerr, error_kw=WHISKER)
    axes.axvline(0, color=INK, linewidth=0.8)
    named_bars(axes, [readable(name) for name in names])
    return axes
