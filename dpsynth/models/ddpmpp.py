"""The papers' denoiser network: the DDPM++ U-Net of Song et al. (2021, App. H), which DPDM and PrivImage call "song".

Residual blocks of BigGAN's kind, which also halve and double an image's side; the output of every block on the way
down is a skip, concatenated on the way up. Normalisation is GroupNorm, and nothing couples records. What differs from
the papers' code: a label table in unlabelled sets too (its two rows), no dropout, which they set to 0; each
attention's three inward maps are one matrix.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsynth.models.unet import embed_noise_level, groups_of, zeroed
from dpsynth.privacy.engine.norm import GroupNormSwish

DECADES = -4.0  # the slowest of the frequencies that embed the noise level: the papers' base of 10,000


class ResBlock(nn.Module):
    """(B, C, H, W), (B, E) -> (B, C', H', W'): (shortcut + branch) / sqrt 2; the embedding shifts the middle.

    Args:
        resample: "down", means of two by two pixels; "up", each pixel four times; or None, the side stays.
    """

    def __init__(self, inward: int, outward: int, embedding: int, resample: str | None = None):
        super().__init__()
        self.norm1, self.conv1 = norm(inward), nn.Conv2d(inward, outward, 3, padding=1)
        self.shift = nn.Linear(embedding, outward)
        self.norm2, self.conv2 = norm(outward), nn.Conv2d(outward, outward, 3, padding=1)
        same = inward == outward and resample is None
        self.shortcut = nn.Identity() if same else nn.Conv2d(inward, outward, 1)
        self.resample = resample

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(self.resized(self.norm1(x)))
        h = self.conv2(self.norm2(h, self.shift(embedding)))
        return (self.shortcut(self.resized(x)) + h) / math.sqrt(2)

    def resized(self, x: Tensor) -> Tensor:
        """`x` at the side of the output."""
        if self.resample is None:
            return x
        return F.avg_pool2d(x, 2) if self.resample == "down" else F.interpolate(x, scale_factor=2, mode="nearest")


class Attention(nn.Module):
    """(B, C, H, W) -> (B, C, H, W): single-head self-attention over the H*W positions, (x + attended) / sqrt 2."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm(channels, swish=False)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, HW, C)
        q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1)  # (B, HW, HW)
        attended = self.out(weights @ v).transpose(1, 2).reshape(x.shape)
        return (x + attended) / math.sqrt(2)


class DDPMpp(nn.Module):
    """F(x, c_noise, label) of the EDM parameterisation: (B, C, S, S), (B,), (B,) -> (B, C, S, S).

    Args:
        channels, size: shape of an image; n_labels: number of classes; the table has one more row, the null label.
        width: channels of a level of 1; levels: channels of each, in widths, each with half the side of the one above.
        blocks: residual blocks of a level, on the way down; there is one more on that up.
        attention: sides in pixels: at such a level each block down, and the last one up, is followed by attention.
    Raises:
        ValueError: the side cannot be halved between all levels, or attention is asked for at a side that none has.
    """

    def __init__(
        self, channels: int, size: int, n_labels: int, width: int, levels: list[int], blocks: int, attention: list[int]
    ):
        super().__init__()
        attends = [side in attention for side in sides_of(size, levels, attention)]
        self.shape, self.n_labels, self.width = (channels, size, size), n_labels, width
        embedding = 4 * width
        self.label = nn.Embedding(n_labels + 1, width)
        self.time = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        down = way_down(width, levels, blocks, attends)
        up = way_up(width, levels, blocks, attends, skips=[width, *(step.outward for step in down)])
        lowest, highest = down[-1].outward, up[-1].outward
        self.down, self.up = (
            nn.ModuleList(ResBlock(step.inward, step.outward, embedding, step.resample) for step in way)
            for way in (down, up)
        )
        self.attention_down, self.attention_up = (
            nn.ModuleList(Attention(step.outward) if step.attends else nn.Identity() for step in way)
            for way in (down, up)
        )
        self.middle = nn.ModuleList([ResBlock(lowest, lowest, embedding), ResBlock(lowest, lowest, embedding)])
        self.attention_middle = Attention(lowest)
        self.head_norm, self.head = norm(highest), nn.Conv2d(highest, channels, 3, padding=1)
        self.initialise()

    def initialise(self) -> None:
        """Uniform weights of variance 1 / fan, the mean of fan-in and fan-out, and no bias; last layers zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, ResBlock):
                zeroed(module.conv2)
            if isinstance(module, Attention):
                zeroed(module.out)
        zeroed(self.head)

    def forward(self, x: Tensor, noise: Tensor, label: Tensor) -> Tensor:
        embedding = F.silu(self.time(embed_noise_level(noise, self.width, DECADES) + self.label(label)))
        h = self.stem(x)
        skips = [h]
        for block, attention in zip(self.down, self.attention_down, strict=True):
            h = attention(block(h, embedding))
            skips.append(h)
        h = self.middle[1](self.attention_middle(self.middle[0](h, embedding)), embedding)
        for block, attention in zip(self.up, self.attention_up, strict=True):
            if block.resample is None:
                h = torch.cat([h, skips.pop()], dim=1)
            h = attention(block(h, embedding))
        return self.head(self.head_norm(h))


class Step(NamedTuple):
    """A residual block of the way down or up: its channels, as of `ResBlock`, and whether attention follows it."""

    inward: int
    outward: int
    resample: str | None
    attends: bool


def way_down(width: int, levels: list[int], blocks: int, attends: list[bool]) -> list[Step]:
    """`blocks` a level, each followed by attention where the level `attends`; one that halves before all but the
    first."""
    steps, here = [], width
    for level, multiple in enumerate(levels):
        if level:
            steps.append(Step(here, here, "down", False))
        for _ in range(blocks):
            steps.append(Step(here, width * multiple, None, attends[level]))
            here = width * multiple
    return steps


def way_up(width: int, levels: list[int], blocks: int, attends: list[bool], skips: list[int]) -> list[Step]:
    """One block a level more, each taking the last of the `skips` that is left, attention after the level's last; one
    that doubles after all but the last."""
    steps, here = [], skips[-1]
    for level in reversed(range(len(levels))):
        for block in range(blocks + 1):
            steps.append(Step(here + skips.pop(), width * levels[level], None, attends[level] and block == blocks))
            here = width * levels[level]
        if level:
            steps.append(Step(here, here, "up", False))
    return steps


def norm(channels: int, swish: bool = True) -> GroupNormSwish:
    """Of min(C / 4, 32) groups, as the papers', or as many as divide the channels."""
    return GroupNormSwish(channels, swish=swish, groups=groups_of(channels, min(channels // 4, 32)))


def sides_of(size: int, levels: list[int], attention: list[int]) -> list[int]:
    """The side of each level, in pixels.

    Raises:
        ValueError: as of `DDPMpp`.
    """
    halvings = len(levels) - 1
    if size % 2**halvings:
        raise ValueError(
            f"unet: {len(levels)} levels halve a side {halvings} times, and {size} pixels cannot be; give fewer levels"
        )
    sides = [size >> level for level in range(len(levels))]
    if missing := [side for side in attention if side not in sides]:
        there = ", ".join(map(str, sides))
        raise ValueError(f"unet: attention at {missing[0]} pixels, but the levels have {there}; name one of these")
    return sides
