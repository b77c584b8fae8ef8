"""Diffusion on codes: a small autoencoder, trained on public images and then frozen, and a denoiser of its codes.

Rombach et al. (2022), as DP-LDM (Lyu et al. 2023) uses it. What differs: no adversary and no perceptual loss; a
bounded code with noise on it in training stands for the KL term. The encoder is public, and sees one image at a time,
so that a code is a function of its record alone.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsynth import device
from dpsynth.models.diffusion import SIGMA_DATA, Denoiser, Prediction
from dpsynth.privacy.engine.norm import GroupNormSwish

CODES = 4  # channels of a code, which has a quarter of the image's side
NOISE = 0.05  # on codes in (-1, 1), in training


class Autoencoder(nn.Module):
    """(B, C, S, S) in [-1, 1] -> (B, CODES, side, side) -> (B, C, S, S).

    Args:
        size: of an image; it is padded to a multiple of 16, as the denoiser halves a code twice.
    """

    def __init__(self, channels: int, size: int, width: int):
        super().__init__()
        self.size, padded = size, -(-size // 16) * 16
        self.shape, self.before = (CODES, padded // 4, padded // 4), (padded - size) // 2
        self.after = padded - size - self.before
        low, high = width, 2 * width
        self.inward = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, low, 3, padding=1), GroupNormSwish(low),
            nn.Conv2d(low, high, 3, stride=2, padding=1), GroupNormSwish(high),
            nn.Conv2d(high, high, 3, padding=1), GroupNormSwish(high), nn.Conv2d(high, CODES, 1), nn.Tanh(),
        )  # fmt: skip
        self.outward = nn.Sequential(
            nn.Conv2d(CODES, high, 3, padding=1), GroupNormSwish(high),
            nn.Conv2d(high, 4 * low, 3, padding=1), nn.PixelShuffle(2), GroupNormSwish(low),
            nn.Conv2d(low, low, 3, padding=1), GroupNormSwish(low),
            nn.Conv2d(low, 4 * channels, 3, padding=1), nn.PixelShuffle(2),
        )  # fmt: skip
        self.register_buffer("mean", torch.zeros(1, CODES, 1, 1))
        self.register_buffer("deviation", torch.ones(1, CODES, 1, 1))

    def encode(self, x: Tensor) -> Tensor:
        """Codes in (-1, 1)."""
        sides = (self.before, self.after)
        return self.inward(F.pad(x, (*sides, *sides), mode="replicate"))

    def decode(self, code: Tensor) -> Tensor:
        """Images of codes in (-1, 1)."""
        inside = slice(self.before, self.before + self.size)
        return self.outward(code)[..., inside, inside]

    def loss(self, x: Tensor, draws: torch.Generator) -> Tensor:
        """Mean squared error of images drawn from noisy codes."""
        code = self.encode(x)
        return F.mse_loss(self.decode(code + NOISE * device.put(torch.randn(code.shape, generator=draws))), x)

    @torch.no_grad()
    def standardise(self, x: Tensor) -> None:
        """Take mean and deviation of the codes of public images `x` for those of all."""
        code = self.encode(x)
        self.mean.copy_(code.mean((0, 2, 3), keepdim=True))
        self.deviation.copy_(code.std((0, 2, 3), keepdim=True).clamp(min=1e-3))


class LatentDenoiser(Denoiser):
    """A denoiser of standardised codes; it samples images. The autoencoder's weights never require a gradient.

    `unet` is of the network on codes, as of `Denoiser`: sides of its levels and of attention are those of a code.
    """

    def __init__(
        self, channels: int, size: int, n_labels: int, width: int, prediction: Prediction = "edm",
        unet: dict[str, Any] | None = None,
    ):  # fmt: skip
        autoencoder = Autoencoder(channels, size, width)
        super().__init__(CODES, autoencoder.shape[1], n_labels, width, prediction, unet=unet)
        self.architecture = dict(
            network="latent_denoiser", channels=channels, size=size, n_labels=n_labels, width=width,
            prediction=prediction, unet=unet,
        )  # fmt: skip
        self.autoencoder = autoencoder.requires_grad_(False)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, CODES, side, side), of mean 0 and deviation SIGMA_DATA over public images."""
        code = self.autoencoder.encode(x)
        return (code - self.autoencoder.mean) / self.autoencoder.deviation * SIGMA_DATA

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        return self.autoencoder.decode(x / SIGMA_DATA * self.autoencoder.deviation + self.autoencoder.mean)
