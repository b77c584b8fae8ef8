"""What each layer's per-record weight gradient is, as a product of its input and the gradient at its output.

Everywhere: `a` is the layer's input, `g` the gradient at its output, both with one row a view, the views of a record
beside each other; `records` says how many records that is. A record's gradient is the sum over its views.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ByProducts(NamedTuple):
    """Norms and sums without forming per-record gradients; `a` and `g` in float32 or better, (records, views, ...).

    `positions(layer, g, records)`: how many products a record's gradient sums, or None where this way is not offered.
    `squares(layer, a, g)`: each record's squared norm (records,), the sum over positions of |a||g|, and how many terms
    the two inner products add: their rounding is at most so many units in the last place of that sum, squared.
    `total(layer, a, g)`: the gradient summed over all records.
    """

    positions: Callable
    squares: Callable
    total: Callable


class Rule(NamedTuple):
    """Of one type of layer.

    `weight(layer, a, g, records)`: blocks of (records, ...). `whole(layer, blocks)`: blocks, with or without their
    first axis, to the shape of the weight. `bias(layer, g, records)`: (records, channels).
    """

    weight: Callable
    whole: Callable
    bias: Callable | None = None
    products: ByProducts | None = None


def _linear(layer: nn.Linear, a: Tensor, g: Tensor, records: int) -> list[Tensor]:
    return [g.reshape(records, -1, g.shape[-1]).mT @ a.to(g.dtype).reshape(records, -1, a.shape[-1])]


def _linear_positions(layer: nn.Linear, g: Tensor, records: int) -> int:
    return g.numel() // (records * g.shape[-1])


def _linear_squares(layer: nn.Linear, a: Tensor, g: Tensor) -> tuple[Tensor, Tensor, int]:
    a, g = a.flatten(1, -2).double(), g.flatten(1, -2).double()
    reach = (a.norm(dim=2) * g.norm(dim=2)).sum(1)
    if a.shape[1] == 1:
        return reach.square(), reach, 1
    return ((a @ a.mT) * (g @ g.mT)).sum((1, 2)), reach, a.shape[1]


def _linear_total(layer: nn.Linear, a: Tensor, g: Tensor) -> Tensor:
    return g.flatten(0, -2).mT @ a.flatten(0, -2)


def _conv2d(layer: nn.Conv2d, a: Tensor, g: Tensor, records: int) -> list[Tensor]:
    """One block a row of the kernel. In channels-last memory what lies below a kernel's row is one run of numbers, so
    that a strided view, copied once, serves all rows of the kernel."""
    if a.is_cuda and layer.stride == (1, 1) and len(a) > records:
        return _conv2d_shifted(layer, a, g, records)
    (tall, wide), (down, _) = layer.kernel_size, layer.stride
    g = g.permute(0, 2, 3, 1)
    below = _below(layer, a.to(g.dtype), g.shape[2])
    high, c = below.shape[1], a.shape[1]
    g = g.reshape(records, -1, g.shape[-1]).mT
    end = high - tall + 1
    return [g @ below[:, i : i + end : down].reshape(records, -1, wide * c) for i in range(tall)]


def _conv2d_shifted(layer: nn.Conv2d, a: Tensor, g: Tensor, records: int) -> list[Tensor]:
    """The same at stride 1, where several views would have each row of the kernel copy its part of what lies below.

    With rows of zeros under each view's gradient, a row of the kernel is a shift of one and the same run of positions,
    over all views of a record.
    """
    tall, wide = layer.kernel_size
    g = g.permute(0, 2, 3, 1)
    below = _below(layer, a.to(g.dtype), g.shape[2]).view(records, -1, wide * a.shape[1])
    line, g = g.shape[2], F.pad(g, (0, 0, 0, 0, 0, tall - 1)).reshape(records, -1, g.shape[-1])
    n = g.shape[1] - (tall - 1) * line
    return [g[:, :n].mT @ below[:, i * line : i * line + n] for i in range(tall)]


def _below(layer: nn.Conv2d, a: Tensor, columns: int) -> Tensor:
    """What lies below a kernel's row at each place: (rows, H, columns, kernel's width times C), H with its padding."""
    a = _padded(layer, a)
    rows, high, line, c = a.shape
    wide, right = layer.kernel_size[1], layer.stride[1]
    return a.as_strided((rows, high, columns, wide * c), (high * line * c, line * c, right * c, 1)).contiguous()


def _conv2d_whole(layer: nn.Conv2d, blocks: list[Tensor]) -> Tensor:
    return torch.stack(blocks, -2).unflatten(-1, (layer.kernel_size[1], layer.in_channels)).movedim(-1, -3)


def _conv2d_bias(layer: nn.Conv2d, g: Tensor, records: int) -> Tensor:
    return _summed(g.permute(0, 2, 3, 1), records)


def _conv2d_positions(layer: nn.Conv2d, g: Tensor, records: int) -> int | None:
    """Not on a GPU: its convolutions in float32 may round to TF32, in the sum and not in the norm."""
    return g.numel() // (records * g.shape[1]) if layer.stride == (1, 1) and not g.is_cuda else None


def _conv2d_squares(layer: nn.Conv2d, a: Tensor, g: Tensor) -> tuple[Tensor, Tensor, int]:
    """Inner products of patches are sums, over the kernel's taps, of inner products of positions."""
    records, (tall, wide) = len(a), layer.kernel_size
    views, (high, line) = g.shape[1], g.shape[3:]
    a = _padded(layer, a.flatten(0, 1))
    at = a.reshape(records, -1, a.shape[-1])
    gram = (at @ at.mT).view(records, *(views, *a.shape[1:3]) * 2)
    to = g.transpose(1, 2).flatten(2)
    grad = (to.mT @ to).view(records, *(views, high, line) * 2)
    taps = [
        gram[:, :, i : i + high, j : j + line, :, i : i + high, j : j + line] for i in range(tall) for j in range(wide)
    ]
    both = (sum(taps[1:], start=taps[0]) * grad).flatten(4).flatten(1, 3)  # (records, positions, positions)
    reach = both.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt().sum(1).double()
    return both.sum((1, 2), dtype=torch.float64), reach, a.shape[-1] + tall * wide + to.shape[1]


def _conv2d_total(layer: nn.Conv2d, a: Tensor, g: Tensor) -> Tensor:
    a, g = (t.flatten(0, 1).contiguous(memory_format=torch.channels_last) for t in (a, g))
    return torch.nn.grad.conv2d_weight(a, layer.weight.shape, g, layer.stride, layer.padding)


def _group_norm(layer: nn.GroupNorm, a: Tensor, g: Tensor, records: int) -> list[Tensor]:
    normalised = F.group_norm(a.to(g.dtype), layer.num_groups, eps=layer.eps)
    return [(g * normalised).flatten(2).sum(2).view(records, -1, a.shape[1]).sum(1)]


def _group_norm_bias(layer: nn.GroupNorm, g: Tensor, records: int) -> Tensor:
    return g.flatten(2).sum(2).view(records, -1, g.shape[1]).sum(1)


def _layer_norm(layer: nn.LayerNorm, a: Tensor, g: Tensor, records: int) -> list[Tensor]:
    return [_summed(g * F.layer_norm(a.to(g.dtype), layer.normalized_shape, eps=layer.eps), records)]


def _embedding(layer: nn.Embedding, a: Tensor, g: Tensor, records: int) -> list[Tensor]:
    rows = F.one_hot(a.reshape(records, -1), layer.num_embeddings).to(g.dtype)  # (records, positions, entries)
    return [rows.mT @ g.reshape(records, -1, g.shape[-1])]


def _only(layer: nn.Module, blocks: list[Tensor]) -> Tensor:
    return blocks[0]


def _last_axis_bias(layer: nn.Module, g: Tensor, records: int) -> Tensor:
    return _summed(g, records)


def _summed(g: Tensor, records: int) -> Tensor:
    """Sum over views and positions: (rows, ..., C) -> (records, C), float32 or better."""
    return g.reshape(records, -1, g.shape[-1]).sum(1, dtype=torch.promote_types(g.dtype, torch.float32))


def _padded(layer: nn.Conv2d, a: Tensor) -> Tensor:
    """(rows, C, H, W) -> (rows, H + 2 up, W + 2 left, C), contiguous."""
    up, left = layer.padding
    return F.pad(a.permute(0, 2, 3, 1), (0, 0, left, left, up, up)).contiguous()


LINEAR_PRODUCTS = ByProducts(_linear_positions, _linear_squares, _linear_total)
CONV2D_PRODUCTS = ByProducts(_conv2d_positions, _conv2d_squares, _conv2d_total)
RULES = {
    nn.Linear: Rule(_linear, _only, _last_axis_bias, LINEAR_PRODUCTS),
    nn.Conv2d: Rule(_conv2d, _conv2d_whole, _conv2d_bias, CONV2D_PRODUCTS),
    nn.GroupNorm: Rule(_group_norm, _only, _group_norm_bias),
    nn.LayerNorm: Rule(_layer_norm, _only, _last_axis_bias),
    nn.Embedding: Rule(_embedding, _only),
}


def rule_of(layer: nn.Module) -> Rule:
    """The rule of the layer's type, or of the type that it extends."""
    return next(RULES[kind] for kind in type(layer).__mro__ if kind in RULES)
