"""Which executed notebook a page of the site shows, of all that lie in build/."""

from pathlib import Path
from typing import NamedTuple

from dpsynth import experiments
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.report import results
from dpsynth.runner import execute, pages, primer

EXPERIMENT, STORY_OF, EPSILON, SEED = "table", "rpgen", 10.0, 0
SCALES = ("laptop", "gpu", "paper", "smoke")  # the first that there is


class Told(NamedTuple):
    """A page that shows a run.

    Attributes:
        page: its address; notebook: the name below notebooks/; method: whose run, or none.
        out: the executed notebook; None, if no run has it. scale: of that run. stale: its source has changed since.
    """

    page: str
    notebook: str
    method: str
    out: Path | None
    scale: str
    stale: bool

    @property
    def command(self) -> str:
        """What makes the executed notebook, at the scale that the site prefers."""
        return f"make reproduce METHOD={self.method} EPS={EPSILON:g} SEED={SEED}" if self.method else "make site"


def every() -> list[Told]:
    """The notebook before the story, executed if need be; the story of RPGen; each notebook of one method."""
    before = Told(f"story/{pages.PRIMER}", pages.PRIMER, "", primer.executed(), SCALES[0], False)
    story = [_told(f"story/{name}", name, STORY_OF) for name in pages.pages(STORY_OF)]
    own = {method: next(iter(pages.pages(method))) for method in METHODS if METHODS[method].page}
    return [before, *story] + [_told(f"methods/{method}", name, method) for method, name in own.items()]


def _told(page: str, name: str, method: str) -> Told:
    for scale in SCALES:
        p = run(method, scale)
        out = results.run_folder(p) / f"{Path(name).name}.ipynb"
        if out.exists():
            return Told(page, name, method, out, scale, not execute.is_current(p, Path("notebooks", f"{name}.py"), out))
    return Told(page, name, method, None, SCALES[0], False)


def run(method: str, scale: str) -> Params:
    """The run that the command of a page makes; the data of a scale without its own are the file's."""
    (p,) = experiments.load(experiments.find(EXPERIMENT), scale, method=method, epsilon=EPSILON, seed=SEED).points()
    return p
