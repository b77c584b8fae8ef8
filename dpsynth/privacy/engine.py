"""Clipped per-record gradients: what enters the sum of a DP-SGD step.

Per-example gradients come from Opacus's hooks, over micro-batches of a fixed shape, so that memory is flat in the
batch and a record's gradient does not depend on how many others were drawn.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

from dpsynth.privacy.coins import Coins
from dpsynth.privacy.mechanisms import MARGIN, Gradients

EXACT = (nn.Conv2d, nn.Linear, nn.GroupNorm, nn.LayerNorm, nn.Embedding)  # layers whose hooks the tests compare


class Draws:
    """Randomness of a loss, addressed by (step, record, call): it does not depend on which other records were drawn.

    Args:
        coins: the release's stream; records: index of each row; views: rows a record.
    """

    def __init__(self, coins: Coins, step: int, records: list[int], views: int):
        self._coins, self._step, self._records, self._views, self._call = coins, step, records, views, 0

    def _rows(self, draw: Callable, shape: tuple[int, ...]) -> Tensor:
        self._call += 1
        size = int(np.prod(shape))
        address = ("draw", self._step, self._call)
        rows = [draw((*address, record), self._views * size) for record in self._records]
        return torch.from_numpy(np.stack(rows)).float().view(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """Standard normals: (rows, *shape) float32."""
        return self._rows(self._coins.normals, shape)

    def uniform(self) -> Tensor:
        """Uniforms in [0, 1): (rows,) float32."""
        return self._rows(self._coins.uniforms, ())


def check(model: nn.Module) -> None:
    """Refuse, by name, any layer with trainable weights whose per-example gradient we have not proved exact.

    Raises:
        ValueError: names the layers.
    """
    bad = [f"{name} ({type(layer).__name__})" for name, layer in model.named_modules() if not _exact(layer)]
    if bad:
        raise ValueError(f"no exact per-example gradient for {', '.join(bad)}; use {[t.__name__ for t in EXACT]}")


def _exact(layer: nn.Module) -> bool:
    if not any(p.requires_grad for p in layer.parameters(recurse=False)):
        return True
    return type(layer) in EXACT and getattr(layer, "padding_mode", "zeros") == "zeros"


def clipped_sum(
    model: GradSampleModule, loss: Callable, images: Tensor, labels: Tensor, records: list[int],
    mechanism: Gradients, coins: Coins, step: int, microbatch: int,
) -> list[Tensor]:  # fmt: skip
    """Sum over the drawn records of their clipped mean gradients.

    Args:
        model: wrapped by `GradSampleModule`; loss: `loss(images, labels, draws) -> (rows,)`, one value a row.
        images, labels: all records; records: indices of the drawn ones, possibly none.
        microbatch: rows (records times views) computed on at once.
    Returns:
        One float64 tensor a trainable parameter. Each record's part has l2 norm at most max_grad_norm; a record whose
        gradient is not finite has none.
    """
    views, trainable = mechanism.noise_multiplicity, [p for p in model.parameters() if p.requires_grad]
    total = [torch.zeros(p.shape, dtype=torch.float64) for p in trainable]
    at_once = max(1, microbatch // views)
    for start in range(0, len(records), at_once):
        part = records[start : start + at_once]
        padded = part + [part[-1]] * (at_once - len(part))
        draws = Draws(coins, step, padded, views)
        rows = torch.tensor(padded).repeat_interleave(views)
        model.zero_grad()
        with warnings.catch_warnings():
            # Opacus's hooks see an input that needs no gradient (the image); torch warns of it, and it is meant so.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            # Torch remarks once that plain gradients come in another memory layout; nobody reads them.
            warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout")
            loss(images[rows], labels[rows], draws).sum().backward()
        gradients = [_mean_of_views(p, views)[: len(part)] for p in trainable]
        for into, addition in zip(total, clip(gradients, mechanism.max_grad_norm), strict=True):
            into += addition
    model.zero_grad()
    return total


def _mean_of_views(parameter: Tensor, views: int) -> Tensor:
    gradient = parameter.grad_sample
    return gradient.view(-1, views, *parameter.shape).mean(1)


def clip(gradients: list[Tensor], max_grad_norm: float) -> list[Tensor]:
    """Sum over the first axis of the records' gradients, each scaled to a joint l2 norm of at most max_grad_norm.

    Args:
        gradients: one (B, *shape) float32 tensor a parameter.
    Returns:
        One float64 tensor a parameter. Records whose norm is not finite are left out by selection.
    """
    squares = torch.stack([g.flatten(1).double().square().sum(1) for g in gradients])  # (P, B)
    norms = squares.sum(0).sqrt()
    finite = norms.isfinite().nonzero().flatten()
    bound = max_grad_norm * MARGIN
    factors = (bound / norms[finite].clamp(min=bound)).float()  # at most 1
    return [torch.tensordot(factors, g[finite], dims=1).double() for g in gradients]
