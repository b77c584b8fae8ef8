"""Reproduce one table or figure: plan every run of its parameter file, then execute its five notebooks.

`python -m dpsynth.reproduce [--profile P] [--experiment X] [--method M] [--epsilon E] [--seed S] [--jobs N]
[--dry-run]`

Whatever can be refused is refused before the first notebook: parameters, budgets, data, artifacts.
"""

import argparse
import inspect
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dpsynth import (
    comparison,
    data,
    experiments,
    measured,
    mistakes,
    privacy,
    project,
    run,
    store,
    tables,
    terminal,
    workers,
)  # fmt: skip
from dpsynth.experiments import Experiment
from dpsynth.params import Params
from dpsynth.stages import evaluate, planning

NOTEBOOKS = {
    "query": "01_semantic_query",
    "selection": "02_selection",
    "pretrain": "03_pretrain_amp",
    "finetune": "04_dp_finetune",
    "evaluate": "05_eval_figures",
}
BESIDE = {"finetune": "certificate.json", "evaluate": "metrics.csv"}  # files that these leave too


class Job(NamedTuple):
    """One stage of one run. `cached`: its notebook is executed already. `minutes`: expected, if known."""

    p: Params
    stage: str
    cached: bool
    minutes: float | None
    note: str


class Made(NamedTuple):
    """An artifact that a run needs: where it stands, or will, and the function that makes it."""

    path: Path
    function: Callable


def paths(p: Params, stage: str) -> tuple[Path, Path]:
    """The notebook of a stage, and where its executed copy belongs."""
    return Path("notebooks", f"{NOTEBOOKS[stage]}.py"), tables.run_folder(p) / f"{NOTEBOOKS[stage]}.ipynb"


def is_done(p: Params, stage: str) -> bool:
    """Whether a stage's executed notebook stands, up to date, with what belongs beside it."""
    return run.is_current(p, *paths(p, stage)) and (tables.run_folder(p) / BESIDE.get(stage, "")).exists()


def choose(path: Path, axes: dict[str, list[Any]]) -> list[Params]:
    """The runs of a parameter file, with `axes` in place of the file's own lists; each run once."""
    found: dict[str, Params] = {}
    for values in itertools.product(*axes.values()):
        for p in experiments.load(path, **dict(zip(axes, values, strict=True))).points():
            found.setdefault(p.digest, p)
    return list(found.values())


def check(points: list[Params]) -> dict[str, privacy.Private]:
    """Make every plan and open every set, so that what must fail does so with nothing spent.

    Returns:
        The private sets, sealed, by the digest of the run.
    Raises:
        ValueError, FileNotFoundError, PermissionError, privacy.BudgetError: one sentence each.
    """
    opened: dict[tuple, Any] = {}
    sealed = {}
    for p in points:
        key = (p.private, p.n_records, p.labels, p.size)
        if key not in opened:
            opened[key] = planning.private(p)
            if p.constants.builtin:
                planning.private(p, "test")
        sealed[p.digest] = opened[key]
        key = (p.public, *p.shape)
        if p.row.corpus is not None and key not in opened:
            opened[key] = data.public(*key)
        planning.run(p)
    return sealed


def lineage(p: Params, private: privacy.Private) -> dict[str, list[Made]]:
    """The artifacts of `p`'s stages before evaluation, standing or not. Makes nothing but the plan."""
    plan, row = planning.run(p), p.row
    made: dict[str, list[Made]] = {stage: [] for stage in NOTEBOOKS}
    have: dict[str, Any] = {"private": private}

    def name(kind: str, function: Callable | None) -> store.Stored | None:
        if function is None:
            return None
        upstream = store.named(function, have)
        digest = store.digest_of(kind, function, store.settings_of(function, p), upstream)
        path = store.folder(kind, digest)
        made[tables.STAGE_OF[kind]].append(Made(path, function))
        return store.Stored(artifact=store.Artifact(path, digest, {}))

    def touch(kind: str, twin: str, column: Any, *earlier: store.Stored) -> store.Stored | None:
        if column is None or not plan.is_private:
            return name(twin, column and column.exact)
        have["allowance"] = planning.allow(p, column, *earlier)
        return name(kind, column.ask)

    have["encoder"] = name("encoder", row.encoder)
    prior = touch("prior", "", row.prior)
    have["release"] = touch("release", "votes", row.release)
    have["corpus"] = name("corpus", row.corpus)
    have["base"] = name("base", row.base)
    have["probe"] = touch("probe", "", row.probe)
    touch("synthesiser", "twin", row.learn, *([prior] if prior else []))
    return made


def schedule(points: list[Params], sealed: dict[str, privacy.Private]) -> Iterator[Job]:
    """The notebooks of all runs in order, with what each should take; work that runs share counts once.

    Raises:
        FileNotFoundError: a notebook is missing; ValueError: an artifact is of another version, or not whole.
    """
    known, claimed = measured_minutes(), {}
    for p in points:
        for stage, made in lineage(p, sealed[p.digest]).items():
            job = Job(p, stage, False, known.get((p.profile, evaluate.row_name(p), stage)), "")
            missing = [one.path for one in made if not one.path.exists()]
            if is_done(p, stage):
                yield job._replace(cached=True, minutes=0.0)
                continue
            for one in made:
                if one.path not in missing:
                    store.load(one.path, inspect.signature(one.function).return_annotation)
            if stage != "evaluate" and not missing:
                job = job._replace(minutes=0.0, note="its work is done" if made else "no work in this method")
            elif missing and all(path in claimed for path in missing):
                job = job._replace(minutes=0.0, note=f"shares the work of {claimed[missing[0]]}")
            claimed = dict.fromkeys(missing, p.run_name) | claimed
            yield job


def measured_minutes() -> dict[tuple[str, str, str], float]:
    """Minutes by (profile, row, stage), from the committed results of reference runs; means over seeds."""
    found = {}
    for frame in map(pd.read_csv, sorted(tables.COMMITTED.glob("*.csv"))):
        if "profile" in frame:
            timed = frame[frame["metric"].str.startswith("seconds-")]
            for (profile, row, metric), part in timed.groupby(["profile", "method", "metric"]):
                found[profile, row, metric.removeprefix("seconds-")] = part["value"].mean() / 60
    return found


def privacy_of(p: Params) -> str:
    """What a run will ask of the private records, for people."""
    plan = planning.run(p)
    if not plan.is_private:
        return f"{p.run_name}: not private, a reference on a public benchmark"
    asked = ", ".join(f"{m.name} x{m.steps} at noise multiplier {m.noise_multiplier:.4g}" for m in plan.mechanisms)
    spends = f"epsilon {plan.spent():.4g} of {p.epsilon:g} at delta {p.delta:g}"
    return f"{p.run_name}: {asked}; {spends} ({plan.statement()['adjacency']})"


def show(jobs: list[Job], reproduces: str) -> None:
    """Print the plan: what each run asks, then a line a stage, and what is expected in all."""
    print(f"\n{reproduces}\n")
    for p in {job.p.digest: job.p for job in jobs}.values():
        print(privacy_of(p))
    wide = max(len(job.p.run_name) for job in jobs) + 2
    print(f"\n{'run':{wide}}{'stage':11}{'state':8}expected")
    for job in jobs:
        minutes = "not measured" if job.minutes is None else f"{job.minutes:.1f} min"
        expected = "" if job.cached else job.note or minutes
        print(f"{job.p.run_name:{wide}}{job.stage:11}{'cached' if job.cached else 'to do':8}{expected}".rstrip())
    to_do = [job for job in jobs if not job.cached]
    known, unknown = sum(job.minutes or 0 for job in to_do), sum(job.minutes is None for job in to_do)
    total = f"about {known:.0f} minutes" if known or not unknown else "a time that was not measured before"
    total += f" and {unknown} stages not measured before" if known and unknown else ""
    print(f"\n{len(jobs)} notebooks, {len(jobs) - len(to_do)} cached, {len(to_do)} to do: {total}\n", flush=True)


def perform(jobs: list[Job], params_file: Path, at_once: int) -> None:
    """Execute what is not cached, in order, `at_once` runs side by side; the first failure ends it (`Failed`)."""
    runs: dict[str, list[workers.Task]] = {}
    for number, job in enumerate(jobs, 1):
        if not job.cached:
            runs.setdefault(job.p.digest, []).append(workers.Task(number, job.p, *paths(job.p, job.stage)))
    workers.perform(list(runs.values()), len(jobs), params_file, at_once)


def conclude(experiment: Experiment, profile: str, points: list[Params]) -> None:
    """Join results.csv from all runs of the experiment that are up to date; a table and figures for each data set."""
    finished = [p for p in points if is_done(p, "evaluate")]
    path = tables.join(profile, experiment, finished)
    results = tables.read_results(profile)
    own = results[results["experiment"] == experiment.name]
    for dataset, part in own.groupby("dataset", sort=False):
        print(f"{dataset}\n{comparison.table(part).to_string()}\n")
        print("figures:", *(f"  {drawn}" for drawn in tables.draw(part, path.parent)), "", sep="\n")
    if own.empty:
        print("nothing was measured: see samples and certificates\n")
    print(f"results: {path}\nexecuted notebooks:", *(f"  {tables.run_folder(p)}" for p in finished), sep="\n")


def several(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def whole_numbers(text: str) -> list[int]:
    """The same, as numbers."""
    return [int(part) for part in several(text)]


def at_least_one(text: str) -> int:
    """A number of processes."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least one run at a time")
    return int(text)


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = terminal.parser("python -m dpsynth.reproduce", __doc__)
    parser.add_argument("--profile", default="laptop", help="smoke, laptop, overnight or paper")
    parser.add_argument("--experiment", default="table", help="a file of params/<profile>/, without .yaml")
    parser.add_argument("--method", type=several, help="these instead of the file's, separated by commas")
    parser.add_argument("--epsilon", type=several, help="these instead; inf is the non-private twin")
    parser.add_argument("--seed", type=whole_numbers, help="these instead")
    parser.add_argument("--jobs", type=at_least_one, default=1, help="runs side by side, 2 threads and 2 GiB each")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    given = parser.parse_args(argv)
    path = Path("params", given.profile, f"{given.experiment}.yaml")
    axes = {name: getattr(given, name) for name in ("method", "epsilon", "seed") if getattr(given, name)}

    def action() -> None:
        start = time.perf_counter()
        print(f"planning {path}", flush=True)
        with mistakes.mistakes():
            project.enter()
            experiment, points = experiments.load(path), choose(path, axes)
            jobs = list(schedule(points, check(points)))
        show(jobs, experiment.reproduces)
        if not given.dry_run:
            perform(jobs, path, given.jobs)
            own = {p.digest: p for p in (*experiment.points(), *points)}
            conclude(experiment, given.profile, list(own.values()))
            minutes = (time.perf_counter() - start) / 60
            if all(p.constants.builtin for p in points):  # of a user's own records, time would tell
                print(f"total time: {minutes:.1f} minutes")
                if not axes and given.jobs == 1 and not any(job.cached or "is done" in job.note for job in jobs):
                    executed = [(job.stage, paths(job.p, job.stage)[1]) for job in jobs]
                    measured.remember(given.profile, points, executed, minutes)

    return mistakes.ended(action)


if __name__ == "__main__":
    sys.exit(main())
