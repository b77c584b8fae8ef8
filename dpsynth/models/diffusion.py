"""The diffusion model: preconditioning and loss of Karras et al. (2022), EDM; `samplers` draws from it.

The network F sees scaled inputs; the denoiser D(x; sigma) is a fixed mixture of x and F, so that loss and samplers are
written once, in terms of D and sigma alone. `ddpm` keeps the epsilon-prediction that RPGen's text names (Ho et al.
2020), in the same terms: D(x; sigma) = x - sigma F.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from dpsynth import device
from dpsynth.models.ddpmpp import DDPMpp
from dpsynth.models.unet import UNet

SIGMA_DATA = 1 / 3**0.5  # images in [-1, 1], as DPDM's code has it
# Mean and deviation of ln sigma in training. EDM has -1.2 and 1.2, tuned for long training on photographs. In short
# training the shapes of digits, which are settled at large sigma, are what is missing: on the choosing split, 1,000
# steps of pre-training gave a CNN accuracy of 62 percent with EDM's values and 78 with these.
P_MEAN, P_STD = 0.0, 1.4
PUBLISHED = -1.2, 1.2  # EDM's own
NULL_RATE = 0.1  # labels dropped to the null label in training

Prediction = Literal["edm", "edm_published", "ddpm"]
Augment = Literal["flips"]


class Draws(Protocol):
    """Randomness of a training loss: one row a view of a record."""

    def normal(self, *shape: int) -> Tensor: ...

    def uniform(self) -> Tensor: ...


class PublicDraws:
    """Draws for `rows` public images from a seeded generator of the host: the same wherever networks compute.

    Args:
        share: which of the rows they are told for; drawn are all.
    """

    def __init__(self, generator: torch.Generator, rows: int, share: slice = slice(None)):
        self._generator, self._rows, self._share = generator, rows, share

    def normal(self, *shape: int) -> Tensor:
        """Standard normals: (rows, *shape)."""
        return device.put(torch.randn(self._rows, *shape, generator=self._generator)[self._share])

    def uniform(self) -> Tensor:
        """Uniforms in [0, 1): (rows,)."""
        return device.put(torch.rand(self._rows, generator=self._generator)[self._share])


class Placed:
    """Draws of the host, for a network that computes elsewhere."""

    def __init__(self, draws: Draws):
        self._draws = draws

    def normal(self, *shape: int) -> Tensor:
        """As of `Draws`."""
        return device.put(self._draws.normal(*shape))

    def uniform(self) -> Tensor:
        """As of `Draws`."""
        return device.put(self._draws.uniform())


class Denoiser(nn.Module):
    """D(x; sigma, label): (B, C, S, S), (B,), (B,) -> (B, C, S, S), an estimate of the clean image.

    Args:
        prediction: "edm" (Karras et al. 2022, Table 1, last column), "edm_published", the same at EDM's own noise
            levels in training, or "ddpm" (epsilon-prediction).
        attention: "middle" or "every", as of `UNet`.
        unet: `levels`, `blocks` and `attention` of a `DDPMpp`, the papers' network, in the place of a `UNet` and of
            `attention`; or None.
    """

    def __init__(
        self, channels: int, size: int, n_labels: int, width: int, prediction: Prediction = "edm",
        attention: str = "middle", unet: dict[str, Any] | None = None,
    ):  # fmt: skip
        super().__init__()
        self.architecture = dict(
            network="denoiser", channels=channels, size=size, n_labels=n_labels, width=width, prediction=prediction,
            attention=attention, unet=unet,
        )  # fmt: skip
        shape = channels, size, n_labels, width
        self.net = UNet(*shape, attention) if unet is None else DDPMpp(*shape, **unet)
        self.prediction, self.precision = prediction, device.precision()
        self.n_labels = self.null = n_labels  # labels are 0 to n_labels - 1; the next one is the null label

    def encode(self, x: Tensor) -> Tensor:
        """What the denoiser works on: the images themselves; `latent.LatentDenoiser` has codes of them."""
        return x

    def decode(self, x: Tensor) -> Tensor:
        """Images of what the denoiser works on."""
        return x

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """D = c_skip x + c_out F(c_in x; ln(sigma) / 4) (Karras et al. 2022, Eq. 7 and Table 1)."""
        s = sigma[:, None, None, None]
        if self.prediction == "ddpm":
            c_skip, c_out, c_in = 1.0, -s, 1 / (1 + s**2).sqrt()
        else:
            total = s**2 + SIGMA_DATA**2
            c_skip, c_out, c_in = SIGMA_DATA**2 / total, s * SIGMA_DATA / total.sqrt(), 1 / total.sqrt()
        return c_skip * x + c_out * self.F(c_in * x, sigma, label)

    def F(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """The network itself, in the precision that the machine is quickest in."""
        with device.autocast(self.precision, x):
            return self.net(x, sigma.log() / 4, label).to(x.dtype)


def loss(model: nn.Module, prediction: Prediction, null: int, x: Tensor, label: Tensor, draws: Draws) -> Tensor:
    """Denoising loss of each row: (B, C, S, S), (B,) -> (B,), mean over pixels.

    EDM: ln sigma ~ N(P_MEAN, P_STD^2), or PUBLISHED, weight (sigma^2 + sd^2) / (sigma sd)^2 (Karras et al. 2022,
    Eq. 8 and Table 1). DDPM: t uniform on 1,000 steps of the linear schedule, unit weight on epsilon (Ho et al. 2020,
    Eq. 14). `model` computes D(x; sigma, label) and may be a wrapper, which is why `prediction` and `null` are told
    apart from it.
    """
    noise, drop = draws.normal(*x.shape[1:]), draws.uniform() < NULL_RATE
    if prediction == "ddpm":
        sigma = _ddpm_sigmas().to(x.device)[(draws.uniform() * 1000).long()]
        weight = 1 / sigma**2
    else:
        mean, deviation = PUBLISHED if prediction == "edm_published" else (P_MEAN, P_STD)
        sigma = (mean + deviation * draws.normal()).exp()
        weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
    noisy = x + sigma[:, None, None, None] * noise
    denoised = model(noisy, sigma, torch.where(drop, null, label))
    return weight * (denoised - x).square().mean((1, 2, 3))


def losses(
    model: Denoiser, x: Tensor, label: Tensor, draws: Draws, through: Callable | None = None,
    augment: Augment | None = None,
) -> Tensor:  # fmt: skip
    """`loss` of each image.

    Args:
        through: the denoiser, wrapped; augment: "flips", where each row is mirrored by a coin of its own draws.
    """
    if augment == "flips":
        x = flipped(x, draws.uniform() < 0.5)
    return loss(through or model, model.prediction, model.null, model.encode(x), label, draws)


def flipped(x: Tensor, coins: Tensor) -> Tensor:
    """Each image, or its mirror image (left is right) where its coin says so: (B, C, S, S), (B,) bool."""
    return torch.where(coins[:, None, None, None], x.flip(3), x)


def _ddpm_sigmas() -> Tensor:
    alphas_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    return ((1 - alphas_bar) / alphas_bar).sqrt().float()
