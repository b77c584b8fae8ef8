"""An executed notebook as the site shows it: text for every picture, code in the page's own colours."""

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup

from dpsynth.site.executed import Told

MEANING = {"smoke": ", which is too small to mean anything"}


def shown(told: Told, prose: Callable[[str], str]) -> str:
    """The executed notebook as .ipynb text for Sphinx.

    Args:
        prose: what becomes of the text of a markdown cell.
    """
    book = nbformat.read(told.out, as_version=4)
    heading = ""
    for cell in book.cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE) or [heading])[-1]
            cell.source = prose(cell.source)
        elif cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_a_place(output)]
            _describe(cell, heading)
            for output in cell.outputs:
                _recolour(output)
    if notes := _notes(told):
        first = book.cells[0]
        title, _, rest = first.source.partition("\n")
        first.source = f"{title}\n\n{notes}\n{rest}"
    book.cells.append(nbformat.v4.new_markdown_cell(_made(told, book.metadata.get("dpsynth", {}))))
    return nbformat.writes(book)


def _describe(cell: nbformat.NotebookNode, heading: str) -> None:
    """Give the cell's pictures the text that their figures have, else the heading above."""
    outputs = [output for output in cell.outputs if "image/png" in output.get("data", {})]
    texts = [output.metadata.get("image/png", {}).get("alt") or f"Figure: {heading}" for output in outputs]
    if texts:
        cell.metadata["mystnb"] = {"image": {"alt": "; ".join(dict.fromkeys(texts))}}


def _is_a_place(output: nbformat.NotebookNode) -> bool:
    """Whether it is but a path on the machine that ran the notebook, which is of no use elsewhere."""
    return output.get("data", {}).get("text/plain", "").startswith("PosixPath(")


def _recolour(output: nbformat.NotebookNode) -> None:
    """Source code that a cell shows comes with colours for a white page: it is highlighted anew, as all code is."""
    html = output.get("data", {}).get("text/html", "")
    if 'class="highlight"' not in html:
        return
    code = BeautifulSoup(html, "html.parser").select_one(".highlight pre").get_text()
    output["data"] = {"text/markdown": f"```python\n{code.rstrip()}\n```"}


def _notes(told: Told) -> str:
    """What the reader must know before: another scale than the site prefers, or an older source."""
    lines = []
    if told.scale != "laptop":
        text = (
            f"Made at scale `{told.scale}`{MEANING.get(told.scale, '')}. `{told.command}` makes it at scale `laptop`."
        )
        lines.append(f":::{{admonition}} Scale: {told.scale}\n:class: warning\n{text}\n:::\n")
    if told.stale:
        text = (
            f"This notebook, or the code that it calls, has changed since it was run. `{told.command}` runs it again."
        )
        lines.append(f":::{{admonition}} Not up to date\n:class: warning\n{text}\n:::\n")
    return "\n".join(lines)


def _made(told: Told, stamp: dict) -> str:
    """The page's last line: which command makes it, of what."""
    commit = f", at commit `{stamp['commit']}`" if stamp.get("commit") else ""
    source = Path("notebooks", f"{told.notebook}.py").as_posix()
    scale = f", scale `{told.scale}`" if told.method else ""
    return f"---\n\n*Made by `{told.command}` from `{source}`{scale}{commit}.*"
