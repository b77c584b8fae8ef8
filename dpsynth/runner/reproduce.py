"""Reproduce one table or figure: plan every run of its parameter file, then execute its notebooks.

`python -m dpsynth.runner.reproduce [--experiment X] [--scale C] [--method M] [--epsilon E] [--seed S] [--jobs N]
[--dry-run]`

Whatever can be refused is refused before the first notebook: parameters, budgets, data, artifacts (`preflight`). A
picture that cannot be drawn stops nothing: the last line names it, the exit status is 3, and the next time it is tried
again.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dpsynth import device, experiments, project, terminal
from dpsynth.data import catalog
from dpsynth.methods import METHODS
from dpsynth.mistakes import UNDRAWN, Failed, ended, mistakes
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.report import measures, results, run_files, timings
from dpsynth.runner import execute, pages, workers
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
from dpsynth.steps import STAGE_OF

BESIDE = {"finetune": "certificate.json", "evaluate": "metrics.csv"}  # files that the pages of these stages leave too


class Job(NamedTuple):
    """One page of a run. `cached`: it stands, with all its pictures. `minutes`: expected, if known."""

    run: Run
    page: str
    cached: bool
    minutes: float | None
    note: str

    @property
    def p(self) -> Params:
        """The run's parameters."""
        return self.run.params


def paths(p: Params, page: str) -> tuple[Path, Path]:
    """The notebook of a page, and where its executed copy belongs."""
    return Path("notebooks", f"{page}.py"), results.run_folder(p) / f"{Path(page).name}.ipynb"


def is_done(p: Params, page: str) -> bool:
    """Whether an executed page stands, up to date, with what belongs beside it, whole."""
    beside = [BESIDE[stage] for stage in pages.pages(p.method)[page] if stage in BESIDE]
    return execute.is_current(p, *paths(p, page)) and results.are_whole(p, beside)


def schedule(runs: list[Run]) -> Iterator[Job]:
    """The notebooks of all runs in order, with what each should take; work that runs share counts once.

    Raises:
        FileNotFoundError: a notebook is missing.
    """
    known, claimed = measured_minutes(), {}
    for run in runs:
        p, names = run.params, {} if run.lacks_private else run.recipes()
        at_work = {"evaluate", *(STAGE_OF[kind] for kind in names)}
        for page, stages in pages.pages(p.method).items():
            recipes = [name for kind, name in names.items() if STAGE_OF[kind] in stages]
            minutes = [known.get((p.scale, run.row_name, p.method, stage)) for stage in stages if stage in at_work]
            job = Job(run, page, False, None if None in minutes else sum(minutes), "")
            missing = [name.path for name in recipes if not name.path.exists()]
            if is_done(p, page):
                lacks = bool(execute.undrawn(paths(p, page)[1]))
                yield job._replace(cached=not lacks, minutes=0.0, note="its pictures are drawn anew" if lacks else "")
                continue
            if run.lacks_private:
                job = job._replace(minutes=None)
            elif "evaluate" not in stages and not missing:
                job = job._replace(minutes=0.0, note="its work is done")
            elif missing and all(path in claimed for path in missing):
                job = job._replace(minutes=0.0, note=f"shares the work of {claimed[missing[0]]}")
            claimed = dict.fromkeys(missing, p.run_name) | claimed
            yield job


def measured_minutes() -> dict[tuple[str, str, str, str], float]:
    """Minutes by (scale, row, method, stage), from the committed results of reference runs; means over seeds."""
    minutes = {}
    for frame in map(pd.read_csv, sorted(results.COMMITTED.glob("*.csv"))):
        if {"scale", "variant"} <= set(frame):  # a table of results, not of published numbers, claims or timings
            timed = frame[frame["metric"].str.startswith("seconds-")]
            reference = timed["variant"].fillna("").astype(str).str.split(":").str[0]
            of = timed["method"].where(timed["method"].isin(METHODS), reference)
            stage = timed["metric"].str.removeprefix("seconds-")
            minutes |= (timed.groupby([timed["scale"], timed["method"], of, stage])["value"].mean() / 60).to_dict()
    return minutes


def show(jobs: list[Job], reproduces: str) -> None:
    """Print the plan: what each run asks, then a line a stage, and what is expected in all."""
    print(f"\n{reproduces}\nNetworks compute on: {device.card()}, {device.precision()}.\n")
    for run in {job.p.digest: job.run for job in jobs}.values():
        print(privacy_of(run))
    wide, name = (max(map(len, names)) + 2 for names in ([j.p.run_name for j in jobs], [j.page for j in jobs]))
    print(f"\n{'run':{wide}}{'page':{name}}{'state':8}expected")
    for job in jobs:
        minutes = "not measured" if job.minutes is None else f"{job.minutes:.1f} min"
        expected = "" if job.cached else job.note or minutes
        print(f"{job.p.run_name:{wide}}{job.page:{name}}{'cached' if job.cached else 'to do':8}{expected}".rstrip())
    to_do = [job for job in jobs if not job.cached]
    known, unknown = sum(job.minutes or 0 for job in to_do), sum(job.minutes is None for job in to_do)
    total = f"about {known:.0f} minutes" if known or not unknown else "a time that was not measured before"
    total += f" and {unknown} pages not measured before" if known and unknown else ""
    print(f"\n{len(jobs)} notebooks, {len(jobs) - len(to_do)} cached, {len(to_do)} to do: {total}\n", flush=True)


def perform(jobs: list[Job], params_file: Path, at_once: int) -> list[str]:
    """Execute what is not cached, in order, `at_once` runs side by side; the first failure ends it (`Failed`).

    Returns:
        The pictures that could not be drawn, a text each.
    """
    runs: dict[str, list[workers.Task]] = {}
    for number, job in enumerate(jobs, 1):
        if not job.cached:
            runs.setdefault(job.p.digest, []).append(workers.Task(number, job.p, *paths(job.p, job.page)))
    workers.perform(list(runs.values()), len(jobs), params_file, at_once)
    executed = [task.out for tasks in runs.values() for task in tasks]
    return [f"{out.parent.name}/{out.name} {picture}" for out in executed for picture in execute.undrawn(out)]


def at_least_one(text: str) -> int:
    """A number of processes."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least one run at a time")
    return int(text)


def reproduce(chosen: dict[str, list[Any]], given: argparse.Namespace) -> None:
    """Plan, execute and conclude; see the module.

    Raises:
        Failed: something cannot be run, failed, or could not be drawn.
    """
    start, points = time.perf_counter(), []
    try:
        with mistakes():
            project.enter()
            path = experiments.find(given.experiment)
            print(f"planning {path}", flush=True)
            experiment = experiments.load(path, given.scale)
            points = experiments.load(path, given.scale, **chosen).points()
            refuse_a_look(points, experiment)
            for run, measure in itertools.product(map(Run, points), measures.beside_quality(experiment.measures)):
                measures.refuse(run, measure)
            results.are_readable(experiment.scale)
            runs = checked(points, lacks := [] if given.dry_run else None)
            jobs = list(schedule(runs))
        show(jobs, experiment.reproduces)
        given_too = {"scale": [given.scale] if given.scale else [], **chosen}
        say_what_to_expect(points, given.experiment, given_too)
        if given.dry_run:
            say_needs(runs, lacks)
            return
        missing = perform(jobs, path, given.jobs)
        with mistakes():
            for run, measure in itertools.product(runs, measures.beside_quality(experiment.measures)):
                run_files.write_measure(run, measure)
        all_points = {p.digest: p for p in (*experiment.points(), *points)}
        written = results.tables_of(experiment)
        finished = [p for p in all_points.values() if is_done(p, pages.STORY[-1]) and results.are_whole(p, written)]
        missing += conclude(experiment, finished, "executed notebooks")
        say_what_to_expect(points, given.experiment, given_too)
    finally:
        for private in {p.private for p in points if not p.constants.builtin}:
            catalog.forget_decoded(private)
    minutes = (time.perf_counter() - start) / 60
    if all(p.constants.builtin for p in points):  # of a user's own records, time would tell
        print(f"total time: {minutes:.1f} minutes")
        if not (chosen or missing or given.jobs > 1 or any(job.cached or "is done" in job.note for job in jobs)):
            executed = [paths(job.p, job.page)[1] for job in jobs]
            timings.remember(experiment.scale, runs, executed, minutes)
    if missing:
        raise Failed(in_all(missing), UNDRAWN)


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = terminal.parser("python -m dpsynth.runner.reproduce", __doc__)
    parser.add_argument("--experiment", default="table", help="name or path of a parameter file below params/")
    add_axes(parser)
    parser.add_argument("--jobs", type=at_least_one, default=1, help="runs side by side, 2 threads and 2 GiB each")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    given = parser.parse_args(argv)
    return ended(lambda: reproduce(axes(given), given))


if __name__ == "__main__":
    sys.exit(main())
