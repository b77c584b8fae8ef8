"""Group normalisation with its shift and its swish in one, whose backward already holds each record's part.

It is the denoiser's most frequent layer. As separate library calls (add, group norm, swish) it took half of a step in
bfloat16; here the statistics are sums over positions, and what follows them is one multiply-add and the swish.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GroupNormSwish(nn.Module):
    """(B, C, H, W), and (B, C) or None -> (B, C, H, W): swish(groupnorm(x + shift)), or without the swish.

    Statistics are of one record at a time, in float32 or better whatever the input's type. Weight and bias enter as one
    row a view (`rows`), so that autograd's gradient of a row is that view's own.

    Args:
        groups: that share the channels equally; if none are given, a quarter as many as channels, and at most 16.
    """

    def __init__(self, channels: int, *, swish: bool = True, eps: float = 1e-6, groups: int | None = None):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.groups, self.swish, self.eps = groups or min(channels // 4, 16), swish, eps

    def rows(self, n: int) -> tuple[Tensor, Tensor]:
        """Weight and bias for each of n rows: (n, C) each. `PerExample` watches the gradients of what it returns."""
        return self.weight.expand(n, -1), self.bias.expand(n, -1)

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        return _GroupNormSwish.apply(x, shift, *self.rows(len(x)), self.groups, self.swish, self.eps)


class _GroupNormSwish(torch.autograd.Function):
    """With v = x + shift: normalised = (v - mean) * rstd by group, y = normalised * weight + bias, out = swish(y)."""

    @staticmethod
    def forward(ctx, x, shift, weight, bias, groups, swish, eps):
        v = _positions(x)
        at = torch.zeros_like(weight, dtype=v.dtype) if shift is None else shift.to(v.dtype)
        n, total, squares = v.shape[1], v.sum(1), v.square().sum(1)  # of x alone; the shift is added in closed form
        mean = _by_group((total + n * at) / n, groups)
        square = _by_group((squares + at * (2 * total + n * at)) / n, groups)
        rstd = ((square - mean.square()).clamp(min=0) + eps).rsqrt()
        scale = rstd * weight
        offset = bias + (at - mean) * scale
        y = torch.addcmul(offset[:, None], v, scale[:, None])
        ctx.save_for_backward(x, weight, at - mean, rstd, scale, offset, total)
        ctx.groups, ctx.swish, ctx.shifted = groups, swish, None if shift is None else shift.dtype
        return _image(F.silu(y) if swish else y, x)

    @staticmethod
    def backward(ctx, g):
        x, weight, centre, rstd, scale, offset, total = ctx.saved_tensors
        v, dy = _positions(x), _positions(g)
        if ctx.swish:
            dy = torch.ops.aten.silu_backward(dy, torch.addcmul(offset[:, None], v, scale[:, None]))
        n, bias = v.shape[1], dy.sum(1)
        by_weight = ((dy * v).sum(1) + centre * bias) * rstd  # sum of dy * normalised
        along = -rstd.square() * _by_group(by_weight * weight / n, ctx.groups)
        constant = along * centre - rstd * _by_group(bias * weight / n, ctx.groups)
        dx = torch.addcmul(constant[:, None], v, along[:, None]).addcmul_(dy, scale[:, None])
        shift = (scale * bias + along * total + n * constant).to(ctx.shifted) if ctx.shifted else None
        return _image(dx, x), shift, by_weight, bias, None, None, None


def _positions(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, HW, C), float32 or better; a view in channels-last memory."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).to(torch.promote_types(x.dtype, torch.float32))


def _image(v: Tensor, like: Tensor) -> Tensor:
    """The reverse, in the type of `like`."""
    return v.to(like.dtype).view(len(like), *like.shape[2:], like.shape[1]).permute(0, 3, 1, 2)


def _by_group(values: Tensor, groups: int) -> Tensor:
    """Mean over each group's channels, at every channel: (B, C) -> (B, C)."""
    grouped = values.view(len(values), groups, -1)
    return grouped.mean(2, keepdim=True).expand_as(grouped).reshape(values.shape)
