"""Write what Sphinx reads: each page from its one source, links rewritten, and the tables of contents."""

import shutil
from collections.abc import Callable
from pathlib import Path

import jupytext
import pandas as pd

from dpsynth.methods import METHODS
from dpsynth.report import itempages
from dpsynth.report.markdown import markdown
from dpsynth.runner import pages
from dpsynth.site import addresses, books, executed, interactive, links, terms, verdicts
from dpsynth.site.executed import Told

SINGLE = ("ARTIFACT.md", "dpsynth/privacy/README.md")
LISTED = ("site/*.md", "site/interactive/*.md", "docs/*.md", "docs/items/*.md", "exercises/*.md")
STATIC = "_static"  # of the folder that Sphinx reads: files that pages load
README = "_readme.md"  # is included in parts, and no page


class Source:
    """The folder that Sphinx reads, as it is filled.

    Attributes:
        files: of each page its file in the folder, all known before the first is written; pictures: place on the
            site -> file of the project.
    """

    def __init__(self, folder: Path, told: list[Told]):
        written = [Path(path).as_posix() for path in SINGLE] + [
            path.as_posix() for pattern in LISTED for path in sorted(Path().glob(pattern))
        ]
        self.folder = folder
        self.texts = {addresses.page_of(path): path for path in written}
        self.files = {page: f"{page}.md" for page in (*self.texts, "methods/index")}
        self.files |= {one.page: f"{one.page}.{'ipynb' if one.out else 'md'}" for one in told}
        self.pictures: dict[str, str] = {}
        self.terms = terms.terms(Path("site/glossary.md").read_text(encoding="utf-8"))

    def write(self, file: str, text: str) -> None:
        """Write one file."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def prose(self, source: str, page: str) -> Callable[[str], str]:
        """What makes of a text of the project's file `source` that of a page, with links and terms."""
        used: set[str] = set()

        def change(text: str) -> str:
            return terms.linked(links.rewritten(text, source, page, self.files, self.pictures), self.terms, used)

        return change


def collect(folder: Path) -> list[Told]:
    """Fill `folder` anew, from the project's folder, which is the working directory; the pages that show runs."""
    shutil.rmtree(folder, ignore_errors=True)
    told = executed.every()
    source = Source(folder, told)
    missing = interactive.write(folder / STATIC / "interactive")
    for page, path in source.texts.items():
        text = Path(path).read_text(encoding="utf-8")
        if not path.startswith("site/"):
            text = links.rewritten(text, path, page, source.files, source.pictures)
        if (lacks := missing.get(page.removeprefix("interactive/"))) and page.startswith("interactive/"):
            text = f"{text.partition('```{raw}')[0]}{_not_made(lacks)}\n"
        source.write(source.files[page], text + _pages_of_folder(source, page))
    for one in told:
        _tell(source, one)
    source.write("methods/index.md", _methods(source))
    readme = Path("README.md").read_text(encoding="utf-8")
    source.write(README, links.rewritten(readme, "README.md", "index", source.files, source.pictures))
    claims = pd.read_csv(itempages.CLAIMS, dtype=str, keep_default_na=False)
    source.write("_verdicts.md", verdicts.summary(claims))
    source.write("_claims.md", verdicts.table(claims, source.files))
    source.write("_contents.md", _contents(source))
    for place, path in source.pictures.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return told


def _tell(source: Source, told: Told) -> None:
    """Write the page of a run, or what stands in its place."""
    notebook = f"notebooks/{told.notebook}.py"
    prose = source.prose(notebook, told.page)
    if told.out:
        source.write(source.files[told.page], books.shown(told, prose))
        return
    cells = jupytext.reads(pages.text(Path(notebook)), fmt="py:percent").cells
    first = next(cell.source for cell in cells if cell.cell_type == "markdown")
    note = (
        f"`{told.command}` runs this notebook at scale `{told.scale}`; `make site` then shows it here, with its code, "
        f"numbers and figures. Its text and code: `{notebook}`."
    )
    title, _, rest = first.partition("\n")
    source.write(source.files[told.page], f"{title}\n\n{_not_made(note)}\n{prose(rest)}\n")


def _not_made(why: str) -> str:
    return f":::{{admonition}} Not made yet\n:class: note\n{why}\n:::"


def _methods(source: Source) -> str:
    """The table of methods: whose paper, and which page tells it."""
    rows = []
    for name, method in METHODS.items():
        page = f"methods/{name}" if method.page else f"story/{pages.STORY[0]}"
        where = (
            f"[a page of its own](../{source.files[page]})" if method.page else f"[the story](../{source.files[page]})"
        )
        rows.append({"method": f"`{name}`", "paper": method.paper, "told by": where})
    text = "The table of methods, as `dpsynth.METHODS` has it. [Results](../results.md) compares them."
    return f"# Methods\n\n{text}\n\n{markdown(pd.DataFrame(rows))}\n\n{_toctree('', _below(source, 'methods/'))}"


def _pages_of_folder(source: Source, page: str) -> str:
    """What the first page of a folder ends with: the table of contents of the others."""
    folder, _, name = page.rpartition("/")
    return f"\n\n{_toctree('', _below(source, f'{folder}/'))}" if name == "index" and folder else ""


def _contents(source: Source) -> str:
    """The tables of contents, a caption each. What no other names is reference."""
    sections = {
        "Start": [page for page in addresses.START if page in source.files],
        "Try it": [*_below(source, "interactive/"), *addresses.LEARNT],
        "The notebooks": [*_below(source, "story/"), "methods/index"],
        "What holds": [page for page in addresses.FOUND if page in source.files],
    }
    listed = {"index", *(page for names in sections.values() for page in names)}
    inner = {page for folder in ("tables/", "methods/", "exercises/") for page in _below(source, folder)}
    sections["Reference"] = sorted(source.files.keys() - listed - inner)
    return "\n\n".join(_toctree(caption, names) for caption, names in sections.items() if names)


def _below(source: Source, folder: str) -> list[str]:
    return sorted(page for page in source.files if page.startswith(folder) and page != f"{folder}index")


def _toctree(caption: str, names: list[str]) -> str:
    options = f":caption: {caption}\n" if caption else ""
    return "\n".join(["```{toctree}", f"{options}:hidden:", "", *(f"/{name}" for name in names), "```"])
