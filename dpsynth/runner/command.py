"""What the commands share that make the runs of a parameter file, with notebooks or without: no Jupyter in here."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from dpsynth.experiments import Experiment
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.report import claims, comparison, gallery, items, rehearsals, results
from dpsynth.runner import estimates

LONGEST = 300  # characters of an error's message that are kept


def add_axes(parser: argparse.ArgumentParser) -> None:
    """The arguments by which a command chooses among the runs of a parameter file."""
    parser.add_argument("--scale", help="a file of params/scales/, in place of the one that the experiment names")
    parser.add_argument("--method", type=several, help="these instead of the file's, separated by commas")
    parser.add_argument("--epsilon", type=several, help="these instead; inf is the non-private twin")
    parser.add_argument("--seed", type=whole_numbers, help="these instead")


def axes(given: argparse.Namespace) -> dict[str, list[Any]]:
    """The axes that were given in place of the file's."""
    return {name: getattr(given, name) for name in ("method", "epsilon", "seed") if getattr(given, name)}


def command_of(verb: str, file: str, chosen: dict[str, list[Any]]) -> str:
    """The command that does something with the runs of a file that were chosen: "dpsynth run small --epsilon 10,1"."""
    options = [f"--{name} {','.join(map(str, values))}" for name, values in chosen.items() if values]
    return " ".join(["dpsynth", verb, shlex.quote(file), *options])


def say_what_to_expect(points: list[Params], file: str, chosen: dict[str, list[Any]]) -> None:
    """Of runs of a user's own set, print what rehearsals of just these foretold, or the command that makes one."""
    own = [p for p in points if not p.constants.builtin]
    told = {p.run_name: rehearsals.standing(p) for p in own}
    for name, one in told.items():
        if one:
            print(f"{rehearsals.ON_PUBLIC} of {name}: {' '.join([one['summary'], *one['advice'][:1]])}\n", flush=True)
    if None in told.values():
        print(
            "Nothing is measured of your own images, so nothing here says whether the synthetic ones are of use: "
            f"`{command_of('rehearse', file, chosen)}` runs the same on public images, and costs no privacy.\n",
            flush=True,
        )


def several(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def whole_numbers(text: str) -> list[int]:
    """The same, as numbers."""
    if not all(part.removeprefix("-").isdecimal() for part in several(text)):
        raise argparse.ArgumentTypeError(f"expected whole numbers, as 0,1,2; got {text}")
    return [int(part) for part in several(text)]


def refuse_a_look(points: list[Params], experiment: Experiment) -> None:
    """Raise ValueError where a file would have a user's own records measured or shown without noise."""
    own = [p.private for p in (*points, *experiment.points()) if not p.constants.builtin]
    looks = [name for name in (*experiment.measures, *experiment.pictures) if name != "quality"]
    if own and looks:
        raise ValueError(
            f"{looks[0]} is measured or drawn of benchmarks alone, and {own[0]} is a set of your own: leave it out of "
            "measures or pictures"
        )


def checked(points: list[Params], lacks: list[str] | None = None) -> list[Run]:
    """The runs, their private sets opened once each, and all that can be refused refused.

    Args:
        lacks: as of `Run.check`.
    Raises:
        As `Run.check`.
    """
    checks: set = set()
    runs = []
    for run in opened(points):
        run.check(checks, lacks)
        runs.append(run)
    return runs


def opened(points: list[Params]) -> Iterator[Run]:
    """The runs; a private set that several have is opened once."""
    sealed = {}
    for p in points:
        declared = (p.private, p.n_records, p.labels, p.size, p.background)
        run = Run(p, sealed.get(declared))
        yield run
        if not run.lacks_private:
            sealed[declared] = run.private


def privacy_of(run: Run) -> str:
    """What a run will ask of the private records, for people."""
    p, plan = run.params, run.plan
    if not plan.is_private:
        return f"{p.run_name}: not private, a reference on a public benchmark"
    questions = ", ".join(f"{m.name} x{m.steps} at noise multiplier {m.noise_multiplier:.4g}" for m in plan.mechanisms)
    spends = f"epsilon {plan.spent():.4g} of {p.epsilon:g} at delta {p.delta:g}"
    return f"{p.run_name}: {questions}; {spends} ({plan.statement()['adjacency']})"


def say_needs(runs: list[Run], lacks: list[str]) -> None:
    """Print what each run would need on this machine, and what is missing here: the end of a dry run."""
    print("on this machine, from a few rows of each network, for training alone:")
    for run in runs:
        print(f"{run.params.run_name}: {estimates.needs_of(run)}", flush=True)
    if lacks:
        print("\nmissing here, and refused by a run:", *dict.fromkeys(lacks), sep="\n")


def conclude(experiment: Experiment, finished: list[Params], what: str) -> list[str]:
    """Join results.csv from the finished runs of the experiment; a table and figures for each data set, and verdicts.

    Args:
        what: lies in the folders of the runs, for people.
    Returns:
        The tables and figures that could not be drawn, a text each.
    """
    path, missing = results.join(experiment.scale, experiment, finished), []
    frame = results.read_results(experiment.scale)
    rows = frame[frame["experiment"] == experiment.name]
    for dataset, part in rows.groupby("dataset", sort=False):
        shown = [partial(_show_quality, part, path.parent)] if "quality" in experiment.measures else []
        if experiment.compare:
            shown.append(partial(_show_item, experiment, part, finished, path.parent))
        for show in shown:
            try:
                show()
            except Exception as error:  # whatever it is, the results are joined
                reason = could_not(type(error).__name__, str(error))
                missing.append(f"{dataset}, {reason.partition(': ')[2]}")
                print(f"of {dataset} this {reason}\n")
    if rows.empty:
        print("nothing was measured: see samples and certificates\n")
    print(f"results: {path}\n{what}:", *(f"  {results.run_folder(p)}" for p in finished), sep="\n")
    return missing


def _show_quality(rows: pd.DataFrame, folder: Path) -> None:
    print(f"{rows['dataset'].iloc[0]}\n{comparison.table(rows).to_string()}\n")
    print("figures:", *(f"  {drawn}" for drawn in results.draw(rows, folder)), "", sep="\n")


def _show_item(experiment: Experiment, rows: pd.DataFrame, finished: list[Params], folder: Path) -> None:
    """The verdicts by the file's rules, its figures, and the pictures that it asks for."""
    answers = {}
    if "answers" in experiment.measures:
        answers = results.read_answers(results.join_answers(experiment.scale, experiment, finished))
    item = items.Item(experiment, rows, claims.judge(experiment, rows, answers), experiment.name)
    for one in item.judged:
        ours = f"{one.ours or '-'}, {one.interval or '-'}"
        print(f"{one.verdict:15} {one.item}: {one.claim} [{one.metric}, {one.cells}: {ours}]")
    drawn = items.draw(item)
    if experiment.pictures:
        drawn |= gallery.draw(experiment, [Run(p) for p in finished], items.badge_of(item))
    for name, figure in drawn.items():
        (folder / f"{experiment.name}-{name}.png").write_bytes(figure.png())
    print("figures:", *(f"  {folder / f'{experiment.name}-{name}.png'}" for name in drawn), "", sep="\n")


def could_not(kind: str, message: str) -> str:
    """What is said of a picture in its place: kind and message of the error, on one line, without its traceback."""
    reason = " ".join(f"{kind}: {message}".split())
    return "picture could not be drawn: " + (reason if len(reason) <= LONGEST else reason[:LONGEST] + "...")


def in_all(missing: Sequence[str]) -> str:
    """The last line of a run whose pictures are not all drawn."""
    several = f"{len(missing)} pictures" if len(missing) > 1 else "1 picture"
    return f"{several} could not be drawn: {'; '.join(missing)}; all else is done"
