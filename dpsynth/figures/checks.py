"""What a figure is given can be drawn, or is refused in one sentence."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def label_name(names: Sequence[str] | None, label: int) -> str:
    """The name of an integer label, where there are names; ValueError if it has none among them."""
    if names is None:
        return str(label)
    if not 0 <= label < len(names):
        raise ValueError(f"label {label} has no name: names has {len(names)} entries")
    return names[label]


def numbers(name: str, values: Any, *, like: Sequence | None = None) -> np.ndarray:
    """`values` (N, ...) as float64; ValueError if they are empty, not finite, or not as many as `like`."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"there is nothing to draw: {name} is empty")
    if not np.isfinite(array).all():
        raise ValueError(f"cannot draw {name}: it holds values that are not finite")
    same_length(name, array, array if like is None else like)
    return array


def same_length(name: str, values: Sequence, like: Sequence) -> None:
    """Raise ValueError unless `values` has as many entries as `like`."""
    if len(values) != len(like):
        raise ValueError(f"{name} has {len(values)} entries where {len(like)} are expected, one for each")
