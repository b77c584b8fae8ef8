"""Solvers of the probability-flow ODE, dx / dsigma = (x - D(x; sigma)) / sigma, from much noise to none.

Each takes a denoiser D, x at the first of the decreasing noise `levels` (the last is 0), and yields x at each next one.
`make samplers` measures them on a trained synthesiser.
"""

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]  # (x, sigma) -> D(x; sigma)


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
