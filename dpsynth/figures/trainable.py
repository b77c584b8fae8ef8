"""Figures of notebook 04: which weights of the network learn from the private records."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dpsynth.figures.style import INK, chart, numbers, readable, same_length, styled

LEARNS, RESTS = "#0072b2", "#b5cde0"


@styled
def trainable(shares: Mapping[str, tuple[int, int]], *, badge: str) -> Figure:
    """Weights of each part of the network, and how many of them learn.

    Args:
        shares: name of the part -> (weights that learn, all its weights), as `models.trainable.by_part` has them.
    Raises:
        ValueError: nothing to draw.
    """
    counts = numbers("shares", list(shares.values()))
    learn, every = counts.sum(0)
    key = [Patch(color=LEARNS, label="learn"), Patch(color=RESTS, label="stay as they are")]
    title = f"{learn:,.0f} of {every:,.0f} weights learn from private records ({100 * learn / every:.1f} percent)"
    axes = _bars(list(shares), counts[:, 1], [RESTS] * len(counts), title, badge, key)
    axes.barh(range(len(counts)), counts[:, 0], color=LEARNS)
    axes.set_xlabel("weights")
    return axes.figure


@styled
def saliency(scores: Any, names: Sequence[str], chosen: Sequence[str], scale: float, *, badge: str) -> Figure:
    """The released score of each candidate matrix, through the network from top to bottom, those chosen darker.

    Args:
        scores: (M,) as released; names: of the matrices, M; chosen: names of those that learn.
        scale: standard deviation of the noise in a score, drawn on each bar.
    Raises:
        ValueError: nothing to draw, or counts that disagree.
    """
    values = numbers("scores", scores)
    same_length("names", names, values)
    key = [
        Patch(color=LEARNS, label="chosen"), Patch(color=RESTS, label="not chosen"),
        Line2D([], [], color=INK, linewidth=1, label=f"noise: ±1 standard deviation, {scale:.3g}"),
    ]  # fmt: skip
    shades = [LEARNS if name in chosen else RESTS for name in names]
    title = f"Saliency as released: {len(chosen)} of {len(names)} matrices are chosen"
    axes = _bars([name.removeprefix("net.") for name in names], values, shades, title, badge, key, scale)
    axes.set_xlabel("noisy score")
    return axes.figure


def _bars(names, values, shades, title, badge, key, scale=None) -> Any:
    figure = chart(6.0, 0.5 + 0.19 * len(names), title, badge, key=key)
    axes = figure.subplots()
    axes.barh(range(len(names)), values, color=shades, xerr=scale, error_kw={"ecolor": INK, "elinewidth": 1})
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(names)), [readable(name) for name in names], parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    return axes
