"""A micro-batch's per-record gradients of one weight, as they are kept until the norms are known, and their clip."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dpsynth.privacy.engine.layers import Rule
from dpsynth.privacy.mechanisms import MARGIN

LARGEST = 2.0**63  # the square of a norm above it would overflow in float32
PIECE = 2**13  # columns taken at once: few enough for float32 to add their squares within MARGIN, and for the cache


@dataclass(frozen=True)
class Materialised:
    """The gradients themselves (Opacus: grad samples), in `blocks` of (records, ...) each, used for norm and sum.

    They may be bfloat16: what is measured is what is summed, in float32 or better.
    """

    blocks: list[Tensor]
    rule: Rule | None = None
    layer: torch.nn.Module | None = None

    def squares(self) -> Tensor:
        """Squared l2 norm of each record's gradient: (records,) float64."""
        norms = [_norms(piece) for block in self.blocks for piece in _pieces(block)]
        return torch.stack(norms).double().square().sum(0)

    def select(self, records: slice | Tensor) -> "Materialised":
        """Of some of the records."""
        return Materialised([block[records] for block in self.blocks], self.rule, self.layer)

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """Sum over the records of their gradients times `factors` (records,): the weight's shape, float64."""
        sums = [torch.cat([_weighted(factors, piece) for piece in _pieces(block)]) for block in self.blocks]
        return self._whole([total.view(block.shape[1:]) for total, block in zip(sums, self.blocks, strict=True)])

    def per_example(self) -> Tensor:
        """The gradients: (records, *shape), float32 or better."""
        return self._whole([_wide(block) for block in self.blocks], torch.float32)

    def materialised(self) -> "Materialised":
        """A part that holds the gradients already, as it is."""
        return self

    def __add__(self, other: "Part") -> "Materialised":
        """Of a weight used twice in one forward: the sum of both uses."""
        both = zip(self.blocks, other.materialised().blocks, strict=True)
        return Materialised([a + b for a, b in both], self.rule, self.layer)

    def _whole(self, blocks: list[Tensor], dtype: torch.dtype = torch.float64) -> Tensor:
        whole = self.rule.whole(self.layer, blocks) if self.rule else blocks[0]
        return whole.to(torch.promote_types(whole.dtype, dtype))


@dataclass(frozen=True)
class Ghost:
    """A layer's inputs and output gradients, (records, views, ...) each, whose products are never formed (ghost
    clipping).

    The norm comes from inner products of positions (Goodfellow 2015), the sum from one product of all records.
    """

    a: Tensor
    g: Tensor
    rule: Rule
    layer: torch.nn.Module

    def squares(self) -> Tensor:
        """As of `Materialised`, and above it by what rounding in float32 may hide, so that the clip holds all the
        same."""
        exact, reach, terms = self.rule.products.squares(self.layer, self.a, self.g)
        return exact.clamp(min=0) + terms * torch.finfo(torch.float32).eps / 2 * reach.square()

    def select(self, records: slice | Tensor) -> "Ghost":
        """As of `Materialised`."""
        return Ghost(self.a[records], self.g[records], self.rule, self.layer)

    def weighted_sum(self, factors: Tensor) -> Tensor:
        """As of `Materialised`."""
        g = self.g * factors.to(self.g.dtype).view(-1, *[1] * (self.g.ndim - 1))
        return self.rule.products.total(self.layer, self.a, g).double()

    def per_example(self) -> Tensor:
        """As of `Materialised`."""
        return self.materialised().per_example()

    def materialised(self) -> Materialised:
        """The same with the products formed."""
        records, a, g = len(self.a), self.a.flatten(0, 1), self.g.flatten(0, 1)
        return Materialised(self.rule.weight(self.layer, a, g, records), self.rule, self.layer)

    def __add__(self, other: "Part") -> Materialised:
        """As of `Materialised`."""
        return self.materialised() + other.materialised()


Part = Materialised | Ghost


def clip(parts: list[Part], max_grad_norm: float) -> list[Tensor]:
    """Sum over the records of their gradients, each scaled to a joint l2 norm of at most max_grad_norm.

    Args:
        parts: one a weight, of the same records.
    Returns:
        One float64 tensor a part. Records whose norm is NaN, or above LARGEST, are left out by selection.
    """
    norms = torch.stack([part.squares() for part in parts]).sum(0).sqrt()
    finite = norms < LARGEST  # false of NaN
    if not finite.all():
        parts, norms = [part.select(finite) for part in parts], norms[finite]
    factors = clip_factors(norms, max_grad_norm)
    return [part.weighted_sum(factors) for part in parts]


def clip_at_once(parts: list[Part], count: int, max_grad_norm: float) -> tuple[list[Tensor], Tensor]:
    """`clip` of the first `count` records, of the parts of `count` and more, without waiting for the device.

    Returns:
        One float64 tensor a part, and whether every gradient is finite: () bool. If not, the sums are not to be used.
    """
    norms = torch.stack([part.squares() for part in parts]).sum(0).sqrt()
    counted = torch.arange(len(norms), device=norms.device) < count
    factors = torch.where(counted, clip_factors(norms, max_grad_norm), 0.0)
    return [part.weighted_sum(factors) for part in parts], (norms < LARGEST).all()


def bounded(vectors: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Rows of `vectors` (B, D), each scaled down to an l2 norm of at most `bound`; rows not finite are left out.

    Returns:
        The finite rows in float64, (F, D), and which they are, (B,) bool.
    """
    norms = torch.linalg.vector_norm(vectors.double(), dim=1)
    finite = norms.isfinite()
    return vectors.double()[finite] * clip_factors(norms[finite], bound)[:, None], finite


def clip_factors(norms: Tensor, bound: float) -> Tensor:
    """What to multiply vectors of these norms by: at most 1, and to a norm a little below `bound`."""
    return bound * MARGIN / norms.clamp(min=bound * MARGIN)


def rounded_down(factors: Tensor) -> Tensor:
    """Factors of at least 0 in bfloat16, none above what it was in float32: its first 16 bits."""
    return (factors.float().view(torch.int32) & -(2**16)).view(torch.float32).bfloat16()


def _pieces(block: Tensor) -> Iterator[Tensor]:
    """On a GPU the block is one piece, and as it is: its kernels add by trees, and read bfloat16."""
    if block.is_cuda:
        return iter((block.flatten(1),))
    return map(_wide, block.flatten(1).split(PIECE, dim=1))


def _norms(piece: Tensor) -> Tensor:
    return torch.linalg.vector_norm(piece, dim=1, dtype=torch.promote_types(piece.dtype, torch.float32))


def _weighted(factors: Tensor, piece: Tensor) -> Tensor:
    """Sum over the records, in float32 or better."""
    if piece.dtype == torch.bfloat16:
        return torch.mm(rounded_down(factors)[None], piece, out_dtype=torch.float32)[0]
    return factors.to(piece.dtype) @ piece


def _wide(block: Tensor) -> Tensor:
    return block.to(torch.promote_types(block.dtype, torch.float32))
