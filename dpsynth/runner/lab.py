"""Open the pages of a run in JupyterLab, their parameters cells filled.

`python -m dpsynth.runner.lab [--scale S] [--method M] [--epsilon E] [--seed S]`

The copies lie in build/lab/; one that is there already is opened as it is, with its reader's edits. Where the run's
artifacts are finished, as after `make reproduce`, every cell answers at once.
"""

import os
import sys
from pathlib import Path

import nbformat

from dpsynth import device, project, terminal
from dpsynth.methods import row_of
from dpsynth.mistakes import ended, mistakes
from dpsynth.params import Params
from dpsynth.runner import pages, process


def copies(p: Params) -> list[Path]:
    """The pages of `p` as notebooks of a reader's own, in order; those that stand stay as they are."""
    row_of(p)  # which refuses what the method cannot do
    folder = project.root() / "build" / "lab" / p.scale / p.run_name
    folder.mkdir(parents=True, exist_ok=True)
    notebooks = project.folder() / "notebooks"
    primer = [pages.PRIMER] if set(pages.STORY) <= set(pages.pages(p.method)) else []
    opened = []
    for page in [*primer, *pages.pages(p.method)]:
        opened.append(folder / f"{Path(page).name}.ipynb")
        if not opened[-1].exists():
            book = pages.primer(notebooks) if page in primer else pages.read(notebooks / f"{page}.py", p)
            nbformat.write(book, opened[-1])
    return opened


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = terminal.parser("python -m dpsynth.runner.lab", __doc__)
    parser.add_argument("--scale", default="smoke", help="a file of params/scales/ (smoke)")
    parser.add_argument("--method", default="rpgen", help="a row of the table of methods (rpgen)")
    parser.add_argument("--epsilon", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-browser", action="store_true", help="make the copies, name them, and stop")
    given = parser.parse_args(argv)

    @mistakes()
    def action() -> None:
        project.enter()
        device.kind()  # which refuses a GPU that is not there
        opened = copies(Params.at(given.scale, method=given.method, epsilon=given.epsilon, seed=given.seed))
        print(*opened, sep="\n", flush=True)
        if not given.no_browser:
            environment = os.environ | process.ENVIRONMENT | {"DPSYNTH_ROOT": str(project.root().resolve())}
            command = [sys.executable, "-m", "jupyter", "lab", str(opened[0])]
            os.execve(sys.executable, command, environment)

    return ended(action)


if __name__ == "__main__":
    sys.exit(main())
