"""Drawing images from trained networks, and the solvers of the probability-flow ODE that the diffusion models need.

Apart from the networks: those who train import them and not this, so that a sampler's edit renames no trained weights.

A solver follows dx / dsigma = (x - D(x; sigma)) / sigma from much noise to none: it takes a denoiser D, x at the first
of the decreasing noise `levels` (the last is 0), and yields x at each next one. `make samplers` measures them.
"""

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from dpsynth import device, distributed
from dpsynth.models.pixels import to_bytes

Denoise = Callable[[Tensor, Tensor], Tensor]  # (x, sigma) -> D(x; sigma)
SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0  # Karras et al. (2022), Table 1


def ddim(denoise: Denoise, x: Tensor, levels: Tensor) -> Iterator[Tensor]:
    """Euler's method, which is DDIM without noise (Song et al. 2021; Karras et al. 2022, Sec. 3): one D a step."""
    for now, then in itertools.pairwise(levels):
        x = x + (then - now) * (x - denoise(x, now)) / now
        yield x


def heun(denoise: Denoise, x: Tensor, levels: Tensor) -> Iterator[Tensor]:
    """Heun's second-order method (Karras et al. 2022, Algorithm 1): two D a step, one for the last."""
    for now, then in itertools.pairwise(levels):
        slope = (x - denoise(x, now)) / now
        ahead = x + (then - now) * slope
        if then > 0:
            slope = (slope + (ahead - denoise(ahead, then)) / then) / 2
            ahead = x + (then - now) * slope
        x = ahead
        yield x


def dpm_solver(denoise: Denoise, x: Tensor, levels: Tensor) -> Iterator[Tensor]:
    """DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2), with sigma for sigma_t / alpha_t: one D a step, second order.

    The last step, to 0, is of first order: it returns D itself.
    """
    before = None
    for now, then in itertools.pairwise(levels):
        clean = denoise(x, now)
        ahead = clean
        if before is not None and then > 0:
            last, step = torch.log(before[1] / now), torch.log(now / then)
            ahead = clean + (clean - before[0]) * step / (2 * last)
        x = then / now * x + (1 - then / now) * ahead
        before = clean, now
        yield x


def noise_levels(n: int) -> Tensor:
    """n decreasing noise levels and a final zero (Karras et al. 2022, Eq. 5): (n + 1,).

    >>> [round(level, 3) for level in noise_levels(3).tolist()]
    [80.0, 2.515, 0.002, 0.0]
    """
    ramp = torch.linspace(0, 1, n)
    high, low = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
    return torch.cat([(high + ramp * (low - high)) ** RHO, torch.zeros(1)])


@torch.no_grad()
def trajectory(
    model: nn.Module, labels: Tensor, seed: int, solver: Callable = dpm_solver, n_steps: int = 10
) -> Iterator[Tensor]:
    """From pure noise to what a denoiser works on: yields x after each step.

    Args:
        labels: (B,) int64; seed: of the starting noise; solver: over `n_steps` noise levels. The default was the
            quickest of those that cost no accuracy on the choosing split (`make samplers`).
    """
    generator = torch.Generator().manual_seed(seed)
    levels, labels = device.put(noise_levels(n_steps)), device.put(labels)
    x = levels[0] * device.put(torch.randn(len(labels), *model.net.shape, generator=generator))
    yield from solver(lambda x, sigma: model(x, sigma.expand(len(labels)), labels), x, levels)


def denoised(
    model: nn.Module, labels: Tensor, seed: int, solver: Callable = dpm_solver, n_steps: int = 10, batch: int = 250
) -> Tensor:
    """Images of a `diffusion.Denoiser`: (N, C, S, S) uint8; the same seed gives every model the same starting noise.

    Processes that joined the work share the batches out.
    """
    channels, size = (model.architecture[name] for name in ("channels", "size"))
    images = torch.zeros(len(labels), channels, size, size, dtype=torch.uint8)
    for start in range(0, len(labels), batch)[distributed.share()]:
        *_, x = trajectory(model, labels[start : start + batch], seed + start, solver, n_steps)
        images[start : start + batch] = device.host(to_bytes(model.decode(x)))
    return distributed.sum_of([images])[0]  # an image is one process's; in the others it is zero


@torch.no_grad()
def generated(model: nn.Module, labels: Tensor, seed: int, batch: int = 500) -> Tensor:
    """Images of a `gan.Generator`: (N, C, S, S) uint8; the same seed gives every generator the same latents."""
    z = torch.randn(len(labels), model.latent, generator=torch.Generator().manual_seed(seed))
    parts = zip(z.split(batch), labels.split(batch), strict=True)
    return torch.cat([device.host(to_bytes(model(*map(device.put, part)))) for part in parts])


def sample(network: nn.Module, labels: Tensor, seed: int) -> Tensor:
    """Images for `labels`, in eval mode: (N,) int64 -> (N, C, S, S) uint8.

    Args:
        network: of `networks`; one that is not trained, a population or a renderer, has a `sample` of its own.
    """
    network.eval()
    match network.architecture["network"]:
        case "denoiser" | "latent_denoiser":
            return denoised(network, labels, seed)
        case "gan" | "biggan":
            return generated(network.generator, labels, seed)
        case "generator" | "biggan_generator":
            return generated(network, labels, seed)
    return network.sample(labels, seed)
