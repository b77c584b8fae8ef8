"""`dpsynth export FILE`: the models of a parameter file's finished runs, for others, into results/models/; or, with
`--dataset OUT`, their synthetic images as data sets, a folder each in OUT.

It trains nothing. Non-private twins are left out: nothing bounds what their weights tell.
"""

import argparse
import math
from pathlib import Path

from dpsynth import experiments, project
from dpsynth.data import catalog
from dpsynth.mistakes import mistakes
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.report import datasets, exports
from dpsynth.report.weight_files import LIMIT
from dpsynth.runner.command import axes, command_of, opened

FOLDER = Path("results") / "models"  # of the project


def write(given: argparse.Namespace) -> None:
    """Export each finished run, a line each with its size; then say which are not finished.

    Raises:
        Failed: some are not, their weights are larger than the limit, or no private run is named.
    """
    points: list[Params] = []
    try:
        with mistakes():
            given.dataset = given.dataset and given.dataset.expanduser().absolute()  # of where the command was started
            project.enter()
            points = experiments.load(experiments.find(given.file), given.scale, **axes(given)).points()
            private = [p for p in points if math.isfinite(p.epsilon)]
            if not private:
                raise ValueError(f"{given.file} names non-private twins alone here, which are not exported")
            what = "data sets" if given.dataset else f"models of at most {LIMIT:,} bytes of weights"
            print(f"{what}, into {given.dataset or FOLDER}:", flush=True)
            unfinished, refused = [], []
            for run in opened(private):
                name = run.params.run_name
                if exports.unmade(run):
                    unfinished.append(name)
                    continue
                try:
                    line = _of_dataset(run, given.dataset / name) if given.dataset else _of_model(run, FOLDER / name)
                except ValueError as error:  # the others may be exported
                    refused.append(str(error))
                    continue
                print(f"  {name}: {line}", flush=True)
            if unfinished:
                chosen = {"scale": [given.scale] if given.scale else [], **axes(given)}
                refused.append(
                    f"{len(unfinished)} of {len(private)} runs are not finished, the first is {unfinished[0]}: export "
                    f"trains nothing, `{command_of('run', given.file, chosen)}` makes them"
                )
            if refused:
                raise ValueError("; ".join(refused))
    finally:
        for own in {p.private for p in points if not p.constants.builtin}:
            catalog.forget_decoded(own)


def _of_model(run: Run, folder: Path) -> str:
    weights = exports.export(run, folder)
    return f"{len(weights.content):,} bytes, {weights.dtype}"


def _of_dataset(run: Run, folder: Path) -> str:
    return f"{datasets.export(run, folder):,} images"
