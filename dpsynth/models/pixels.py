"""Pixels: uint8 at rest, float32 in [-1, 1] where networks compute."""

import torch
from torch import Tensor


def scaled(images: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [-1, 1], elementwise."""
    return images.float() / 127.5 - 1


def to_bytes(x: Tensor) -> Tensor:
    """The reverse, elementwise: what lies outside [-1, 1] is cut off, the rest rounded to uint8.

    >>> to_bytes(torch.tensor([-3.0, -1.0, 0.0, 1.0])).tolist()
    [0, 0, 128, 255]
    """
    return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
