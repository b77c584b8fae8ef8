"""`make site`: the site in build/site/html/, from what was run, docs/ and results/. It runs no notebook but
the one before the story, which is of no run.

What no run has made yet stands as a short page, and is listed at the end with the command that makes it.
"""

import sys
import time

from dpsynth import project, terminal
from dpsynth.mistakes import ended, mistakes
from dpsynth.site.build import build, weights
from dpsynth.site.collect import collect
from dpsynth.site.executed import SCALES, Told


def site() -> None:
    """Collect, build, and say what came out."""
    start = time.perf_counter()
    with mistakes():
        project.enter()
        folder = project.root().absolute() / "build" / "site"
        told = collect(folder / "source")
        build(folder / "source", project.folder().absolute() / "site", folder / "html")
    heavy = weights(folder / "html")
    page = max(heavy, key=heavy.__getitem__)
    print(
        f"{len(heavy)} pages in {folder / 'html'}, made in {time.perf_counter() - start:.0f} s; the largest is {page} "
        f"with {heavy[page] / 2**20:.1f} MiB"
    )
    for line in lacking(told):
        print(line)


def lacking(told: list[Told]) -> list[str]:
    """What no run of the preferred scale has made, or made from older sources: a line a command, with its pages."""
    lines = []
    for reason, ones in (
        ("not made yet", [one for one in told if one.out is None]),
        ("made at another scale", [one for one in told if one.out and one.scale != SCALES[0]]),
        ("not up to date", [one for one in told if one.stale]),
    ):
        for command in dict.fromkeys(one.command for one in ones):
            names = ", ".join(one.page for one in ones if one.command == command)
            lines.append(f"{reason}: {names}; make it with: {command}")
    return lines


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    terminal.parser("python -m dpsynth.site", __doc__).parse_args(argv)
    return ended(site)


if __name__ == "__main__":
    sys.exit(main())
