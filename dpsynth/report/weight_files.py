"""The weights of a synthesiser as one file of numpy's, small enough to be committed or mailed."""

import io
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dpsynth.artifacts import Synthesiser
from dpsynth.models import networks, samplers

LIMIT = 1_000_000  # bytes: a repository can hold hundreds of such files
TOLERANCE = 1.0  # of 255: mean absolute difference of pixels that rounding to float16 may make
COMPARED = 100  # images that it is measured on


class WeightFile(NamedTuple):
    """The weights' file: its bytes, the type of its numbers, and by how much of 255 rounding changes pixels: the mean
    absolute difference and the largest; None where nothing was rounded."""

    content: bytes
    dtype: str
    change: tuple[float, float] | None = None


def weight_file(synthesiser: Synthesiser, name: str) -> WeightFile:
    """The weights as they are; in float16 where only that is within the limit, and hardly changes samples.

    Args:
        name: of the run, for errors.
    Raises:
        ValueError: as of `export`.
    """
    exact = WeightFile(_npz(synthesiser.weights), _dtype(synthesiser.weights))
    if len(exact.content) <= LIMIT:
        return exact
    rounded = {name: w.half() if w.is_floating_point() else w for name, w in synthesiser.weights.items()}
    content = _npz(rounded)
    if len(content) > LIMIT:
        raise ValueError(
            f"the weights of {name} take {len(exact.content):,} bytes, in float16 {len(content):,}, and an export has "
            f"at most {LIMIT:,}: pass them on as an artifact, or as `dpsynth pack` writes them"
        )
    mean, largest = rounding(synthesiser, rounded)
    if not mean <= TOLERANCE:
        raise ValueError(
            f"the weights of {name} take {len(exact.content):,} bytes, an export has at most {LIMIT:,}, and in "
            f"float16 pixels change by {mean:.2f} of 255 on average, where {TOLERANCE:g} is the most"
        )
    return WeightFile(content, _dtype(rounded), (mean, largest))


def rounding(synthesiser: Synthesiser, rounded: dict[str, Tensor]) -> tuple[float, float]:
    """Mean absolute and largest difference of pixels, of 255, over `COMPARED` samples at equal seeds."""
    labels = torch.arange(COMPARED) % synthesiser.architecture["n_labels"]
    before, after = (
        samplers.sample(networks.rebuild(synthesiser.architecture, weights), labels, seed=0).double()
        for weights in (synthesiser.weights, rounded)
    )
    change = (before - after).abs()
    return change.mean().item(), change.max().item()


def _npz(weights: dict[str, Tensor]) -> bytes:
    """The same weights are the same bytes: numpy writes no time into the file."""
    file = io.BytesIO()
    np.savez_compressed(file, **{name: tensor.numpy() for name, tensor in weights.items()})
    return file.getvalue()


def _dtype(weights: dict[str, Tensor]) -> str:
    return " and ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in weights.values()}))
