"""Slides of the lecture: the cells tagged `lecture` of executed notebooks, as one HTML file that loads nothing.

`python -m dpsynth.site.slides [--scale S] [OUT]`

A tagged Markdown cell begins a slide, and what the tagged code cells after it show stands beside it.
docs/teaching.md says how long each takes.
"""

import re
import sys
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import nbformat
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from dpsynth import project, terminal
from dpsynth.experiments import load
from dpsynth.mistakes import ended, mistakes
from dpsynth.report import results
from dpsynth.runner import pages, primer
from dpsynth.site.mathml import mathml

TAG, TITLE = "lecture", "Differentially private image synthesis, in 50 minutes"
ROWS = 12  # of a table that a slide has room for
TEMPLATE = Path(__file__).with_name("slides.html")


class Stop(NamedTuple):
    """A row of the route in docs/teaching.md: a slide, of how many cells, for how many minutes."""

    notebook: str
    title: str
    cells: int
    minutes: int


@dataclass
class Slide:
    """One slide: its prose as HTML, and what its code cells show, as HTML too; `until`: its last minute."""

    notebook: str
    title: str
    text: str
    shown: list[str] = field(default_factory=list)
    until: int = 0


def route(page: str) -> list[Stop]:
    """The table of docs/teaching.md, in order.

    >>> route("| 01 | The idea | 2 | 3 | three horses |")
    [Stop(notebook='01', title='The idea', cells=2, minutes=3)]
    """
    rows = re.findall(r"^\| (\d\d) \| (.+?) \| (\d+) \| (\d+) \|", page, re.MULTILINE)
    return [Stop(notebook, title, int(cells), int(minutes)) for notebook, title, cells, minutes in rows]


def slides(books: dict[str, nbformat.NotebookNode], stops: list[Stop]) -> list[Slide]:
    """A slide for each tagged Markdown cell of the notebooks, by name, in order.

    Raises:
        ValueError: they are not the slides of the route.
    """
    found: list[Slide] = []
    for name, book in books.items():
        for cell in book.cells:
            if TAG not in cell.metadata.get("tags", ()):
                continue
            if cell.cell_type == "markdown":
                title, text = titled(cell.source)
                found.append(Slide(name, title, html(text)))
            else:
                found[-1].shown += with_one_picture(cell.outputs)
    named, planned = [(s.notebook[:2], s.title) for s in found], [(s.notebook, s.title) for s in stops]
    if named != planned:
        first = next(pair for pair in zip([*named, None], [*planned, None], strict=False) if pair[0] != pair[1])
        raise ValueError(f"docs/teaching.md has {first[1]} where the notebooks' tagged cells have {first[0]}")
    minute = 0
    for slide, stop in zip(found, stops, strict=True):
        slide.until = minute = minute + stop.minutes
    return found


def titled(source: str) -> tuple[str, str]:
    """A cell's heading, and the rest of it.

    >>> titled("## The step\\n\\nText.")
    ('The step', 'Text.')
    """
    heading, _, rest = source.partition("\n")
    return heading.lstrip("# "), rest.strip()


def html(markdown: str) -> str:
    """Markdown with LaTeX as HTML with MathML; links are their texts, as a slide has nowhere to go.

    >>> html("so *much*")
    '<p>so <em>much</em></p>'
    """
    reader = MarkdownIt("commonmark").use(dollarmath_plugin, renderer=_mathml, double_inline=True)
    return reader.render(re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", markdown)).strip()


def _mathml(latex: str, options: dict[str, Any]) -> str:
    return mathml(latex.strip(), "block" if options["display_mode"] else "inline")


def with_one_picture(outputs: list[nbformat.NotebookNode]) -> list[str]:
    """A cell's outputs as HTML, of several pictures the first, and how many more there are."""
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    parts = [shown(output) for output in outputs if output not in pictures[1:]]
    return [*parts, f"<p>and {len(pictures) - 1} more in the notebook</p>"] if len(pictures) > 1 else parts


def shown(output: nbformat.NotebookNode) -> str:
    """An output as HTML: a picture inside, a table, code, or text."""
    data = output.get("data", {})
    if "image/png" in data:
        alt = escape(output.metadata.get("image/png", {}).get("alt", ""), quote=True)
        return f'<img src="data:image/png;base64,{data["image/png"].strip()}" alt="{alt}">'
    if "text/html" in data:
        return first_rows(data["text/html"])
    return f"<pre>{escape(output.get('text') or data.get('text/plain', ''))}</pre>"


def first_rows(table: str) -> str:
    """HTML, of a table at most its first `ROWS` rows, and how many more there are."""
    head, body, rest = table.partition("<tbody>")
    rows = re.findall(r"<tr>.*?</tr>", body + rest, re.DOTALL)
    if len(rows) <= ROWS:
        return table
    return f"{head}{body}{''.join(rows[:ROWS])}</tbody></table><p>and {len(rows) - ROWS} more rows in the notebook</p>"


def page(found: list[Slide]) -> str:
    """One HTML file of all slides."""
    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(slides=found, title=TITLE)


def executed(scale: str) -> dict[str, nbformat.NotebookNode]:
    """The executed notebooks of the lecture, by name: the one before the story, and the story of RPGen's run.

    Raises:
        FileNotFoundError: they were not executed.
    """
    (p,) = load("table", scale, method="rpgen", epsilon=10.0, seed=0).points()
    folder = results.run_folder(p)
    if missing := [name for name in pages.STORY if not (folder / f"{name}.ipynb").exists()]:
        command = f"make reproduce METHOD=rpgen EPS=10 SEED=0 SCALE={scale}"
        raise FileNotFoundError(f"{folder}: {missing[0]} was not executed there; {command} does it")
    paths = [primer.executed(), *(folder / f"{name}.ipynb" for name in pages.STORY)]
    return {path.stem: nbformat.read(path, as_version=4) for path in paths}


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = terminal.parser("python -m dpsynth.site.slides", __doc__)
    parser.add_argument("--scale", default="laptop", help="of the run that is shown (laptop)")
    parser.add_argument("out", type=Path, nargs="?", help="the file to write (build/slides.html)")
    given = parser.parse_args(argv)

    @mistakes()
    def action() -> None:
        project.enter()
        stops = route((project.folder() / "docs" / "teaching.md").read_text(encoding="utf-8"))
        out = given.out or project.root() / "build" / "slides.html"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page(slides(executed(given.scale), stops)), encoding="utf-8")
        print(out)

    return ended(action)


if __name__ == "__main__":
    sys.exit(main())
