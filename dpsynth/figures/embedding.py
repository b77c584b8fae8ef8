"""Figure of notebook 05: where synthetic images lie among real ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dpsynth.figures.images import NOT_A_RELEASE
from dpsynth.figures.style import PALE, chart, label_name, numbers, readable, same_length, styled


@styled
def tsne(points: Any, labels: Any, is_synthetic: Any, *, badge: str, names: Sequence[str] | None = None) -> Figure:
    """Real and synthetic images in one shared embedding, a panel each; the other set stays in grey behind.

    Args:
        points: (N, 2); labels: (N,) integers, indices into `names` where that is given.
        is_synthetic: (N,) bool.
    Raises:
        ValueError: nothing to draw, or shapes that disagree.
    """
    places = numbers("points", points)
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"points must have the shape (N, 2), not {places.shape}")
    groups = numbers("labels", labels, like=places).astype(int)
    same_length("is_synthetic", is_synthetic, places)
    mask = np.asarray(is_synthetic, dtype=bool)
    said = {group: readable(label_name(names, group), 12) for group in np.unique(groups)}
    shades = dict(zip(said, seaborn.husl_palette(len(said), l=0.6), strict=True))
    title = "Real and synthetic images in one shared t-SNE embedding"
    figure = chart(6.8, 3.4, title, badge, note=NOT_A_RELEASE)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, mine, name in zip(panels, (~mask, mask), ("real", "synthetic"), strict=True):
        axes.scatter(*places[~mine].T, s=6, color=PALE, linewidths=0)
        axes.scatter(*places[mine].T, s=6, color=[shades[group] for group in groups[mine]], linewidths=0)
        for group in np.unique(groups[mine]):
            _name_at(axes, np.median(places[mine & (groups == group)], axis=0), said[group])
        axes.set_title(f"{name} ({mine.sum()})", loc="left")
        axes.set(xticks=[], yticks=[], aspect="equal")
        axes.spines[:].set_visible(False)
    return figure


def _name_at(axes: Any, place: np.ndarray, name: str) -> None:
    halo = [withStroke(linewidth=2.5, foreground="white")]
    look = {"fontweight": "bold", "path_effects": halo, "parse_math": False}
    axes.text(*place, name, ha="center", va="center", **look)
