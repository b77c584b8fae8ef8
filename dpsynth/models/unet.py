"""The denoiser's network: a small U-Net without any layer that couples records.

After the DDPM++ network of Song et al. (2021) that DPDM and PrivImage use, with four changes that buy speed on a CPU:
a space-to-depth stem (a 28x28 image is computed on at 14x14), one residual block a level and side, attention at the
lower level only, and skips that are added, not concatenated. Normalisation is GroupNorm throughout: it sees one
record at a time, which the per-example gradients of DP-SGD require.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsynth.privacy.engine.norm import GroupNormSwish


def embed_noise_level(noise: Tensor, dim: int, decades: float = 1.5) -> Tensor:
    """Sinusoidal embedding of c_noise = ln(sigma) / 4, about -1.6 to 1.1: (B,) to (B, dim), frequencies 1 to
    10^decades."""
    angle = noise[:, None] * torch.logspace(0, decades, dim // 2, device=noise.device)
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def zeroed(layer: nn.Module) -> nn.Module:
    """Zero the last layer of a residual branch, so that the branch starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def groups_of(channels: int, most: int) -> int:
    """How many groups norm so many channels: `most`, or as many below it as divide them."""
    return next(n for n in range(min(most, channels), 0, -1) if channels % n == 0)


class ResBlock(nn.Module):
    """(B, C, H, W), (B, E) -> (B, C, H, W): norm, swish, conv, twice; the embedding shifts the middle."""

    def __init__(self, channels: int, embedding: int):
        super().__init__()
        self.norm1, self.conv1 = GroupNormSwish(channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.shift = nn.Linear(embedding, channels)
        self.norm2, self.conv2 = GroupNormSwish(channels), zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(self.norm1(x))
        return x + self.conv2(self.norm2(h, self.shift(embedding)))


class Attention(nn.Module):
    """(B, C, H, W) -> (B, C, H, W): single-head self-attention over the H*W positions."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = GroupNormSwish(channels, swish=False)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, HW, C)
        q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1)  # (B, HW, HW)
        return x + self.out(weights @ v).transpose(1, 2).view_as(x)


class UNet(nn.Module):
    """F(x, c_noise, label) of the EDM parameterisation: (B, C, S, S), (B,), (B,) -> (B, C, S, S).

    Args:
        channels, size: shape of an image; `size` must be divisible by 4.
        n_labels: number of classes; the label table has one more row, the null label `n_labels`.
        width: channels at the first level; the second has twice as many.
        attention: "middle", at the lower level alone, or "every", after the outer blocks too: more matrices for DP-SAPF
            to choose from.
    """

    def __init__(self, channels: int, size: int, n_labels: int, width: int, attention: str = "middle"):
        super().__init__()
        if size % 4:
            raise ValueError(f"Expected size={size} to be a multiple of 4: the network halves an image twice")
        self.shape, self.n_labels, self.width = (channels, size, size), n_labels, width
        low, high, embedding = width, 2 * width, 4 * width
        self.time = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.label = nn.Embedding(n_labels + 1, embedding)
        self.stem = nn.Conv2d(4 * channels, low, 3, padding=1)
        self.down = ResBlock(low, embedding)
        self.attention_down, self.attention_up = (
            Attention(low) if attention == "every" else nn.Identity() for _ in range(2)
        )
        self.shrink = nn.Conv2d(low, high, 3, stride=2, padding=1)
        self.middle = nn.ModuleList([ResBlock(high, embedding), ResBlock(high, embedding)])
        self.attention = Attention(high)
        self.grow = nn.Conv2d(high, low, 1)
        self.up = ResBlock(low, embedding)
        self.head_norm, self.head = GroupNormSwish(low), zeroed(nn.Conv2d(low, 4 * channels, 3, padding=1))

    def forward(self, x: Tensor, noise: Tensor, label: Tensor) -> Tensor:
        embedding = F.silu(self.time(embed_noise_level(noise, self.width)) + self.label(label))
        skip = self.attention_down(self.down(self.stem(F.pixel_unshuffle(x, 2)), embedding))
        h = self.middle[0](self.shrink(skip), embedding)
        h = self.middle[1](self.attention(h), embedding)
        h = F.interpolate(self.grow(h), size=skip.shape[-2:], mode="nearest")
        h = self.attention_up(self.up(h + skip, embedding))
        return F.pixel_shuffle(self.head(self.head_norm(h)), 2)
