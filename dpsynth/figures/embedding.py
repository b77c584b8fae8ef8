"""Figure of notebook 05: where synthetic images lie among real ones."""

from typing import Any

import numpy as np
import seaborn
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dpsynth.figures.checks import numbers, same_length
from dpsynth.figures.images import NOT_A_RELEASE
from dpsynth.figures.style import PALE, chart, styled


@styled
def tsne(points: Any, labels: Any, is_synthetic: Any, *, badge: str) -> Figure:
    """Real and synthetic images in one shared embedding, a panel each; the other set stays in grey behind.

    Args:
        points: (N, 2); labels: (N,) integers; is_synthetic: (N,) bool.
    """
    places = numbers("points", points)
    groups = numbers("labels", labels, like=places).astype(int)
    same_length("is_synthetic", is_synthetic, places)
    mask = np.asarray(is_synthetic, dtype=bool)
    every = np.unique(groups)
    shades = dict(zip(every, seaborn.husl_palette(len(every), l=0.6), strict=True))
    halo = [withStroke(linewidth=2.5, foreground="white")]
    centred = {"ha": "center", "va": "center", "fontweight": "bold", "path_effects": halo, "parse_math": False}
    title = "Real and synthetic images in one shared t-SNE embedding"
    figure = chart(6.8, 3.4, title, badge, note=NOT_A_RELEASE)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, shown, name in zip(panels, (~mask, mask), ("real", "synthetic"), strict=True):
        axes.scatter(*places[~shown].T, s=6, color=PALE, linewidths=0)
        axes.scatter(*places[shown].T, s=6, color=[shades[group] for group in groups[shown]], linewidths=0)
        for group in np.unique(groups[shown]):
            x, y = np.median(places[shown & (groups == group)], axis=0)
            axes.text(x, y, str(group), **centred)
        axes.set_title(f"{name} ({shown.sum()})", loc="left")
        axes.set(xticks=[], yticks=[], aspect="equal")
        axes.spines[:].set_visible(False)
    return figure
