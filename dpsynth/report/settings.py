"""Hyper-parameters for CIFAR-10: what the papers print, and what the runs of a scale have."""

import math
from collections.abc import Callable

import pandas as pd
import torch

from dpsynth import trainings
from dpsynth.methods import gans
from dpsynth.models import networks
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.project import PACKAGE
from dpsynth.report.networks import weights

# What is no setting by itself, from those that are.
DERIVED: dict[str, Callable[[Run], float]] = {
    "query noise": lambda run: run.plan.mechanism("semantic_histogram").noise_multiplier,
    "selection ratio": lambda run: 100 * run.options.kept * run.params.n_classes / run.public.n_classes,
    "expected records": lambda run: run.plan.mechanism("dp_sgd").divisor,
    "passes": lambda run: run.params.steps * run.params.sample_rate,
    # Not the rates themselves: 0.999 and 0.998 are near as numbers, and far as averages.
    "share in pre-training": lambda run: 1 - run.settings["pretrain_average"],
    "share in fine-tuning": lambda run: 1 - run.settings["average"],
    "weights": lambda run: weights(_network(run)),
    "weights of G": lambda run: weights(_network(run).generator),
    "weights of D": lambda run: weights(_network(run).discriminator),
    "GAN images": lambda run: gans.BATCH,
    "steps of D for each of G": lambda run: run.options.turn / run.options.generator_steps,
    "steps of G": lambda run: run.params.steps // run.options.turn * run.options.generator_steps,
}
TOLERANCE = 0.01  # of a printed number: papers round, 1,754,499 weights to 1.75M
NOTE = f"Equal: within {TOLERANCE:.0%}, as papers round."


def table(scale: str) -> pd.DataFrame:
    """A row a paper and hyper-parameter, as text: item, source, paper, ours, equal (yes or no).

    `paper` is as printed; `ours` as the run of that paper's method has it at `scale` and epsilon 10.
    """
    return _beside(_printed(), scale)


def of(paper: str, place: str, scale: str) -> pd.DataFrame:
    """The rows of `table` that a paper, "PrivImage", prints in one place, "Table 5".

    Raises:
        ValueError: settings.csv has none.
    """
    rows = _printed()
    found = rows[(rows["paper"] == paper) & (rows["table"] == place)]
    if found.empty:
        places = "; ".join(dict.fromkeys(_source(rows)))
        raise ValueError(f"settings.csv has no {place!r} of {paper}; it has {places}")
    return _beside(found, scale)


def _printed() -> pd.DataFrame:
    return pd.read_csv(PACKAGE / "settings.csv", dtype={"printed": str})


def _source(rows: pd.DataFrame) -> pd.Series:
    return rows["paper"] + ", " + rows["table"]


def _beside(rows: pd.DataFrame, scale: str) -> pd.DataFrame:
    runs = {method: Run(Params.at(scale, method=method, epsilon=10.0)) for method in rows["method"].unique()}
    ours = [_value(runs[method], setting) for method, setting in zip(rows["method"], rows["setting"], strict=True)]
    equal = [math.isclose(*pair, rel_tol=TOLERANCE) for pair in zip(rows["value"], ours, strict=True)]
    texts = {"paper": rows["printed"], "ours": map(_text, ours), "equal": ["yes" if same else "no" for same in equal]}
    return pd.DataFrame({"item": rows["item"], "source": _source(rows), **texts})


def _value(run: Run, setting: str) -> float:
    return DERIVED[setting](run) if setting in DERIVED else run.settings[setting]


def _text(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.5g}"


def _network(run: Run) -> torch.nn.Module:
    """What the run trains, as shapes alone."""
    asked = run.params, run.row, run.settings
    with torch.device("meta"):
        return networks.build(trainings.denoiser(*asked) or trainings.gan_like(*asked))
