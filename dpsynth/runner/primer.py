"""Execute the notebook before the story: it belongs to no run, and is executed once, until its text or code changes.

`python -m dpsynth.runner.primer`
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from dpsynth import project, terminal
from dpsynth.mistakes import ended, mistakes
from dpsynth.privacy.disk import replacing
from dpsynth.runner import cells, execute, kernel, pages


def executed() -> Path:
    """The executed notebook, in build/."""
    notebook = project.folder() / "notebooks" / f"{pages.PRIMER}.py"
    out, digest = project.root() / "build" / f"{pages.PRIMER}.ipynb", execute.digest_of(None, notebook)
    if execute.stamp(out).get("digest") == digest:
        return out
    book = pages.primer(notebook.parent)
    with kernel.started() as shared:
        NotebookClient(book, km=shared, timeout=None, **cells.hooks(sys.stderr)).execute()
    cells.drop_bars(book)
    book.metadata["dpsynth"] = {"digest": digest, "undrawn": cells.undrawn(book)}
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as file:
        file.write(nbformat.writes(book).encode())
    return out


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    terminal.parser("python -m dpsynth.runner.primer", __doc__).parse_args(argv)

    @mistakes()
    def action() -> None:
        project.enter()
        print(executed())

    return ended(action)


if __name__ == "__main__":
    sys.exit(main())
