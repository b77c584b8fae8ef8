"""Figures made of images: rows of pictures on white, without axes."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from dpsynth.figures.checks import label_name, numbers, same_length
from dpsynth.figures.style import MARGIN, Picture, page, readable, styled

COLUMNS = 16  # images of a row of `grid`
GAP = 0.05  # inches between images
CAPTION = 0.17  # inches below a row for its captions
WIDEST = 14.0  # inches of a page, before its images become smaller
LETTER = 0.085  # inches of width that a letter of a row's name takes
NOT_A_RELEASE = "evaluation on a public benchmark, not a release"


class Row(NamedTuple):
    """Images of one row, (H, W, 3) uint8 each, its name at the left, captions below the images, or none."""

    images: Sequence[np.ndarray]
    name: str = ""
    captions: Sequence[str] = ()


@styled
def grid(
    images: Any, labels: Any = None, names: Sequence[str] | None = None, *, badge: str, title: str = "Images",
    captions: Sequence[str] | None = None,
) -> Figure:  # fmt: skip
    """Images in rows: of several labels the first 16 each; of one, or without, all in reading order.

    Args:
        images: (N, C, H, W) uint8, C 1 or 3; labels: (N,) integers, indices into `names` where that is given.
        names: of the labels; title: what they are; captions: N texts, one below each image.
    """
    pictures = _pictures("images", images)
    same_length("captions", captions or pictures, pictures)
    groups = numbers("labels", np.zeros(len(pictures)) if labels is None else labels, like=pictures).astype(int)
    if len(np.unique(groups)) == 1:
        places, name = np.arange(len(pictures)), "" if labels is None else label_name(names, groups[0])
        pieces = [(name if part[0] == 0 else "", part) for part in np.split(places, places[COLUMNS::COLUMNS])]
    else:
        pieces = [(label_name(names, g), np.flatnonzero(groups == g)[:COLUMNS]) for g in np.unique(groups)]
    rows = [Row(pictures[i], name, [captions[j] for j in i] if captions else ()) for name, i in pieces]
    return _mosaic(rows, title, badge)


@styled
def voted(examples: Mapping[str, Any], *, badge: str) -> Figure:
    """The public classes that each private label voted for, most votes first, by one example image each.

    Args:
        examples: private label -> (k, C, H, W) uint8 or k of (C, H, W); k may differ.
    """
    return _mosaic(_rows(examples), "Public classes voted for by each private label, one example each", badge)


@styled
def neighbours(synthetic: Any, nearest_real: Any, distances: Any, *, badge: str) -> Figure:
    """Synthetic images above their nearest real ones, with the distance between them.

    Args:
        synthetic, nearest_real: (N, C, H, W) uint8, pair by pair; distances: (N,), in units of the caller.
    """
    above, below = _pictures("synthetic", synthetic), _pictures("nearest_real", nearest_real)
    same_length("nearest_real", below, above)
    captions = [f"{d:#.3g}" for d in numbers("distances", distances, like=above)]
    rows = []
    for start in range(0, len(above), 10):
        part = slice(start, start + 10)
        rows += [Row(above[part], "synthetic"), Row(below[part], "nearest real", captions[part])]
    title = "Synthetic images, their nearest real ones, and the distance between them"
    return _mosaic(rows, title, badge, note=NOT_A_RELEASE)


@styled
def hero(stages: Mapping[str, Any], *, badge: str, classes: Sequence[str] = ()) -> Figure:
    """One row of images a stage, one column a class: what each stage made of the same ten classes.

    Args:
        stages: name -> images (N, C, H, W) uint8, one a class; classes: N headings of the columns.
    """
    rows = _rows(stages)
    for row in rows:
        same_length(row.name, row.images, classes or rows[0].images)
    return _mosaic(rows, "From real images to private synthetic ones, stage by stage", badge, headings=classes)


@styled
def beside(sets: Mapping[str, Any], *, title: str, badge: str, classes: Sequence[str] = ()) -> Figure:
    """Images of several sets below one another, a few rows of each, one column a class.

    Args:
        sets: name -> images (k, N, C, H, W) uint8, k rows of N; classes: N headings of the columns.
    """
    rows = []
    for name, images in sets.items():
        rows += [Row(_pictures(name, part), "" if number else name) for number, part in enumerate(images)]
    if not rows:
        raise ValueError("there is nothing to draw: no set of images")
    return _mosaic(rows, title, badge, headings=classes)


@styled
def progress(snapshots: Mapping[str, Any], *, badge: str) -> Figure:
    """What a generator drew along its training, or what a population looked like: one row a moment, in order of name.

    Args:
        snapshots: caption -> images (N, C, H, W) uint8, the same latents or labels in each.
    """
    rows = _rows(dict(sorted(snapshots.items())))
    return _mosaic(rows, "Synthetic images along training, equally many of each label", badge)


def _rows(images: Mapping[str, Any]) -> list[Row]:
    """A row for each name, of its images (N, C, H, W)."""
    if not images:
        raise ValueError("there is nothing to draw: no row of images")
    return [Row(_pictures(name, pictures), name) for name, pictures in images.items()]


def _mosaic(rows: Sequence[Row], title: str, badge: str, *, note: str = "", headings: Sequence[str] = ()) -> Picture:
    """The rows below one another; all in inches, on one invisible pair of axes that fills the page."""
    names = [textwrap.fill(readable(row.name, 60), 16, break_long_words=False, break_on_hyphens=False) for row in rows]
    left = MARGIN + max(LETTER * max(map(len, name.split("\n"))) + (0.1 if name else 0) for name in names)
    count = max(len(row.images) for row in rows)
    tall, wide = rows[0].images[0].shape[:2]
    side = max(0.55, min(max(tall, wide) / 70, 64 / 70, (WIDEST - left) / count))
    wide, tall = wide * side / max(tall, wide), tall * side / max(tall, wide)
    width = max(left + count * (wide + GAP) + MARGIN, 3.0)
    top = CAPTION if headings else 0
    height = top + sum(tall + GAP + (CAPTION if row.captions else 0) for row in rows)
    figure, free = page(width, height, title, badge, note=note)
    axes = figure.add_axes(free)
    for column, heading in enumerate(headings):
        _caption(axes, left + column * (wide + GAP) + wide / 2, top - 0.03, wide, heading, va="bottom")
    for row, name in zip(rows, names, strict=True):
        axes.text(left - 0.08, top + tall / 2, name, ha="right", va="center", parse_math=False)
        for column, image in enumerate(row.images):
            x = left + column * (wide + GAP)
            axes.imshow(image, extent=(x, x + wide, top + tall, top), aspect="auto")
            if row.captions:
                _caption(axes, x + wide / 2, top + tall + 0.02, wide, row.captions[column], va="top")
        top += tall + GAP + (CAPTION if row.captions else 0)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure


def _caption(axes: Any, x: float, y: float, room: float, text: str, va: str) -> None:
    """A text in `room` inches: smaller where it is a little too long, else cut."""
    size = min(7, max(5.5, 7 * room / (0.062 * max(1, len(text)))))
    short = readable(text, max(1, int(room / (0.062 * size / 7) + 1e-6)))
    axes.text(x, y, short, ha="center", va=va, fontsize=size, parse_math=False)


def _pictures(name: str, images: Any) -> np.ndarray:
    """(N, C, H, W) uint8, grey or colour -> (N, H, W, 3)."""
    if len(images) == 0:
        raise ValueError(f"there is nothing to draw: {name} is empty")
    array = np.stack([np.asarray(image) for image in images])
    if array.ndim != 4 or array.shape[1] not in (1, 3) or array.dtype != np.uint8:
        raise ValueError(
            f"{name} must be uint8 images of shape (N, 1, H, W) or (N, 3, H, W), not {array.dtype} {array.shape}"
        )
    return np.broadcast_to(array.transpose(0, 2, 3, 1), (*array.shape[:1], *array.shape[2:], 3))
