"""Hyper-parameters: what the papers print, and what the runs of a scale have."""

from collections.abc import Callable

import pandas as pd

from dpsynth.models import networks
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.project import PACKAGE
from dpsynth.stages import pretrain

# What is no setting by itself, from those that are.
DERIVED: dict[str, Callable[[Run], object]] = {
    "query noise": lambda run: run.plan.mechanism("semantic_histogram").noise_multiplier,
    "selection ratio": lambda run: f"{100 * run.options.kept * run.params.n_classes / run.public.n_classes:.1f} %",
    "expected records": lambda run: run.plan.mechanism("dp_sgd").divisor,
    "passes": lambda run: run.params.steps * run.params.sample_rate,
    "steps of D for each of G": lambda run: run.options.turn / run.options.generator_steps,
    "weights": lambda run: _weights(run),
}


def table(scale: str) -> pd.DataFrame:
    """A row a hyper-parameter: item, source, paper, ours, as text; ours as the run at `scale` and epsilon 10 has it."""
    rows = pd.read_csv(PACKAGE / "settings.csv", dtype=str)
    runs = {method: Run(Params.at(scale, method=method, epsilon=10.0)) for method in rows["method"].unique()}
    ours = [_value(runs[method], setting) for method, setting in zip(rows["method"], rows["setting"], strict=True)]
    return rows[["item", "source", "paper"]].assign(ours=ours)


def _value(run: Run, setting: str) -> str:
    value = DERIVED[setting](run) if setting in DERIVED else run.settings[setting]
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _weights(run: Run) -> int:
    named = ("width", "prediction", "attention", "unet")
    architecture = pretrain.architecture(
        run.params.shape, run.params.n_classes, **{name: run.settings[name] for name in named}
    )
    return sum(weight.numel() for weight in networks.build(architecture).parameters())
