"""Figures of the interactive pages: what a plan costs, and how a sample comes out of noise."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from dpsynth.figures.checks import numbers, same_length
from dpsynth.figures.images import beside
from dpsynth.figures.style import BLUE, PALE, chart, named_bars, readable, styled


@styled
def costs(parts: Mapping[str, float], accountants: Mapping[str, float], *, badge: str) -> Figure:
    """What the parts of a plan cost alone, and what all of it costs by each accountant.

    Args:
        parts: epsilon by the name of a mechanism, of each alone; accountants: epsilon of all together, by the name of
            the accountant, the one of record first.
    """
    names = [*parts, *accountants]
    values = numbers("epsilon", [*parts.values(), *accountants.values()])
    title = f"Epsilon of each part alone, and of all together: {values[len(parts)]:.3g}"
    figure = chart(6.4, 0.28 * len(names) + 0.5, title, badge)
    axes = figure.subplots()
    shades = [PALE] * len(parts) + [BLUE] * len(accountants)
    axes.bar_label(axes.barh(range(len(names)), values, color=shades), fmt="%.3g", padding=3, fontsize=8)
    named_bars(axes, [readable(name, 40) for name in names])
    axes.set_xlabel("epsilon")
    axes.margins(x=0.12)
    return figure


def trajectory(noisy: Any, clean: Any, levels: Sequence[float], classes: Sequence[str], *, badge: str) -> Figure:
    """What a sampler holds (x) and its denoiser's guess (D), two rows a noise level, one column a class.

    Args:
        noisy, clean: (S, N, C, H, W) uint8, at each of the S noise levels; classes: N headings.
    """
    same_length("levels", levels, noisy)
    rows = {}
    for level, x, guess in zip(levels, noisy, clean, strict=True):
        rows |= {f"x, sigma {level:.3g}": x[None], f"D, sigma {level:.3g}": guess[None]}
    title = "From noise to an image: what the sampler holds (x), and the denoiser's guess (D)"
    return beside(rows, title=title, badge=badge, classes=classes)
