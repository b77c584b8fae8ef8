"""How large networks are: weights and multiply-adds of an image, both counted, beside the weights that papers print."""

import functools
import json
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dpsynth.methods import gans
from dpsynth.models import networks
from dpsynth.stages import pretrain, query

TABLE5, RQ3, FIGURE8, TABLE6 = "PrivImage, Table 5", "PrivImage, RQ3", "PrivImage, Fig. 8", "PrivImage, Table 6"
BENCH = "DPImageBench, logs"
# The papers' denoisers: source, private set, printed weights, shape, labels, width, levels, attention.
DENOISERS = (
    (TABLE5, "CIFAR-10", "1.75M", (3, 32), 10, 32, [1, 2, 2], [16]),
    (TABLE5, "CelebA32", "1.80M", (3, 32), 1, 32, [1, 2, 2], [8, 16]),
    (TABLE5, "CelebA64", "2.00M", (3, 64), 1, 32, [1, 1, 2, 2], [8, 16]),
    (RQ3, "CIFAR-10", "4.0M", (3, 32), 10, 32, [1, 2, 4], [16]),
    (RQ3, "CIFAR-10", "6.1M", (3, 32), 10, 32, [1, 4, 4], [16]),
    (RQ3, "CIFAR-10", "15.7M", (3, 32), 10, 96, [1, 2, 2], [16]),
    (RQ3, "CIFAR-10", "27.9M", (3, 32), 10, 128, [1, 2, 2], [16]),
    (RQ3, "CelebA32", "4.2M", (3, 32), 1, 32, [1, 2, 4], [8, 16]),
    (RQ3, "CelebA32", "6.3M", (3, 32), 1, 32, [1, 4, 4], [8, 16]),
    (RQ3, "CelebA32", "16.2M", (3, 32), 1, 96, [1, 2, 2], [8, 16]),
    (RQ3, "CelebA32", "28.7M", (3, 32), 1, 128, [1, 2, 2], [8, 16]),
    (RQ3, "CelebA64", "4.3M", (3, 64), 1, 32, [1, 1, 2, 4], [8, 16]),
    (RQ3, "CelebA64", "6.5M", (3, 64), 1, 32, [1, 1, 4, 4], [8, 16]),
    (RQ3, "CelebA64", "17.9M", (3, 64), 1, 96, [1, 1, 2, 2], [8, 16]),
    (RQ3, "CelebA64", "31.8M", (3, 64), 1, 128, [1, 1, 2, 2], [8, 16]),
    *(
        (FIGURE8, "MNIST", paper, (1, 28), 10, width, [1, 2, 2], [7])
        for paper, width in (("1.75M", 32), ("6.99M", 64), ("27.9M", 128), ("62.7M", 192), ("112M", 256), ("251M", 384))
    ),
    (BENCH, "MNIST", "1.485M", (1, 28), 10, 32, [2, 2], [14]),
    (BENCH, "CIFAR-10, with ImageNet's labels", "3.87M", (3, 32), 1000, 32, [2, 4], [16]),
)
# Their GANs: private set, printed weights of generator and discriminator, shape, labels, width.
GANS = (
    ("CIFAR-10", "9.42M", "2.37M", (3, 32), 10, 96),
    ("CelebA32", "9.42M", "2.37M", (3, 32), 1, 96),
    ("CelebA64", "11.3M", "19.6M", (3, 64), 1, 64),
)
SMALL = (((1, 28), 10, 24), ((3, 32), 10, 80), ((3, 64), 1, 80))  # of ours: shape, labels, width


class Size(NamedTuple):
    """Of one network, on the meta device: which paper prints what of it, and how parameters ask for it."""

    source: str
    images: str
    written: str
    paper: str
    network: nn.Module
    inputs: tuple[torch.Tensor, ...]


def sizes() -> list[Size]:
    """Every network of the papers', then ours."""
    with torch.device("meta"):
        return [*_denoisers(), *_gans(), *_encoders()]


def _denoisers() -> list[Size]:
    found = []
    for source, images, paper, shape, labels, width, levels, attention in DENOISERS:
        unet = pretrain.Unet(levels=levels, attention=attention).model_dump()
        written = f"`width: {width}`, `unet: {_yaml(unet)}`"
        found.append(Size(source, images, written, paper, *_denoiser(shape, labels, width, unet)))
    for shape, labels, width in SMALL:
        network, inputs = _denoiser(shape, labels, width, None)
        found.append(Size("ours, small", _pixels(shape), f"`width: {width}`", "", network, inputs))
    return found


def _denoiser(shape: tuple, labels: int, width: int, unet: dict | None) -> tuple[nn.Module, tuple]:
    network = networks.build(pretrain.architecture(shape, labels, width, "edm", "middle", unet))
    return network, (_image(shape), torch.ones(1), torch.zeros(1, dtype=torch.int64))


def _gans() -> list[Size]:
    theirs = [
        (TABLE6, images, "`gan_network: biggan`, ", papers, shape, labels, width, "biggan")
        for images, *papers, shape, labels, width in GANS
    ]
    ours = [("ours, small", _pixels(shape), "", ("", ""), shape, labels, width, None) for shape, labels, width in SMALL]
    found = []
    for source, images, named, papers, shape, labels, width, gan_network in (*theirs, *ours):
        pair, label = networks.build(gans.architecture(shape, labels, width, gan_network)), torch.zeros(1).long()
        inputs = (torch.empty(1, pair.generator.latent), label), (_image(shape), label)
        for part, paper, given in zip(("generator", "discriminator"), papers, inputs, strict=True):
            written = f"{named}`width: {width}`"
            found.append(Size(source, f"{images}: {part}", written, paper, getattr(pair, part), given))
    return found


def _encoders() -> list[Size]:
    found = []
    for source, shape, classes, kind in (
        ("PrivImage, App. C.2", (3, 32), 1000, "resnet50"), ("ours", (3, 32), 1000, "resnet18"),
        ("ours, small", (3, 32), 1000, None), ("ours, small", (1, 28), 1000, None),
    ):  # fmt: skip
        written = f"`encoder_network: {kind}`" if kind else "as it comes"
        network = query.network(shape[0], classes, kind).eval()
        found.append(Size(source, f"{_pixels(shape)}: query", written, "", network, (_image(shape),)))
    return found


@functools.cache
def table() -> pd.DataFrame:
    """A row a network, as text."""
    rows = []
    for source, images, written, paper, network, inputs in sizes():
        counted = f"{weights(network):,}", f"{multiply_adds(network, *inputs) / 1e6:,.1f}M"
        rows.append((source, images, written, paper, *counted))
    columns = ["source", "images", "parameters", "weights: paper", "weights: ours", "multiply-adds of an image"]
    return pd.DataFrame(rows, columns=columns)


def weights(network: nn.Module) -> int:
    """Numbers that a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def multiply_adds(network: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-adds of matrix products and convolutions in one forward; norms and activations do not count."""
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops() // 2


def _image(shape: tuple[int, int]) -> torch.Tensor:
    return torch.empty(1, shape[0], shape[1], shape[1])


def _pixels(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}x{shape[1]}"


def _yaml(unet: dict[str, Any]) -> str:
    return json.dumps(unet).replace('"', "")
