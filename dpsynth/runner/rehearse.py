"""`dpsynth rehearse FILE`: the runs of a parameter file on public images in the place of the user's own.

Same plan, method, sizes, epsilon and delta; classes of the public set are held out, and play the private images
(`stand_ins`). The result is measured fully, which of a user's own images nobody can, and said in sentences. It costs no
privacy: the private folder is not opened, and not even looked for. It takes about as long as the run, its non-private
twin and a few minutes of measuring.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from dpsynth import experiments, project
from dpsynth.mistakes import mistakes
from dpsynth.pipeline import Run
from dpsynth.report import rehearsals
from dpsynth.report.rehearsal import NAMES
from dpsynth.report.rehearsals import Rehearsal
from dpsynth.runner import estimates, headless
from dpsynth.runner.command import add_axes, axes, privacy_of
from dpsynth.runner.headless import Piece

SHOWN = 6  # classes of a label that are named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `work`."""
    parser.add_argument("file", metavar="FILE", help="name or path of a parameter file of your own images")
    add_axes(parser)
    parser.add_argument(
        "--stand-in", metavar="SET", help="public set that plays your images; by default the file's own"
    )
    parser.add_argument("--minutes", type=headless.minutes, help="stop at a checkpoint before so many are over")


def work(given: argparse.Namespace) -> None:
    """Cast, run, measure, and say what to expect.

    Raises:
        Failed: something cannot be rehearsed, or is out of time.
    """
    with mistakes():
        project.enter()
        points = experiments.load(experiments.find(given.file), given.scale, **axes(given)).points()
        rehearsed = [rehearsals.rehearsal_of(p, given.stand_in) for p in points]
        seen: set = set()
        for each in rehearsed:
            each.run.check(seen)
        for each in rehearsed:
            _introduce(each)
        headless.performed([(each.run, pieces(each.run)) for each in rehearsed], given.minutes)
        for each in rehearsed:
            told = rehearsals.report(each)
            _conclude(each, told, rehearsals.write(each, told))


def pieces(run: Run) -> Iterator[Piece]:
    """The work of a rehearsal in order."""
    for kind, recipe in run.recipes().items():
        yield Piece(kind, partial(run.artifact, kind), recipe.path, steps=True)
    yield Piece("images of every row", partial(rehearsals.samples_of, run), steps=True)
    if recipe := run.recipe("extractor"):
        yield Piece("extractor", partial(run.artifact, "extractor"), recipe.path)
    for row, samples in rehearsals.samples_of(run).items():
        yield Piece(f"measurement of {NAMES[row]} images", partial(rehearsals.measurement, run, row, samples))
    yield Piece("what a classifier of real images sees", partial(rehearsals.named, run))


def _introduce(each: Rehearsal) -> None:
    cast = each.cast
    print(f"\n{rehearsals.ON_PUBLIC} of {each.own.run_name}; {each.own.private} is not opened")
    for label, names in rehearsals.classes_of(each).items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        print(f"  as {label}: {', '.join(names[:SHOWN])}{more}")
    print(f"  {cast.n_records:,} records; {privacy_of(each.run)}")
    for line in rehearsals.caveats(each):
        print(f"  {line}")
    print(f"  on this machine, the private training alone and before it: {estimates.needs_of(each.run)}", flush=True)


def _conclude(each: Rehearsal, told: dict[str, Any], where: Path) -> None:
    print(f"\n{told['what']} of {each.own.run_name}\n")
    print(f"{rehearsals.table(told).round(3).to_string(na_rep='-')}\n")
    print(told["summary"], *told["measured"], *told["advice"], *told["caveats"], sep="\n- ")
    print(f"\nlook at {where / 'samples.png'}; the numbers are in {where}", flush=True)
