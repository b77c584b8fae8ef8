"""Clipped per-record gradients: what enters the sum of a DP-SGD step.

One forward and one backward a micro-batch. Hooks keep each layer's input and see the gradient at its output; their
product, taken record by record, is that record's weight gradient. Plain weight gradients are never formed.
Micro-batches have a fixed shape, so that memory is flat in the batch and a record's gradient does not depend on how
many others were drawn. Each is one thread's work, and as many run at once as torch has threads: on small images that
is quicker than many threads in one operator, and the bits of a step do not depend on the number of threads.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsynth.privacy.coins import Coins
from dpsynth.privacy.mechanisms import MARGIN, Gradients


class Draws:
    """Randomness of a loss, addressed by (step, record, call): it does not depend on which other records were drawn.

    Args:
        coins: the release's stream; records: index of each row; views: rows a record.
    """

    def __init__(self, coins: Coins, step: int, records: list[int], views: int):
        self._coins, self._step, self._records, self._views, self._call = coins, step, records, views, 0

    def _rows(self, draw: Callable, shape: tuple[int, ...]) -> Tensor:
        self._call += 1
        size = int(np.prod(shape))
        address = ("draw", self._step, self._call)
        rows = [draw((*address, record), self._views * size) for record in self._records]
        return torch.from_numpy(np.stack(rows)).float().view(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """Standard normals: (rows, *shape) float32."""
        return self._rows(self._coins.normals, shape)

    def uniform(self) -> Tensor:
        """Uniforms in [0, 1): (rows,) float32."""
        return self._rows(self._coins.uniforms, ()).clamp(max=1 - 2**-24)  # float32 rounds the last ones up to 1


# Per-record weight gradients of each layer type: (layer, input, gradient at the output, records) -> one (records,
# *shape) tensor a parameter, summed over the record's views.


def _linear(layer: nn.Linear, a: Tensor, g: Tensor, records: int) -> list[Tensor]:
    a, g = a.reshape(records, -1, a.shape[-1]), g.reshape(records, -1, g.shape[-1])
    return [g.transpose(1, 2) @ a, g.sum(1)]


def _conv2d(layer: nn.Conv2d, a: Tensor, g: Tensor, records: int) -> list[Tensor]:
    bias = g.sum((2, 3)).view(records, -1, g.shape[1]).sum(1)
    if layer.stride == (1, 1):
        return [_conv2d_by_taps(layer, a, g, records), bias]
    columns = F.unfold(a, layer.kernel_size, padding=layer.padding, stride=layer.stride).transpose(1, 2)
    rows = g.flatten(2).transpose(1, 2).reshape(records, -1, g.shape[1])
    weight = rows.transpose(1, 2) @ columns.reshape(records, -1, columns.shape[-1])
    return [weight.view(records, *layer.weight.shape), bias]


def _conv2d_by_taps(layer: nn.Conv2d, a: Tensor, g: Tensor, records: int) -> Tensor:
    """In channels-last memory the padded input is, shifted, the matrix of each tap of the kernel: no im2col copy.

    The gradient is padded at its far edges to the same grid, with zeros, which also keep the views apart.
    """
    (tall, wide), (up, left) = layer.kernel_size, layer.padding
    a = F.pad(a.permute(0, 2, 3, 1), (0, 0, left, left, up, up)).contiguous()  # (rows, H + 2 up, W + 2 left, Cin)
    grid = a.shape[1:3]
    g = F.pad(g.permute(0, 2, 3, 1), (0, 0, 0, grid[1] - g.shape[3], 0, grid[0] - g.shape[2]))
    a, g = a.view(records, -1, a.shape[-1]), g.reshape(records, -1, g.shape[-1])
    n = a.shape[1] - (tall - 1) * grid[1] - (wide - 1)
    g = g[:, :n].transpose(1, 2)
    offsets = [i * grid[1] + j for i in range(tall) for j in range(wide)]
    taps = torch.stack([g @ a[:, o : o + n] for o in offsets], dim=-1)  # (records, Cout, Cin, taps)
    return taps.view(records, *layer.weight.shape)


def _group_norm(layer: nn.GroupNorm, a: Tensor, g: Tensor, records: int) -> list[Tensor]:
    normalised = F.group_norm(a, layer.num_groups, eps=layer.eps)
    return [part.flatten(2).sum(2).view(records, -1, a.shape[1]).sum(1) for part in (g * normalised, g)]


def _embedding(layer: nn.Embedding, a: Tensor, g: Tensor, records: int) -> list[Tensor]:
    rows = F.one_hot(a.view(records, -1), layer.num_embeddings).to(g.dtype)  # (records, views, entries)
    return [rows.transpose(1, 2) @ g.view(records, -1, g.shape[-1])]


LARGEST = 2.0**63  # the square of a norm above it would overflow in float32

EXACT = {nn.Linear: _linear, nn.Conv2d: _conv2d, nn.GroupNorm: _group_norm, nn.Embedding: _embedding}


class PerExample:
    """A model whose per-record gradients can be taken; shares the model's parameters, and computes its forward.

    While it exists, the model's parameters receive no plain gradients: `close` gives them back.

    Raises:
        ValueError: a layer with trainable weights whose per-record gradient is not proved exact, by name.
    """

    def __init__(self, model: nn.Module):
        check(model)
        self.model, self.parameters = model, [p for p in model.parameters() if p.requires_grad]
        self._index = {id(p): i for i, p in enumerate(self.parameters)}
        layers = [layer for layer in model.modules() if type(layer) in EXACT and any(_trainable(layer))]
        self._hooks = [layer.register_forward_hook(self._keep) for layer in layers]
        self._now = threading.local()  # `records` and `gradients` of the micro-batch that this thread works on
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def __call__(self, *inputs: Tensor) -> Tensor:
        return self.model(*inputs)

    def close(self) -> None:
        """Remove the hooks; parameters receive plain gradients again."""
        for hook in self._hooks:
            hook.remove()
        for parameter in self.parameters:
            parameter.requires_grad_(True)

    def gradients(self, losses: Callable[[], Tensor], records: int) -> list[Tensor]:
        """Gradient of each record's summed losses: one (records, *shape) tensor a parameter.

        Args:
            losses: () -> (records * views,), record by record; runs the forward.
        """
        self._now.records, self._now.gradients = records, [None] * len(self.parameters)
        with torch.enable_grad():
            losses().sum().backward()
        return [
            torch.zeros(records, *p.shape) if g is None else g
            for p, g in zip(self.parameters, self._now.gradients, strict=True)
        ]

    def _keep(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not torch.is_grad_enabled():
            return
        if not output.requires_grad:
            output.requires_grad_()  # nothing before this layer needs a gradient
        kept = inputs[0].detach()
        output.register_hook(lambda g: self._take(layer, kept, g.detach()))

    @torch.no_grad()
    def _take(self, layer: nn.Module, a: Tensor, g: Tensor) -> None:
        found = EXACT[type(layer)](layer, a, g, self._now.records)
        for parameter, gradient in zip((layer.weight, getattr(layer, "bias", None)), found, strict=False):
            place = self._index.get(id(parameter))
            if place is not None:  # used twice in one forward: the sum of both uses
                before = self._now.gradients[place]
                self._now.gradients[place] = gradient if before is None else before + gradient


def check(model: nn.Module) -> None:
    """Refuse, by name, any layer whose per-record gradient is not proved exact, or that couples records.

    Raises:
        ValueError: names the layers.
    """
    bad = [f"{name} ({type(layer).__name__})" for name, layer in model.named_modules() if not _exact(layer)]
    if bad:
        known = ", ".join(layer.__name__ for layer in EXACT)
        raise ValueError(
            f"no exact per-record gradient for {', '.join(bad)}; there is one for {known}, with zero padding, "
            "without groups or dilation"
        )


def _trainable(layer: nn.Module):
    return (p.requires_grad for p in layer.parameters(recurse=False))


def _exact(layer: nn.Module) -> bool:
    if isinstance(layer, nn.modules.batchnorm._NormBase | nn.modules.dropout._DropoutNd):
        return False  # the one couples records or keeps their statistics, the other tosses coins that have no address
    if not any(_trainable(layer)):
        return True
    if isinstance(layer, nn.Conv2d):
        plain = layer.groups == 1 and layer.dilation == (1, 1) and not isinstance(layer.padding, str)
        return type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and plain
    if isinstance(layer, nn.Embedding):
        return type(layer) is nn.Embedding and layer.max_norm is None and not layer.scale_grad_by_freq
    return type(layer) in EXACT


def clipped_sum(
    model: PerExample, loss: Callable, images: Tensor, labels: Tensor, records: list[int],
    mechanism: Gradients, coins: Coins, step: int, microbatch: int,
) -> list[Tensor]:  # fmt: skip
    """Sum over the drawn records of their clipped mean gradients.

    Args:
        loss: `loss(images, labels, draws) -> (rows,)`, one value a row; runs `model`.
        images, labels: all records; records: indices of the drawn ones, possibly none.
        microbatch: rows (records times views) computed on at once.
    Returns:
        One float64 tensor a trainable parameter. Each record's part has l2 norm at most max_grad_norm; a record whose
        gradient is not finite has none.
    """
    views = mechanism.noise_multiplicity
    at_once = max(1, microbatch // views)

    def part_sum(start: int) -> list[Tensor]:
        part = records[start : start + at_once]
        padded = part + [part[-1]] * (at_once - len(part))
        draws = Draws(coins, step, padded, views)
        rows = torch.tensor(padded).repeat_interleave(views)

        def mean_losses() -> Tensor:
            return loss(images[rows], labels[rows], draws) / views  # averaged over views before the one clip

        means = [gradient[: len(part)] for gradient in model.gradients(mean_losses, at_once)]
        return clip(means, mechanism.max_grad_norm)

    total = [torch.zeros(p.shape, dtype=torch.float64) for p in model.parameters]
    for sums in side_by_side(part_sum, range(0, len(records), at_once)):
        for into, addition in zip(total, sums, strict=True):
            into += addition
    return total


def side_by_side(work: Callable, parts: Iterable) -> Iterator:
    """`work(part)` of each part, in their order: as many at once as torch has threads, each on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that start now inherit it
    try:
        with ThreadPoolExecutor(threads) as pool:
            pending = deque()
            for part in parts:
                pending.append(pool.submit(work, part))
                if len(pending) > threads:
                    yield pending.popleft().result()
            yield from (future.result() for future in pending)
    finally:
        torch.set_num_threads(threads)


def clip(gradients: list[Tensor], max_grad_norm: float) -> list[Tensor]:
    """Sum over the first axis of the records' gradients, each scaled to a joint l2 norm of at most max_grad_norm.

    Args:
        gradients: one (B, *shape) float32 tensor a parameter.
    Returns:
        One float64 tensor a parameter. Records whose norm is NaN, or above LARGEST, are left out by selection.
    """
    # summed in float64: in float32 the norm of a million like numbers comes out too small by more than MARGIN
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1, dtype=torch.float64) for g in gradients])
    norms = torch.linalg.vector_norm(norms, dim=0)  # (P, B) -> (B,)
    finite = norms < LARGEST  # false of NaN
    if not finite.all():
        gradients, norms = [g[finite] for g in gradients], norms[finite]
    factors = _factors(norms, max_grad_norm).float()
    return [torch.tensordot(factors, g, dims=1).double() for g in gradients]


def bounded(vectors: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Rows of `vectors` (B, D), each scaled down to an l2 norm of at most `bound`; rows not finite are left out.

    Returns:
        The finite rows in float64, (F, D), and which they are, (B,) bool.
    """
    norms = torch.linalg.vector_norm(vectors.double(), dim=1)
    finite = norms.isfinite()
    return vectors.double()[finite] * _factors(norms[finite], bound)[:, None], finite


def _factors(norms: Tensor, bound: float) -> Tensor:
    """What to multiply vectors of these norms by: at most 1, and to a norm a little below `bound`."""
    return bound * MARGIN / norms.clamp(min=bound * MARGIN)
