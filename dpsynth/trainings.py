"""What a run trains: each network, its rows and its steps; and the memory that a step needs. Known without any data.

Memory is counted on torch's "meta" device, which knows shapes alone: nothing is computed.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from dpsynth import device
from dpsynth.methods import Method, dp_ldm, gans
from dpsynth.models import diffusion, gan, networks
from dpsynth.models.classifier import cross_entropy
from dpsynth.models.trainable import restrict
from dpsynth.params import Params
from dpsynth.stages import dp_sgd, pretrain, query

PUBLIC_CLASSES = 1000  # of a query function's head, of which neither memory nor time depends much
STATES = 5  # float32 of each weight: itself, its gradient, Adam's two moments, its moving average
COLUMNS = {"encoder": "encoder", "base": "base", "learn": "synthesiser"}  # that train, and what they make
FRESH = (pretrain.fresh, gans.fresh_gan)  # bases that are not trained


class Training(NamedTuple):
    """One training of a run.

    Attributes:
        kind: of what it makes; network: what `network_of` takes.
        rows: images of a step, a record's views counted each; at_once: of them, those computed on together.
        views: of a record, whose gradient is kept until its norm is known; 0 where there is no clip.
        passes: gradients of a step: two with AMP.
    """

    kind: str
    network: str
    rows: float
    steps: int
    at_once: int
    views: int = 0
    passes: int = 1


class Network(NamedTuple):
    """A network, its inputs but for their number, and the losses of rows (or their mean) that it is trained by.

    Attributes:
        loss: `(network or its wrapper, images, labels, draws)`.
    """

    net: nn.Module
    shape: tuple[int, int, int]
    loss: Callable[..., Tensor]
    forward: Callable[[Tensor], Any]


def trainings(p: Params, row: Method, settings: Mapping[str, Any]) -> Iterator[Training]:
    """Those of a run that are known here; `others` names the rest."""
    if row.encoder is query.train_classifier:
        network = named({"network": "query", "shape": p.shape, "kind": p.encoder_network})
        yield Training("encoder", network, p.encoder_batch, p.encoder_steps, p.encoder_batch)
    like = denoiser(p, row, settings)
    if like and row.base not in FRESH:
        passes = 2 if row.base is pretrain.train_with_amp else 1
        at_once = p.pretrain_batch // (pretrain.SUB_BATCHES if device.on_gpu() else 1)
        yield Training("base", named(like), p.pretrain_batch, p.pretrain_steps, at_once, passes=passes)
    like = like or gan_like(p, row, settings)
    if row.base is gans.train_gan:
        yield Training("base", named(like), gans.BATCH, p.pretrain_steps, gans.BATCH)
    if like and row.learn.release in LEARNERS:
        yield _learning(p, like, settings)


LEARNERS = (dp_sgd.dp_sgd, dp_ldm.dp_sgd_on_codes, gans.dp_gan)


def _learning(p: Params, like: dict[str, Any], settings: Mapping[str, Any]) -> Training:
    """Of the records, in expectation: a GAN has as many fakes beside them, and one view of each."""
    is_gan, records = "prediction" not in like, p.sample_rate * p.constants.n_records
    views = 1 if is_gan else p.noise_multiplicity
    own = (
        {"part": "discriminator"} if is_gan else {"trainable": settings["trainable"]} if "trainable" in settings else {}
    )
    at_once = device.at_once(gans.MICROBATCH if is_gan else dp_sgd.MICROBATCH)
    rows = 2 * records if is_gan else records * views
    clipped = 0 if p.epsilon == float("inf") else views
    return Training("synthesiser", named({**like, **own}), rows, p.steps, at_once, clipped)


def others(row: Method) -> list[str]:
    """Kinds of what a run trains by other works than `trainings` knows."""
    known = (query.train_classifier, *FRESH, *DENOISERS, dp_ldm.train_latent, gans.train_gan, *LEARNERS)
    works = {kind: getattr(row, column) for column, kind in COLUMNS.items()}
    works["synthesiser"] = row.learn.release
    return [kind for kind, work in works.items() if work and work not in known]


DENOISERS = (pretrain.fresh, pretrain.train_diffusion, pretrain.train_with_amp)


def denoiser(p: Params, row: Method, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The architecture of a base that is a denoiser."""
    shared = p.shape, p.n_classes, p.width
    if row.base in DENOISERS:
        return pretrain.architecture(*shared, settings["prediction"], settings["attention"], settings["unet"])
    if row.base is dp_ldm.train_latent:
        return dp_ldm.architecture(*shared, settings["prediction"], settings["unet"])
    return None


def gan_like(p: Params, row: Method, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The architecture of a base that is a pair of generator and discriminator."""
    if row.base in (gans.fresh_gan, gans.train_gan):
        return gans.architecture(p.shape, p.n_classes, p.width, settings["gan_network"])
    return None


def network_of(text: str) -> Network:
    """A network with random weights, of the name that a training has for it."""
    like = json.loads(text)
    part, trainable = like.pop("part", None), like.pop("trainable", "all")
    if like["network"] == "query":
        channels, size = like["shape"]
        net = query.network(channels, PUBLIC_CLASSES, like["kind"])
        return Network(net, (channels, size, size), lambda net, x, labels, draws: cross_entropy(net, x, labels), net)
    net, shape = networks.build(like), (like["channels"], like["size"], like["size"])
    if "prediction" in like:
        restrict(net, trainable)
        return Network(net, shape, lambda through, *rows: diffusion.losses(net, *rows, through=through), _denoises(net))
    if part:
        net = net.discriminator
        return Network(net, shape, lambda net, x, labels, draws: gan.hinge(net(x, labels), True), _judges(net))
    return Network(net, shape, _of_both, _judges(net.discriminator))


def named(like: dict[str, Any]) -> str:
    """What a training has for a network: equal for equal ones."""
    return json.dumps(like, sort_keys=True)


def _denoises(net: diffusion.Denoiser) -> Callable:
    return lambda x: net(x.new_empty(len(x), *net.net.shape), x.new_ones(len(x)), torch.zeros(len(x)).long())


def _judges(net: nn.Module) -> Callable:
    return lambda x: net(x, torch.zeros(len(x)).long())


def _of_both(pair: nn.Module, x: Tensor, labels: Tensor, draws: diffusion.Draws) -> Tensor:
    """About what a step of both networks of a GAN computes: the discriminator on real images and fakes, and the
    generator through it."""
    fakes = pair.generator(draws.normal(pair.generator.latent), labels)
    judged = [pair.discriminator(images, labels) for images in (x, fakes.detach(), fakes)]
    return gan.hinge(judged[0], True) + gan.hinge(judged[1], False) - judged[2]


def kept_bytes(net: Network, rows: int) -> int:
    """Bytes that a network on the meta device keeps of so many rows for its gradient, in this machine's precision."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.device("meta"), saved_tensors_hooks(keep, lambda tensor: tensor):
        net.forward(torch.empty(rows, *net.shape))
    counted = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return counted * device.precision().itemsize // torch.float32.itemsize


def step_bytes(training: Training, at_once: int | None = None) -> int:
    """Bytes that a step of a training needs.

    Under a clip a micro-batch has its activations, as many gradients of outputs, and a gradient of all weights a
    record; on processors each thread has one.

    Args:
        at_once: rows computed on together, in the place of the training's.
    """
    with torch.device("meta"):
        net = network_of(training.network)
    at_once = at_once or training.at_once
    weights = sum(w.numel() for w in net.net.parameters())
    kept, states = kept_bytes(net, at_once), STATES * torch.float32.itemsize * weights
    if not training.views:
        return states + kept
    learning = sum(w.numel() for w in net.net.parameters() if w.requires_grad)
    records = max(1, at_once // training.views)
    side_by_side = 1 if device.on_gpu() else torch.get_num_threads()
    return states + side_by_side * (2 * kept + records * learning * device.precision().itemsize)
