"""dpsynth: a reproducible companion to the papers on differentially private image synthesis.

>>> from dpsynth import METHODS, Params, Run, load
>>> run = Run(Params.at("smoke", method="rpgen", epsilon=10.0))
>>> [mechanism.name for mechanism in run.plan.mechanisms]
['semantic_histogram', 'dp_sgd']
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpsynth.experiments import load
    from dpsynth.exported import load_model
    from dpsynth.methods import METHODS
    from dpsynth.params import Params
    from dpsynth.pipeline import Run

# Imported when asked for: a command line that refuses its arguments need not wait for torch.
FACE = {
    "Params": "params", "Run": "pipeline", "load": "experiments", "METHODS": "methods", "load_model": "exported",
}  # fmt: skip
__all__ = ["METHODS", "Params", "Run", "load", "load_model"]


def __getattr__(name: str) -> Any:
    if name not in FACE:
        raise AttributeError(f"module 'dpsynth' has no attribute {name!r}; its face is {', '.join(FACE)}")
    return getattr(importlib.import_module(f"dpsynth.{FACE[name]}"), name)
