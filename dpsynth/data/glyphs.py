"""The public glyphs: characters drawn from matplotlib's fonts as MNIST's digits were drawn from forms.

White on black; the longer side fills about 20 pixels of 28 and the centre of mass lies near the middle, as
published for MNIST (LeCun et al. 1998, "Gradient-based learning applied to document recognition", III.A).
Slant, aspect, size, place and pen are random. Every coin comes from a fixed seed: one fixed public data set.
"""

import functools
import string
import unicodedata
from pathlib import Path as File
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.ft2font import FT2Font, LoadFlags
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, IdentityTransform
from scipy.ndimage import gaussian_filter

SIZE = 28  # pixels a side
BOX = 20  # pixels that the longer side of a character fills
PER_CLASS = 40
SEED = 1998
LETTERS, SYMBOLS = 700, 300  # classes; the ten digits count as letters
NUMBERS = 21  # classes of both kinds that are numbers to Unicode, of any script

MAIN = "DejaVuSans"  # holds every class; the others, those they have
FACES = tuple(
    family + style
    for family, styles in {
        MAIN: ("", "-Bold", "-Oblique", "-BoldOblique"),
        "DejaVuSerif": ("", "-Bold", "-Italic", "-BoldItalic"),
        "DejaVuSansMono": ("", "-Bold", "-Oblique", "-BoldOblique"),
        "STIXGeneral": ("", "Bol", "Italic", "BolIta"),
    }.items()
    for style in styles
)
FRAMES = range(0x2500, 0x25A0)  # box drawing and block elements: parts of tables, not of writing

LIKENESS = 0.96  # cosine of two blurred standard drawings from which on they are one class
ROTATION = 8.0  # degrees, standard deviation
SHEAR = (0.1, 0.2)  # mean and standard deviation: hands lean to the right
ASPECT = 0.24  # standard deviation of the logarithm of width over height
ZOOM = (0.9, 1.05)  # of BOX
SHIFT = 0.7  # pixels, standard deviation a side
PEN = (1.5, 3.2)  # mean width of a stroke, pixels
PEN_CHANGE = (-0.5, 2.5)  # pixels that an outline may be thinned or thickened by: thinner breaks strokes


class Outline(NamedTuple):
    """Closed polygons, one after the other."""

    points: np.ndarray  # (P, 2), y upwards; each polygon ends on its first point
    codes: np.ndarray  # (P,) matplotlib.path codes

    @property
    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        inside = self.codes[1:] != Path.MOVETO
        return self.points[:-1][inside], self.points[1:][inside]

    @property
    def pen(self) -> float:
        """Mean stroke width, w of the bar w by L with the outline's area wL and perimeter 2(w + L)."""
        start, end = self._edges
        area, half = abs(_cross(start, end).sum()) / 2, np.hypot(*(end - start).T).sum() / 2
        return float(half - np.sqrt(max(half**2 - 4 * area, 0))) / 2

    @property
    def centre(self) -> np.ndarray:
        """Centre of mass, by the shoelace formula (holes turn the other way); without area, of the box."""
        start, end = self._edges
        cross = _cross(start, end)
        if abs(cross.sum()) < 1e-9:
            return (self.points.min(0) + self.points.max(0)) / 2
        return ((start + end) * cross[:, None]).sum(0) / (3 * cross.sum())


class Hand(NamedTuple):
    """How a character is written: degrees, shear, logarithm of width over height, part of BOX, and pixels."""

    angle: float
    shear: float
    aspect: float
    zoom: float
    pen: float
    right: float
    up: float


def random_hand(rng: np.random.Generator) -> Hand:
    """One hand of those that the glyphs are written by."""
    form = rng.normal(0, ROTATION), rng.normal(*SHEAR), rng.normal(0, ASPECT)
    return Hand(*form, rng.uniform(*ZOOM), rng.uniform(*PEN), *rng.normal(0, SHIFT, 2))


def write(character: str, face: int, hand: Hand) -> np.ndarray:
    """One character in one hand, (28, 28) uint8, in the face number `face`, counted around, of those that draw it."""
    outlines = _outlines(character)
    return _drawing(outlines[face % len(outlines)], hand)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


@functools.cache
def characters() -> tuple[str, ...]:
    """The 1,000 classes, by code point, chosen by rule.

    Candidates are what MAIN draws of letters, digits, punctuation and symbols, without what Unicode composes
    of others (accented letters, superscripts). Digits come first, then what most faces draw. One that, fitted
    to the box, looks like a character already taken is left out (A of three alphabets; c and C).
    """
    candidates = [chr(code) for code in _codes(MAIN) if _is_candidate(chr(code))]
    popularity = {c: sum(ord(c) in _codes(face) for face in FACES) for c in candidates}
    candidates.sort(key=lambda c: (c not in string.digits, -popularity[c], c))
    looks = np.stack([_look(_outline(MAIN, c)) for c in candidates])
    alike = looks @ looks.T >= LIKENESS
    room = {True: LETTERS, False: SYMBOLS}
    taken = []
    for row, character in enumerate(candidates):
        is_letter = unicodedata.category(character) in ("Lu", "Ll", "Lo", "Lm", "Nd")
        if room[is_letter] and not alike[row, taken].any():
            taken.append(row)
            room[is_letter] -= 1
    return tuple(sorted(candidates[row] for row in taken))


def render(character: str, n: int) -> np.ndarray:
    """`n` drawings of one character, (n, 28, 28) uint8, white on black; of more, the first n are the same.

    Raises:
        ValueError: no face draws the character.
    """
    outlines = _outlines(character)
    rng = np.random.default_rng([SEED, ord(character)])
    return np.stack([_drawing(outlines[rng.integers(len(outlines))], random_hand(rng)) for _ in range(n)])


@functools.cache
def _outlines(character: str) -> list[Outline]:
    outlines = [outline for face in FACES if (outline := _outline(face, character)) is not None]
    if not outlines:
        raise ValueError(f"no font that matplotlib ships draws {character!r}")
    return outlines


def _is_candidate(character: str) -> bool:
    category, code = unicodedata.category(character), ord(character)
    drawn = category[0] in "LNPS" and _outline(MAIN, character) is not None
    return drawn and not unicodedata.decomposition(character) and code not in FRAMES


@functools.cache
def _font(face: str) -> FT2Font:
    font = FT2Font(str(File(matplotlib.get_data_path(), "fonts", "ttf", f"{face}.ttf")))
    font.set_size(100, 72)
    return font


@functools.cache
def _codes(face: str) -> frozenset[int]:
    return frozenset(_font(face).get_charmap())


def _outline(face: str, character: str) -> Outline | None:
    """What `face` draws for `character`, curves flattened at 100 pixels an em; None if nothing."""
    font = _font(face)
    if ord(character) not in _codes(face):
        return None
    font.load_char(ord(character), flags=LoadFlags.NO_HINTING)
    points, codes = font.get_path()
    polygons = [p for p in Path(points, codes).to_polygons() if len(p) > 2] if len(points) else []
    if not polygons:
        return None
    return Outline(
        np.concatenate(polygons),
        np.concatenate([[Path.MOVETO, *[Path.LINETO] * (len(p) - 2), Path.CLOSEPOLY] for p in polygons]),
    )


def _drawing(outline: Outline, hand: Hand) -> np.ndarray:
    angle, aspect = np.deg2rad(hand.angle), np.exp(hand.aspect / 2)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotation @ np.array([[1, hand.shear], [0, 1]]) @ np.diag([aspect, 1 / aspect])
    fitted = outline._replace(points=outline.points @ matrix.T)
    return _draw(*_fit(fitted, BOX * hand.zoom, hand.pen, np.array([hand.right, hand.up])))


def _look(outline: Outline) -> np.ndarray:
    """The standard drawing, blurred so that a pixel's shift counts for little, as a unit vector (784,)."""
    look = gaussian_filter(_draw(*_fit(outline, BOX, 2.5, np.zeros(2))).astype(float), 1).ravel()
    return look / np.linalg.norm(look)


def _fit(outline: Outline, box: float, pen: float, shift: np.ndarray) -> tuple[Outline, float]:
    """Scale the longer side, strokes included, to `box` pixels; shift the centre of mass off the middle.

    Returns the outline in pixels and the width of the line along it that makes strokes `pen` pixels wide.
    """
    extent = np.ptp(outline.points, axis=0).max()
    share = min(outline.pen / extent, 0.9)  # solid shapes have no strokes
    line = np.clip((pen - box * share) / (1 - share), *PEN_CHANGE)  # solves line + share (box - line) = pen
    outline = outline._replace(points=outline.points * (box - line) / extent)
    offset = SIZE / 2 - outline.centre + shift
    margin = 1 + max(line, 0) / 2
    low, high = margin - outline.points.min(0), SIZE - margin - outline.points.max(0)
    return outline._replace(points=outline.points + np.clip(offset, low, high)), line


def _draw(outline: Outline, line: float) -> np.ndarray:
    """(28, 28) uint8: the outline filled; a line of `line` pixels along it, black where negative."""
    renderer = RendererAgg(SIZE, SIZE, 72)
    pen = renderer.new_gc()
    pen.set_snap(False)
    pen.set_linewidth(0)
    renderer.draw_path(pen, Path.unit_rectangle(), Affine2D().scale(SIZE), (0.0, 0.0, 0.0))
    pen.set_linewidth(abs(line))
    pen.set_foreground("white" if line > 0 else "black")
    pen.set_joinstyle("round")
    renderer.draw_path(pen, Path(outline.points, outline.codes), IdentityTransform(), (1.0, 1.0, 1.0))
    return np.asarray(renderer.buffer_rgba())[:, :, 0].copy()
