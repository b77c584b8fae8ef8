"""`dpsynth export FILE`: the models of a parameter file's finished runs, for others, into results/models/.

It trains nothing. Non-private twins are left out: nothing bounds what their weights tell.
"""

import argparse
import math
from pathlib import Path

from dpsynth import experiments, project
from dpsynth.data import catalog
from dpsynth.mistakes import mistakes
from dpsynth.params import Params
from dpsynth.report import exports
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
            project.enter()
            points = experiments.load(experiments.find(given.file), given.scale, **axes(given)).points()
            private = [p for p in points if math.isfinite(p.epsilon)]
            if not private:
                raise ValueError(f"{given.file} names non-private twins alone here, which are not exported")
            print(f"models of at most {LIMIT:,} bytes of weights, into {FOLDER}:", flush=True)
            unfinished, refused = [], []
            for run in opened(private):
                name = run.params.run_name
                if exports.unmade(run):
                    unfinished.append(name)
                    continue
                try:
                    weights = exports.export(run, FOLDER / name)
                except ValueError as error:  # the others may be exported
                    refused.append(str(error))
                    continue
                print(f"  {name}: {len(weights.content):,} bytes, {weights.dtype}", flush=True)
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
