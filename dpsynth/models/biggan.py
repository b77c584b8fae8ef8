"""The papers' GAN: BigGAN (Brock et al. 2019, App. B) as PrivImage+G, DPGAN and DPGAN-p have it (PrivImage, Table 6).

A width of 96 is theirs at 32 pixels, one of 64 at 64 pixels. The generator sees no record, and has what no private
network may: conditional normalisation by the label and a part of the latents at each block, and self-attention. The
discriminator has layers with an exact per-record gradient alone, and takes the label by projection. What differs: group
norm in the generator too, for batch norm, which leaves no running statistics to keep; no spectral norm within a
network (`gan.scale_to_unit_norm` bounds the discriminator's maps); no norm of the images themselves.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsynth.models.unet import groups_of
from dpsynth.privacy.engine.norm import GroupNormSwish

LATENT, LABEL = 80, 128  # numbers that an image is drawn from, in equal parts for start and blocks; of a label
BOTTOM = 4  # the side that the generator starts at
# By the side of an image: channels in widths, at the start and after each block; how many blocks of D halve.
GENERATOR = {32: (4, 4, 4, 4), 64: (16, 8, 4, 2, 1)}
DISCRIMINATOR = {32: (2, 2, 2, 2), 64: (1, 2, 4, 8, 16)}
HALVINGS = {32: 2, 64: 4}
ATTENTION = 16  # the side at which the generator attends


class Modulated(nn.Module):
    """(B, C, H, W), (B, E) -> (B, C, H, W): relu of a group norm that the code scales and shifts."""

    def __init__(self, channels: int, code: int):
        super().__init__()
        self.groups = groups_of(channels, 32)
        self.scale, self.shift = (nn.Linear(code, channels, bias=False) for _ in range(2))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.scale(code)[:, :, None, None], self.shift(code)[:, :, None, None]
        return F.relu(F.group_norm(x, self.groups) * (1 + scale) + shift)


class GenBlock(nn.Module):
    """(B, C, H, W), (B, E) -> (B, C', 2 H, 2 W)."""

    def __init__(self, inward: int, outward: int, code: int):
        super().__init__()
        self.norm1, self.conv1 = Modulated(inward, code), nn.Conv2d(inward, outward, 3, padding=1)
        self.norm2, self.conv2 = Modulated(outward, code), nn.Conv2d(outward, outward, 3, padding=1)
        self.shortcut = nn.Conv2d(inward, outward, 1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        h = self.conv1(F.interpolate(self.norm1(x, code), scale_factor=2))
        return self.conv2(self.norm2(h, code)) + self.shortcut(F.interpolate(x, scale_factor=2))


class Attention(nn.Module):
    """(B, C, H, W) -> (B, C, H, W): self-attention to maxima of two by two positions; none at first."""

    def __init__(self, channels: int):
        super().__init__()
        self.query, self.key = (nn.Conv2d(channels, channels // 8, 1, bias=False) for _ in range(2))
        self.value = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.out = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2)
        key, value = (F.max_pool2d(maps(x), 2).flatten(2) for maps in (self.key, self.value))
        weights = torch.softmax(query.mT @ key, dim=-1)  # (B, HW, HW / 4)
        attended = (value @ weights.mT).unflatten(2, x.shape[2:])
        return x + self.gain * self.out(attended)


class Generator(nn.Module):
    """G(z, label): (B, LATENT), (B,) -> (B, C, S, S) in (-1, 1).

    Args:
        channels, size: shape of an image, of 32 or 64 pixels; n_labels: number of classes.
        width: channels are multiples of it, `GENERATOR`.
    Raises:
        ValueError: images of another size.
    """

    def __init__(self, channels: int, size: int, n_labels: int, width: int):
        super().__init__()
        refuse_other_sizes(size)
        self.architecture = dict(
            network="biggan_generator", channels=channels, size=size, n_labels=n_labels, width=width,
        )  # fmt: skip
        stages = [width * multiple for multiple in GENERATOR[size]]
        self.n_labels, self.latent, self.part = n_labels, LATENT, LATENT // len(stages)
        self.label = nn.Embedding(n_labels, LABEL)
        self.first = nn.Linear(self.part, stages[0] * BOTTOM**2)
        code = LABEL + self.part
        self.blocks = nn.ModuleList(GenBlock(*pair, code) for pair in pairwise(stages))
        self.attention = Attention(stages[2])
        self.last_norm, self.last = Rectified(stages[-1]), nn.Conv2d(stages[-1], channels, 3, padding=1)
        orthogonal(self)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        start, *parts = z.split(self.part, dim=1)
        label = self.label(label)
        h = self.first(start).view(len(z), -1, BOTTOM, BOTTOM)
        for block, part in zip(self.blocks, parts, strict=True):
            h = block(h, torch.cat([label, part], dim=1))
            if h.shape[-1] == ATTENTION:
                h = self.attention(h)
        return torch.tanh(self.last(self.last_norm(h)))


class DiscBlock(nn.Module):
    """(B, C, H, W) -> (B, C', H', W'); `halves`: means of two by two pixels; `first`: of images, which get no norm."""

    def __init__(self, inward: int, outward: int, halves: bool, first: bool):
        super().__init__()
        self.norm1 = nn.Identity() if first else Rectified(inward)
        self.conv1 = nn.Conv2d(inward, outward, 3, padding=1)
        self.norm2, self.conv2 = Rectified(outward), nn.Conv2d(outward, outward, 3, padding=1)
        self.shortcut, self.norm = nn.Identity(), nn.Identity()
        if halves or inward != outward:
            self.shortcut = nn.Conv2d(inward, outward, 1)
            self.norm = nn.Identity() if first else norm(inward)
        self.halves = halves

    def forward(self, x: Tensor) -> Tensor:
        h, x = self.conv2(self.norm2(self.conv1(self.norm1(x)))), self.norm(x)
        if self.halves:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return h + self.shortcut(x)


class Rectified(nn.Module):
    """(B, C, H, W) -> (B, C, H, W): relu of a group norm."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(x))


class Discriminator(nn.Module):
    """D(x, label): (B, C, S, S), (B,) -> (B,), w . h(x) + <Emb(label), h(x)>; large for what looks real.

    Each layer is one whose per-record gradient `PerExample` proves. Arguments as of `Generator`, with `DISCRIMINATOR`.
    """

    def __init__(self, channels: int, size: int, n_labels: int, width: int):
        super().__init__()
        refuse_other_sizes(size)
        stages = [channels, *(width * multiple for multiple in DISCRIMINATOR[size])]
        pairs = enumerate(pairwise(stages))
        self.blocks = nn.Sequential(*(DiscBlock(*pair, n < HALVINGS[size], n == 0) for n, pair in pairs))
        self.value, self.label = nn.Linear(stages[-1], 1), nn.Embedding(n_labels, stages[-1])
        orthogonal(self)
        nn.init.zeros_(self.label.weight)  # as in `gan.Discriminator`

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        h = F.relu(self.blocks(x)).sum((2, 3))
        return self.value(h)[:, 0] + (self.label(label) * h).sum(1)


class BigGan(nn.Module):
    """Both networks, as a base model holds them."""

    def __init__(self, channels: int, size: int, n_labels: int, width: int):
        super().__init__()
        self.architecture = dict(network="biggan", channels=channels, size=size, n_labels=n_labels, width=width)
        self.n_labels = n_labels
        self.generator = Generator(channels, size, n_labels, width)
        self.discriminator = Discriminator(channels, size, n_labels, width)


def norm(channels: int) -> GroupNormSwish:
    """Of 32 groups, as DPImageBench's discriminator, or as many as divide the channels."""
    return GroupNormSwish(channels, swish=False, groups=groups_of(channels, 32))


def refuse_other_sizes(size: int) -> None:
    """Raises:
    ValueError: BigGAN has no such size.
    """
    if size not in GENERATOR:
        raise ValueError(
            f"gan_network: biggan draws images of {' or '.join(map(str, GENERATOR))} pixels, and these have {size}; "
            "leave it out"
        )


def orthogonal(network: nn.Module) -> None:
    """Orthogonal weights, as BigGAN's, and no bias."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.orthogonal_(layer.weight)
            if getattr(layer, "bias", None) is not None:
                nn.init.zeros_(layer.bias)
