"""The networks that a base or a synthesiser may be: by the name that their architecture carries."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dpsynth import device

# Imported on use: else the code of every network were part of the name of every artifact. Those who train a network
# import it, and so its code is part of the name of its weights, and of all that is made with them.
NETWORKS = {
    "denoiser": "dpsynth.models.diffusion:Denoiser", "latent_denoiser": "dpsynth.models.latent:LatentDenoiser",
    "gan": "dpsynth.models.gan:Gan", "generator": "dpsynth.models.gan:Generator",
    "biggan": "dpsynth.models.biggan:BigGan", "biggan_generator": "dpsynth.models.biggan:Generator",
    "population": "dpsynth.models.population:Population", "renderer": "dpsynth.models.renderer:Renderer",
}  # fmt: skip


def build(architecture: dict[str, Any]) -> nn.Module:
    """A network with random weights; `n_labels` of it is the number of labels it speaks.

    Args:
        architecture: plain data: `network`, its name here, and the arguments of its class.
    Raises:
        ValueError: no network of that name.
    """
    arguments = dict(architecture)
    name = arguments.pop("network")
    if name not in NETWORKS:
        raise ValueError(f"no network {name!r}; there are {', '.join(NETWORKS)}")
    module, _, network = NETWORKS[name].partition(":")
    return device.placed(getattr(importlib.import_module(module), network)(**arguments))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What asks torch's global generator, as initial weights do, gets a seed; the generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def initial(architecture: dict[str, Any], seed: int) -> nn.Module:
    """A network whose random weights depend on the seed and the architecture alone."""
    with seeded(seed):
        return build(architecture)


def rebuild(architecture: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
    """The network with the given weights, in eval mode: ready to sample from."""
    network = build(architecture)
    network.load_state_dict(weights)
    return network.eval()
