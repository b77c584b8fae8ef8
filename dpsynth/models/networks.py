"""The networks that a base or a synthesiser may be: by the name that their architecture carries.

Each is a module with `sample(labels, seed) -> (N, C, H, W) uint8` and `n_labels`, the number of labels it speaks: all
that evaluation asks of it.
"""

from typing import Any

import torch
from torch import Tensor, nn

from dpsynth.models.diffusion import Denoiser
from dpsynth.models.gan import Gan, Generator
from dpsynth.models.latent import LatentDenoiser
from dpsynth.models.population import Population
from dpsynth.models.renderer import Renderer

NETWORKS: dict[str, type[nn.Module]] = {
    "denoiser": Denoiser, "latent_denoiser": LatentDenoiser, "gan": Gan, "generator": Generator,
    "population": Population, "renderer": Renderer,
}  # fmt: skip


def build(architecture: dict[str, Any]) -> nn.Module:
    """A network with random weights.

    Args:
        architecture: plain data: `network`, its name here, and the arguments of its class.
    Raises:
        ValueError: no network of that name.
    """
    arguments = dict(architecture)
    name = arguments.pop("network")
    if name not in NETWORKS:
        raise ValueError(f"no network {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name](**arguments).to(memory_format=torch.channels_last)


def rebuild(architecture: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
    """The network with the given weights, in eval mode: ready to sample from."""
    network = build(architecture)
    network.load_state_dict(weights)
    return network.eval()
