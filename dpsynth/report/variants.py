"""Variants of one row: runs of a method with different settings, or of a reference row, beside different methods."""

from collections.abc import Iterable
from typing import Any


def agreeing(variants: Iterable[tuple[str, dict[Any, float]]]) -> list[tuple[list[str], dict[Any, float]]]:
    """Variants that agree in what they share are one: of each such group, the names and all values.

    Args:
        variants: name, and values by what they are of (a seed, a metric, a budget).
    """
    groups: list[tuple[list[str], dict[Any, float]]] = []
    for name, values in variants:
        for names, known in groups:
            shared = known.keys() & values.keys()
            if shared and all(known[key] == values[key] for key in shared):
                names.append(name)
                known.update(values)
                break
        else:
            groups.append(([name], dict(values)))
    return groups
