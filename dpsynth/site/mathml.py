"""A Sphinx extension: formulas become MathML when the site is built, and the font for them lies beside the pages.

Browsers draw MathML without a script, and screen readers read it.
"""

import re
import unicodedata
from html import unescape
from importlib import resources
from pathlib import Path
from typing import Any

from docutils import nodes
from fontTools.ttLib import TTFont
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

FONT = "STIXTwoMath-Regular"
# MathML Core, which browsers draw, knows no variant but normal: letters in a script are characters of their own.
VARIANT = re.compile(r' mathvariant="(?P<variant>[a-z-]+)"(?P<between>[^<>]*>)(?P<text>[^<]*)(?=<)')
LICENCE_FIELDS = (0, 13, 14)  # of a font's names: copyright, licence, where the licence stands


def mathml(latex: str, display: str = "inline") -> str:
    """The formula as a `math` element.

    Raises:
        ValueError: it cannot be converted.

    >>> mathml(r"\\sqrt k")
    '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline"><mrow><msqrt><mi>k</mi></msqrt></mrow></math>'
    """
    try:
        return VARIANT.sub(_in_variant, convert(latex, display=display))
    except Exception as error:  # of a dozen classes, without a message as a rule
        raise ValueError(f"the formula {latex!r} cannot be converted to MathML ({type(error).__name__})") from error


def inline(translator: Any, node: nodes.math) -> None:
    """Write a formula in a line of text."""
    _write(translator, node, "inline")


def block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula on lines of its own."""
    _write(translator, node, "block")


def write_font(app: Sphinx, error: Exception | None) -> None:
    """Put the font, compressed, and the licence that its own fields state, among the site's static files."""
    if error:
        return
    folder = Path(app.outdir, "_static")
    with resources.as_file(resources.files("ziamath.fonts") / f"{FONT}.ttf") as file:
        font = TTFont(file)
    names = [str(font["name"].getDebugName(field)) for field in LICENCE_FIELDS]
    (folder / f"{FONT}-licence.txt").write_text("\n\n".join(names) + "\n", encoding="utf-8")
    font.flavor = "woff"
    font.save(folder / f"{FONT}.woff")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer; conf.py names it."""
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    app.connect("build-finished", write_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write(translator: Any, node: nodes.Element, display: str) -> None:
    try:
        translator.body.append(mathml(node.astext(), display))
    except ValueError as error:
        logging.getLogger(__name__).warning(str(error), location=node)
    raise nodes.SkipNode


def _in_variant(match: re.Match) -> str:
    if match["variant"] == "normal":
        return match[0]
    letters = (_letter(letter, match["variant"].upper().replace("-", " ")) for letter in unescape(match["text"]))
    return match["between"] + "".join(letters)


def _letter(letter: str, variant: str) -> str:
    """The letter or digit in a script, if Unicode has it."""
    name = unicodedata.name(letter, "").replace("LATIN ", "").replace("GREEK ", "").replace("LETTER ", "")
    style = variant.replace("DOUBLE STRUCK", "DOUBLE-STRUCK")
    for styled in (f"MATHEMATICAL {style} {name}", f"{style} {name}"):
        try:
            return unicodedata.lookup(styled)
        except KeyError:
            continue
    return letter
