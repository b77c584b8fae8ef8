"""Clipped per-record gradients: what enters the sum of a DP-SGD step.

One forward and one backward a micro-batch. Hooks keep each layer's input and see the gradient at its output; their
product, taken record by record, is that record's weight gradient. Plain weight gradients are never formed.

`layers` says what each layer's product is, `norm` is a group norm whose backward holds it already, `clip` bounds and
sums, `model` watches a network, `sums` runs a step's micro-batches, `parallel` side by side.
"""

from dpsynth.privacy.engine.clip import MARGIN, Materialised, bounded, clip, clip_factors
from dpsynth.privacy.engine.model import PerExample
from dpsynth.privacy.engine.parallel import side_by_side
from dpsynth.privacy.engine.sums import Draws, clipped_sum, one_each

__all__ = [
    "MARGIN", "Draws", "Materialised", "PerExample", "bounded", "clip", "clip_factors", "clipped_sum", "one_each",
    "side_by_side",
]  # fmt: skip
