"""A small conditional GAN: a generator that never meets a record, and a discriminator without layers that couple them.

After BigGAN as PrivImage+G has it (Brock et al. 2019; PrivImage App. C.1): hinge losses, and a label that enters
the discriminator by projection (Miyato and Koyama 2018). Normalisation is GroupNorm in both: DP-SGD needs it in the
discriminator, and in the generator it leaves no running statistics to keep.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsynth import device
from dpsynth.privacy.engine.norm import GroupNormSwish

LATENT = 64  # numbers that a generator's image is drawn from
FEW_ROWS = 128  # of a matrix whose singular values are all computed


class GenBlock(nn.Module):
    """(B, C, H, W), (B, E) -> (B, C, H, W): twice norm and convolution; the code scales and shifts the first norm."""

    def __init__(self, channels: int, code: int):
        super().__init__()
        self.norm1, self.conv1 = GroupNormSwish(channels, swish=False), nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2, self.conv2 = GroupNormSwish(channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.modulate = nn.Linear(code, 2 * channels)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.modulate(code)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x) * (1 + scale) + shift))
        return x + self.conv2(self.norm2(h))


class Generator(nn.Module):
    """G(z, label): (B, LATENT), (B,) -> (B, C, S, S) in (-1, 1).

    As the denoiser, it computes at a half and a quarter of an image's side.

    Args:
        channels, size: shape of an image; `size` must be divisible by 4.
        n_labels: number of classes; width: channels at the upper level; the lower has twice as many.
    """

    def __init__(self, channels: int, size: int, n_labels: int, width: int):
        super().__init__()
        if size % 4:
            raise ValueError(f"Expected size={size} to be a multiple of 4: the generator doubles an image twice")
        self.architecture = dict(network="generator", channels=channels, size=size, n_labels=n_labels, width=width)
        low, high = width, 2 * width
        self.n_labels, self.latent, self.start = n_labels, LATENT, (high, size // 4, size // 4)
        self.label = nn.Embedding(n_labels, LATENT)
        self.first = nn.Linear(2 * LATENT, high * (size // 4) ** 2)
        self.lower, self.grow = GenBlock(high, 2 * LATENT), nn.Conv2d(high, low, 1)
        self.upper = GenBlock(low, 2 * LATENT)
        self.last_norm, self.last = GroupNormSwish(low), nn.Conv2d(low, 4 * channels, 3, padding=1)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        code = torch.cat([z, self.label(label)], dim=1)
        h = self.lower(self.first(code).view(-1, *self.start), code)
        h = self.upper(F.interpolate(self.grow(h), scale_factor=2), code)
        return torch.tanh(F.pixel_shuffle(self.last(self.last_norm(h)), 2))


class Discriminator(nn.Module):
    """D(x, label): (B, C, S, S), (B,) -> (B,), w . h(x) + <Emb(label), h(x)>; large for what looks real.

    Each layer is one whose per-record gradient `PerExample` proves. Shape arguments as of `Generator`.
    """

    def __init__(self, channels: int, size: int, n_labels: int, width: int):
        super().__init__()
        low, high = 2 * width, 4 * width
        self.stem = nn.Conv2d(4 * channels, low, 3, padding=1)
        self.norm1, self.down1 = GroupNormSwish(low), nn.Conv2d(low, high, 3, stride=2, padding=1)
        self.norm2, self.conv = GroupNormSwish(high), nn.Conv2d(high, high, 3, padding=1)
        self.norm3, self.down2 = GroupNormSwish(high), nn.Conv2d(high, high, 3, stride=2, padding=1)
        self.norm4, self.value, self.label = GroupNormSwish(high), nn.Linear(high, 1), nn.Embedding(n_labels, high)
        nn.init.zeros_(self.label.weight)  # the hinge would rest, from the start, on a label that it took for real

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        h = self.stem(F.pixel_unshuffle(x, 2))
        h = self.down1(self.norm1(h))
        h = h + self.conv(self.norm2(h))
        h = self.down2(self.norm3(h))
        h = self.norm4(h).mean((2, 3))
        return self.value(h)[:, 0] + (self.label(label) * h).sum(1)


class Gan(nn.Module):
    """Both networks, as a base model holds them."""

    def __init__(self, channels: int, size: int, n_labels: int, width: int):
        super().__init__()
        self.architecture = dict(network="gan", channels=channels, size=size, n_labels=n_labels, width=width)
        self.n_labels = n_labels
        self.generator = Generator(channels, size, n_labels, width)
        self.discriminator = Discriminator(channels, size, n_labels, width)


@torch.no_grad()
def scale_to_unit_norm(discriminator: Discriminator) -> None:
    """Scale down each map of more than unit spectral norm, in place, to that norm; labels' rows are left.

    What spectral normalisation (Miyato et al. 2018) does within a forward, done to the weights between two steps, so
    that the layers stay those that `PerExample` proves. It looks at weights alone: after a private step it is
    post-processing.
    """
    for layer in discriminator.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.weight.mul_((1 / spectral_norm(layer.weight.flatten(1))).clamp(max=1))


def spectral_norm(matrix: Tensor) -> Tensor:
    """The largest singular value of a matrix, (): of one with many rows by the products of these, which is quicker."""
    if min(matrix.shape) <= FEW_ROWS:
        return torch.linalg.matrix_norm(matrix, 2)
    rows = (matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT).double()
    return torch.linalg.eigvalsh(rows @ rows.mT)[-1].sqrt().to(matrix.dtype)


def hinge(values: Tensor, real: bool) -> Tensor:
    """The discriminator's loss of each row: max(0, 1 - D) of a real image, max(0, 1 + D) of a fake, (B,) -> (B,).

    The generator's is -D (Brock et al. 2019, App. C).
    """
    return F.relu(1 - values if real else 1 + values)


def latents(n: int, draws: torch.Generator, dim: int = LATENT) -> Tensor:
    """(n, dim) standard normals, where networks compute."""
    return device.put(torch.randn(n, dim, generator=draws))
