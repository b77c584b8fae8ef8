"""Figure of notebook 05: where synthetic images lie among real ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from dpsynth.figures.checks import label_name, numbers, same_length
from dpsynth.figures.images import NOT_A_RELEASE
from dpsynth.figures.style import PALE, chart, readable, styled

NAMED = 20  # labels that a key names, of more: the first


@styled
def tsne(
    points: Any, labels: Any, is_synthetic: Any, names: Sequence[str] | None = None, *, badge: str
) -> Figure:  # fmt: skip
    """Real and synthetic images in one shared embedding, a panel each; the other set stays in grey behind.

    Args:
        points: (N, 2); labels: (N,) integers; is_synthetic: (N,) bool; names: of the labels; a single name, which is
            that of images without labels, is not written.
    """
    places = numbers("points", points)
    groups = numbers("labels", labels, like=places).astype(int)
    same_length("is_synthetic", is_synthetic, places)
    mask = np.asarray(is_synthetic, dtype=bool)
    shades = _shades(groups)
    called = {group: label_name(names, group) for group in shades if names is None or len(names) > 1}
    short = all(len(name) < 3 for name in called.values())  # as digits: they are written where their images are
    key = [] if short else [
        Line2D([], [], color=shades[group], marker="o", linestyle="", markersize=4, label=readable(name))
        for group, name in list(called.items())[:NAMED]
    ]  # fmt: skip
    halo = [withStroke(linewidth=2.5, foreground="white")]
    centred = {"ha": "center", "va": "center", "fontweight": "bold", "path_effects": halo, "parse_math": False}
    title = "Real and synthetic images in one shared t-SNE embedding"
    figure = chart(6.8, 3.4, title, badge, note=NOT_A_RELEASE, key=key)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, shown, name in zip(panels, (~mask, mask), ("real", "synthetic"), strict=True):
        axes.scatter(*places[~shown].T, s=6, color=PALE, linewidths=0)
        axes.scatter(*places[shown].T, s=6, color=[shades[group] for group in groups[shown]], linewidths=0)
        for group in {*groups[shown]} & called.keys() if short else ():
            x, y = np.median(places[shown & (groups == group)], axis=0)
            axes.text(x, y, called[group], **centred)
        axes.set_title(f"{name} ({shown.sum()})", loc="left")
        axes.set(xticks=[], yticks=[], aspect="equal")
        axes.spines[:].set_visible(False)
    return figure


def _shades(groups: np.ndarray) -> dict[int, Any]:
    """A colour for each label: up to ten from a palette of ten, which are told apart better."""
    every = np.unique(groups)
    few = len(every) <= 10
    palette = seaborn.color_palette("tab10", len(every)) if few else seaborn.husl_palette(len(every), l=0.6)
    return dict(zip(every, palette, strict=True))


@styled
def embeddings(
    points: Any, labels: Any, sets: Sequence[str], names: Sequence[str] | None = None, *, title: str, badge: str
) -> Figure:
    """Several sets of images in one shared embedding, a panel each, the others in grey behind.

    Args:
        points: (N, 2); labels: (N,) integers; sets: N names, of the set that each image is of; names: of the labels.
    """
    places = numbers("points", points)
    groups = numbers("labels", labels, like=places).astype(int)
    same_length("sets", sets, places)
    of = np.asarray(sets)
    every = list(dict.fromkeys(sets))
    shades = np.asarray(seaborn.color_palette("tab10", 10))
    key = [
        Line2D([], [], color=shades[g % 10], marker="o", linestyle="", markersize=4, label=label_name(names, g))
        for g in np.unique(groups)[:NAMED]
    ]
    figure = chart(2.6 * len(every), 2.7, title, badge, note=NOT_A_RELEASE, key=key)
    for axes, name in zip(figure.subplots(1, len(every), squeeze=False)[0], every, strict=True):
        shown = of == name
        axes.scatter(*places[~shown].T, s=3, color=PALE, linewidths=0)
        axes.scatter(*places[shown].T, s=5, color=shades[groups[shown] % 10], linewidths=0)
        axes.set_title(f"{name} ({shown.sum()})", loc="left")
        axes.set(xticks=[], yticks=[], aspect="equal")
        axes.spines[:].set_visible(False)
    return figure
