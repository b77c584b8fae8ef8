"""Adversarial model perturbation (Zheng et al. 2021), as RPGen's pre-training uses it (RPGen, Eq. 3).

Minimise the worst loss in a ball around the weights: max over |Delta| <= gamma of L(theta + Delta). RPGen's text
steps the weights along plus the gradient, which would maximise the loss; here it is minus.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor


class Perturbed(NamedTuple):
    """Losses of a step, () each: at the clean weights, at the perturbed ones, and whether the projection moved
    Delta."""

    clean: Tensor
    perturbed: Tensor
    binds: Tensor


def gradient(
    parameters: list[Tensor], at_weights: Callable[[], tuple[Tensor, list[Tensor]]],
    gamma: float, eta: float, normalise: bool,
) -> tuple[Perturbed, list[Tensor]]:  # fmt: skip
    """The losses of a step, and the gradient at theta + Delta; the clean weights theta are left in place.

    One inner step from Delta = 0: Delta = Proj(eta * grad L(theta)).

    Args:
        at_weights: loss and gradient at the weights as they are; must repeat the same batch and draws.
        gamma: radius of the ball, one for all weights as in RPGen's text; eta: inner step size.
        normalise: Delta = gamma * grad / |grad|, as SAM (Foret et al. 2021): the ball then always binds.
    """
    clean, gradients = at_weights()
    delta, binds = project(torch._foreach_mul(gradients, eta), gamma, normalise)
    with _moved(parameters, delta):
        perturbed, gradients = at_weights()
    return Perturbed(clean, perturbed, binds), gradients


def project(step: list[Tensor], gamma: float, normalise: bool) -> tuple[list[Tensor], Tensor]:
    """RPGen's Pi_gamma (Eq. 3): a step that is longer than gamma is cut down to that length, over all weights together.

    Args:
        step: a tensor for each weight; normalise: bring it to that length if it is shorter too.
    Returns:
        The perturbation, and whether the ball binds.
    """
    norm = torch.stack(torch._foreach_norm(step)).norm()
    scale = gamma / norm.clamp(min=1e-12)
    if not normalise:
        scale = scale.clamp(max=1)
    return torch._foreach_mul(step, scale), (norm >= gamma) | normalise


@contextmanager
def _moved(parameters: list[Tensor], delta: list[Tensor]) -> Iterator[None]:
    clean = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        torch._foreach_add_(parameters, delta)
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(parameters, clean)
