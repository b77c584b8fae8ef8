"""Have Sphinx make the pages; what it warns of is an error, said in sentences."""

import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from dpsynth.mistakes import MISTAKE, Failed

WARNING = re.compile(r"^(?P<path>.*?)(?::(?P<line>\d+))?:? ?(?:WARNING|ERROR|CRITICAL): (?P<message>.*)$")


def build(source: Path, config: Path, html: Path) -> None:
    """Make `html` anew from `source`; the pages of before stand until the new ones are whole.

    Raises:
        Failed: Sphinx warned of something, or failed.
    """
    aside, stream = html.with_suffix(".partial"), io.StringIO()
    static = [str(path) for path in (config / "static", source / "_static") if path.exists()]
    shutil.rmtree(aside, ignore_errors=True)
    with patch_docutils(config), docutils_namespace():
        app = Sphinx(
            source, config, aside, html.with_suffix(".doctrees"), "html", status=None, warning=stream,
            freshenv=True, warningiserror=True, confoverrides={"html_static_path": static},
        )  # fmt: skip
        app.build()
    if problems := sentences(stream.getvalue(), source):
        raise Failed("\n".join(f"error: {problem}" for problem in problems), MISTAKE)
    shutil.rmtree(html, ignore_errors=True)
    aside.rename(html)


def sentences(warnings: str, source: Path) -> list[str]:
    """What Sphinx warned of, a sentence each, that names the page.

    >>> sentences("/s/tables/x.md:3: WARNING: no such target [myst.xref]\\n", Path("/s"))
    ['page tables/x.md, line 3: no such target [myst.xref]']
    """
    told = []
    for line in re.sub(r"\x1b\[[\d;]*m", "", warnings).splitlines():
        if match := WARNING.match(line):
            path = Path(match["path"])
            name = path.relative_to(source).as_posix() if path.is_relative_to(source) else match["path"]
            where = ", ".join([f"page {name}"] * bool(name) + [f"line {match['line']}"] * bool(match["line"]))
            told.append(f"{where}: {match['message']}" if where else match["message"])
        elif line.strip() and told:
            told[-1] += f" {line.strip()}"
    return list(dict.fromkeys(told))


def weights(html: Path) -> dict[str, int]:
    """Bytes of each page with all that it loads, fonts left out: pictures, styles, scripts."""
    return {
        path.relative_to(html).as_posix(): path.stat().st_size + sum(file.stat().st_size for file in _loaded(path))
        for path in sorted(html.rglob("*.html"))
    }


def _loaded(page: Path) -> set[Path]:
    names = set()

    class Names(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            given = dict(attributes)
            if tag in ("img", "script"):
                names.add(given.get("src"))
            elif tag == "link" and given.get("rel") == "stylesheet":
                names.add(given.get("href"))

    Names().feed(page.read_text(encoding="utf-8"))
    files = {
        (page.parent / name.partition("?")[0]).resolve() for name in names if name and not name.startswith("data:")
    }
    return {file for file in files if file.is_file()}
