"""`dpsynth run FILE`: all that the notebooks of a parameter file's runs compute, without notebooks.

It needs no Jupyter: what it makes are the artifacts, certificates and metrics that `make reproduce` finds afterwards,
on this machine or on another (`pack`), and only shows.

With `--minutes N` it ends before N minutes are over, with exit status 4; the same command goes on, with the same bits
as if it had never stopped. Training stops between two steps, at a checkpoint. Work without steps (samples,
measurements, one-shot queries) is not begun when no time is left, or less than it took for an earlier run of the same
command; if the time is over in the middle of it, or of a single step, that is ended as by an interrupt, and begins
again. So N must be longer than the longest of these. Sets of a user's own take no limit: how far a run came in a given
time would tell how many records took part in its steps.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dpsynth import deadline, device, distributed, experiments, project
from dpsynth.data import catalog
from dpsynth.deadline import OutOfTime
from dpsynth.mistakes import OUT_OF_TIME, RESUMES, UNDRAWN, Failed, mistakes
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.recipes import Recipe
from dpsynth.report import measures, pictures, results, run_files
from dpsynth.runner.command import (
    add_axes,
    axes,
    checked,
    conclude,
    in_all,
    privacy_of,
    refuse_a_look,
    say_needs,
    say_what_to_expect,
)  # fmt: skip
from dpsynth.steps import STEPS

WRITTEN = ("certificate.json", "artifacts.json", "metrics.csv")  # of a run whose quality is measured


class Piece(NamedTuple):
    """One piece of a run's work. `path`: where its artifact belongs; `steps`: it may train, and has checkpoints."""

    name: str
    make: Callable[[], Any]
    path: Path | None = None
    steps: bool = False

    @property
    def stands(self) -> bool:
        """Whether it was made before."""
        return self.path is not None and self.path.exists()


def pieces(run: Run, measured: Sequence[str] = ("quality",)) -> Iterator[Piece]:
    """A run's work in order; what comes later may depend on what was made before.

    Args:
        measured: of a parameter file; without quality, no more is made than the others look at.
    """
    if "quality" in measured:
        yield from _quality(run)
    for measure in measures.beside_quality(measured):
        for kind, recipe in _up_to(run, measures.LAST[measure]):
            yield Piece(kind, partial(run.artifact, kind), recipe.path, steps=True)
        yield Piece(measure, partial(_write_measure, run, measure), steps=True)


def _up_to(run: Run, last: str | None) -> Iterator[tuple[str, Recipe]]:
    """The steps before and with this one that the run has."""
    kinds = [step.kind for step in STEPS]
    wanted = kinds[: kinds.index(last) + 1] if last else []
    return ((kind, recipe) for kind, recipe in run.recipes().items() if kind in wanted)


def _quality(run: Run) -> Iterator[Piece]:
    for kind, recipe in run.recipes().items():
        yield Piece(kind, partial(run.artifact, kind), recipe.path, steps=True)
    builtin = run.params.constants.builtin
    for kind in (*run.row_kinds.values(), *(["extractor"] if builtin else [])):
        if recipe := run.recipe(kind):  # images in colour need no extractor of ours
            yield Piece(kind, partial(run.artifact, kind), recipe.path)
    for row in run.row_kinds if builtin else ():
        yield Piece(f"measurement of {row}", partial(run.measurement, row), run.measurement_recipe(row).path)
    for name, (recipe, make) in pictures.beside(run).items():
        yield Piece(name, make, recipe.path, steps=True)
    yield Piece("certificate and metrics", partial(_write, run))


def _write(run: Run) -> None:
    if distributed.rank() == 0:
        with distributed.alone():
            run_files.write(run)


def _write_measure(run: Run, measure: str) -> None:
    if distributed.rank() == 0:
        with distributed.alone():
            run_files.write_measure(run, measure)


def perform(runs: list[Run], minutes: float | None, measured: Sequence[str] = ("quality",)) -> None:
    """Make what does not stand; a line a piece, with the seconds that it took, which are not told of a user's own set.

    Raises:
        Failed: the time is as good as over.
    """
    performed([(run, pieces(run, measured)) for run in runs], minutes)


def performed(runs: Sequence[tuple[Run, Iterable[Piece]]], minutes: float | None) -> None:
    """The same of runs with pieces of their own.

    Raises:
        Failed: as of `perform`.
    """
    took: dict[str, float] = {}
    with deadline.within(minutes):
        for number, (run, work) in enumerate(runs, 1):
            line = f"[{number}/{len(runs)}] {run.params.run_name}"
            try:
                for piece in work:
                    line = f"[{number}/{len(runs)}] {run.params.run_name}: {piece.name}"
                    _perform(piece, line, took, timed=run.params.constants.builtin)
            except OutOfTime:
                sentence = f"stopped in {line}, before {minutes:g} minutes were over; {RESUMES}"
                raise Failed(sentence, OUT_OF_TIME) from None


def _perform(piece: Piece, line: str, took: dict[str, float], timed: bool) -> None:
    if distributed.from_rank_0(piece.stands):
        print(f"{line}: stands", flush=True)
        return
    if deadline.is_near(0 if piece.steps else took.get(piece.name, 0)):
        raise OutOfTime
    start = time.monotonic()
    piece.make()
    took[piece.name] = time.monotonic() - start
    print(f"{line}: {took[piece.name]:.1f} s" if timed else line, flush=True)


def show(runs: list[Run], reproduces: str) -> None:
    """Print what each run asks, and which of its artifacts stand."""
    print(f"\n{reproduces}\nNetworks compute on: {device.card()}, {device.precision()}.\n")
    for run in runs:
        recipes = {} if run.lacks_private else run.recipes()
        stands = {kind: "stands" if recipe.path.exists() else "to make" for kind, recipe in recipes.items()}
        state = ", ".join(f"{kind} {there}" for kind, there in stands.items()) or "nothing to be seen without its set"
        print(f"{privacy_of(run)}\n  {state}")
    print(flush=True)


def is_made(run: Run, measured: Sequence[str] = ("quality",)) -> bool:
    """Whether the files of a run stand, and were written from the artifacts that its parameters name."""
    recipes = [recipe for measure in measured for _, recipe in _up_to(run, measures.LAST.get(measure, "synthesiser"))]
    if "quality" in measured:
        recipes.append(run.recipe("samples"))
    return all(recipe.path.exists() for recipe in recipes)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `work`."""
    parser.add_argument("file", metavar="FILE", help="name or path of a parameter file below params/")
    add_axes(parser)
    parser.add_argument("--minutes", type=minutes, help="stop at a checkpoint before so many are over: exit status 4")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")


def work(given: argparse.Namespace) -> None:
    """Plan, make and conclude; see the module.

    Raises:
        Failed: something cannot be run, is out of time, or could not be drawn.
    """
    points: list[Params] = []
    try:
        with mistakes():
            with distributed.rank_0_first():
                project.enter()
                path = experiments.find(given.file)
                experiment = experiments.load(path, given.scale)
                points = experiments.load(path, given.scale, **axes(given)).points()
                _refuse_a_limit(points, given.minutes)
                refuse_a_look(points, experiment)
                for run, measure in itertools.product(map(Run, points), measures.beside_quality(experiment.measures)):
                    measures.refuse(run, measure)
                _refuse_a_network(points)
                results.are_readable(experiment.scale)
            runs = checked(points, lacks := [] if given.dry_run else None)
        show(runs, experiment.reproduces)
        say_what_to_expect(points, given.file, chosen := {"scale": [given.scale] if given.scale else [], **axes(given)})
        if given.dry_run:
            say_needs(runs, lacks)
            return
        with mistakes():
            perform(runs, given.minutes, experiment.measures)
        if distributed.rank() == 0:
            with distributed.alone():
                _conclude(experiment, points)
                say_what_to_expect(points, given.file, chosen)
    finally:
        for private in {p.private for p in points if not p.constants.builtin}:
            catalog.forget_decoded(private)


def _conclude(experiment: experiments.Experiment, points: list[Params]) -> None:
    written = [*results.tables_of(experiment), *(WRITTEN if "quality" in experiment.measures else ())]
    others = [p for p in experiment.points() if p not in points and results.are_whole(p, written)]
    finished = [*(p for p in others if is_made(Run(p), experiment.measures)), *points]
    if missing := conclude(experiment, finished, "runs"):
        raise Failed(in_all(missing), UNDRAWN)


def _refuse_a_network(points: list[Params]) -> None:
    if distributed.spans_machines() and any(p.noise == "secret" for p in points):
        raise ValueError(
            "noise: secret in processes of several machines: the key of the coins, and sums before noise, would cross "
            "the network; start all of them on one machine"
        )


def _refuse_a_limit(points: list[Params], minutes: float | None) -> None:
    own = [p.private for p in points if not p.constants.builtin]
    if minutes is not None and own:
        raise ValueError(
            f"--minutes: how far a run comes in a given time would tell how many records of {own[0]} took part in its "
            "steps; run it without a limit, and stop it where you like: the same command goes on"
        )


def minutes(text: str) -> float:
    """A limit of time."""
    if not 0 < float(text) < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of minutes above 0")
    return float(text)
