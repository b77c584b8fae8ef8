"""Clipped per-record gradients: what enters the sum of a DP-SGD step.

One forward and one backward a micro-batch. Each layer's input and the gradient at its output are kept; their product,
taken record by record, is that record's weight gradient. Plain weight gradients are never formed.

`layers` says what each layer's product is, `norm` is a group norm whose backward holds it already, `clip` bounds and
sums. `model` watches a network by hooks, for the CPU, and `carriers` without, for a GPU and its compiler. `sums` runs a
step's micro-batches, `parallel` side by side, `ranks` shared out among processes; `philox` is the randomness of a loss
on a GPU.
"""

from torch import nn

from dpsynth.privacy.engine.carriers import Carried
from dpsynth.privacy.engine.clip import MARGIN, Materialised, bounded, clip, clip_factors
from dpsynth.privacy.engine.model import PerExample, Watched
from dpsynth.privacy.engine.parallel import begun, side_by_side
from dpsynth.privacy.engine.ranks import Ranks, sharing
from dpsynth.privacy.engine.sums import Draws, Rescaled, clipped_sum, moved, one_each, scaled

__all__ = [
    "MARGIN", "Carried", "Draws", "Materialised", "PerExample", "Ranks", "Rescaled", "Watched", "begun", "bounded",
    "clip", "clip_factors", "clipped_sum", "moved", "one_each", "per_example", "scaled", "sharing", "side_by_side",
]  # fmt: skip


def per_example(model: nn.Module) -> Watched:
    """The engine for where the weights of `model` are: by hooks on the CPU, compiled on a GPU.

    Raises:
        ValueError: as of `Watched`.
    """
    return Carried(model) if next(model.parameters()).is_cuda else PerExample(model)
