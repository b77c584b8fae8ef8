"""How every figure looks: its page, fonts and colours, and how words and numbers enter it."""

import functools
import io
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import seaborn
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

# Both come with matplotlib; the second draws what the first cannot.
FONTS = ("DejaVu Sans", "STIXGeneral")
INK, GREY, PALE, BLUE = "#222222", "#8c8c8c", "#dedede", "#0072b2"
WHISKER = {"ecolor": INK, "elinewidth": 1}
STYLE = {
    **seaborn.axes_style("ticks"),
    **seaborn.plotting_context("paper"),
    "font.family": list(FONTS), "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9,
    "legend.fontsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "text.color": INK, "axes.labelcolor": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.8, "legend.frameon": False,
}  # fmt: skip
DPI, SCREEN = 144, 96  # pixels an inch, of the file and of what a notebook shows
MARGIN = 0.12  # inches, around the page

# Name and colour of each row of the tables: Okabe and Ito's palette, which the colour-blind tell apart, then Tol's.
ROWS = {
    "rpgen": ("RPGen", "#d55e00"),
    "privimage_d": ("PrivImage+D", "#0072b2"),
    "pdp_diffusion": ("PDP-Diffusion", "#009e73"),
    "dpdm": ("DPDM", "#cc79a7"),
    "dp_ldm": ("DP-LDM", "#44aa99"),
    "dp_sapf": ("DP-SAPF", "#999933"),
    "dp_feta": ("DP-FETA", "#aa4499"),
    "dpgan": ("DPGAN", "#7f3c8d"),
    "dpgan_p": ("DPGAN-p", "#b07aa1"),
    "privimage_g": ("PrivImage+G", "#1d3f72"),
    "dp_mepf": ("DP-MEPF", "#a07000"),
    "dpsda": ("DPSDA", "#4b6b2f"),
    "nonprivate": ("non-private twin", "#56b4e9"),
    "pretrained": ("pre-trained only", "#e69f00"),
    "floor_public": ("corpus alone, no model", "#8c8c8c"),
    "real": ("real images", "#222222"),
}
# For other names: of Tol's muted set.
OTHERS = ("#332288", "#cc6677", "#117733", "#ddaa33", "#88ccee", "#882255", "#661100")

P = ParamSpec("P")


def get_ipython() -> Any:
    """The shell of a notebook; None elsewhere, where IPython need not be there."""
    ipython = sys.modules.get("IPython")
    return ipython and ipython.get_ipython()


Rectangle = tuple[float, float, float, float]


class Picture(Figure):
    """A figure that a notebook shows by itself, once a cell: where it is drawn, or where a later cell names it."""

    _cell: int | None = None

    def png(self) -> bytes:
        """The whole page, `DPI` pixels an inch."""
        target = io.BytesIO()
        self.savefig(target, format="png", dpi=DPI)
        return target.getvalue()

    def _ipython_display_(self) -> None:
        from IPython.display import Image, display  # here: only a notebook has need of it

        cell = get_ipython().execution_count
        if cell != self._cell:
            self._cell = cell
            title = " ".join(self.texts[0].get_text().split())
            display(Image(self.png(), width=round(self.get_figwidth() * SCREEN), alt=title))


def styled(draw: Callable[P, Picture]) -> Callable[P, Picture]:
    """Run `draw` under the house style, and lay its figure out before that style is gone again."""

    @functools.wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> Picture:
        with matplotlib.rc_context(STYLE):
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
        if get_ipython():
            figure._ipython_display_()
        return figure

    return in_style


def page(
    width: float, height: float, title: str, badge: str, *, note: str = "", key: Sequence[Artist] = ()
) -> tuple[Picture, Rectangle]:
    """An empty figure, and where its axes go: `width` by `height` inches, with title and badge around them.

    Args:
        note: a line under the title, for what must be said with it; key: handles of a legend below that.
    Returns:
        The figure, and (left, bottom, width, height) of the free part in figure fractions.
    """
    title, note, badge = (_filled(s, width, w) for s, w in ((title, 0.086), (note, 0.068), (badge, 0.056)))
    note_top = MARGIN + 0.19 * len(title.splitlines())
    key_top = note_top + 0.15 * len(note.splitlines())
    columns = max(1, int(width / 1.9))
    foot = 0.19 + 0.11 * len(badge.splitlines())
    tall = key_top + 0.2 * -(-len(key) // columns) + 0.06 + height + foot
    figure = Picture(figsize=(width, tall), dpi=DPI, facecolor="white")
    at = {"x": MARGIN / width, "parse_math": False}
    figure.text(y=1 - MARGIN / tall, s=title, va="top", fontsize=10, fontweight="bold", linespacing=1.3, **at)
    figure.text(y=0.09 / tall, s=badge, va="bottom", fontsize=6.5, color=GREY, **at)
    if note:
        figure.text(y=1 - note_top / tall, s=note, va="top", fontsize=8, color=GREY, **at)
    if key:
        figure.legend(
            handles=list(key), loc="upper left", bbox_to_anchor=(MARGIN / width, 1 - key_top / tall),
            ncols=columns, borderaxespad=0, borderpad=0.2, handlelength=1.6, columnspacing=1.4,
        )  # fmt: skip
    return figure, (0, foot / tall, 1, height / tall)


def chart(width: float, height: float, title: str, badge: str, **kwargs: Any) -> Picture:
    """A `page` for axes with ticks and labels: its free part is shared out among them when it is laid out."""
    figure, (_, bottom, _, share) = page(width, height, title, badge, **kwargs)
    inset = MARGIN / 2 / width
    figure.set_layout_engine("constrained", rect=(inset, bottom, 1 - 2 * inset, share), w_pad=0.06, h_pad=0.05)
    return figure


def named_bars(axes: Axes, names: Sequence[str], **text: Any) -> None:
    """Horizontal bars at 0, 1, ... have these names, the first on top."""
    axes.set_yticks(range(len(names)), names, parse_math=False, **text)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name: its own for a row of the tables, else the next of the others."""
    names = list(dict.fromkeys(names))
    unknown = [name for name in names if name not in ROWS]
    return {n: ROWS[n][1] if n in ROWS else OTHERS[unknown.index(n) % len(OTHERS)] for n in names}


def called(name: str, width: int = 24) -> str:
    """What a row of the tables is called in figures; a name that we do not know, in at most `width` characters."""
    return ROWS[name][0] if name in ROWS else readable(name, width)


def readable(text: Any, width: int = 24) -> str:
    """`text` in at most `width` characters; one that no font of ours draws is spelt as its code point."""
    spelt = "".join(c if ord(c) in _drawn() else f"U+{ord(c):04X}" for c in str(text))
    return spelt if len(spelt) <= width else spelt[: width - 1].rstrip() + "…"


def _filled(text: str, width: float, character: float) -> str:
    return textwrap.fill(readable(text, 1000), max(10, int((width - 2 * MARGIN) / character)))


@functools.cache
def _drawn() -> frozenset[int]:
    files = (Path(findfont(family)) for family in FONTS)
    return frozenset(code for file in files for code in FT2Font(str(file)).get_charmap())
