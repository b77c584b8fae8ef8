"""A step's sum of clipped gradients, micro-batch by micro-batch.

Micro-batches have a fixed shape, so that memory is flat in the batch and a record's gradient does not depend on how
many others were drawn. Each is one thread's work, and as many run at once as torch has threads: on small images that
is quicker than many threads in one operator, and the bits of a step do not depend on the number of threads. Several
processes share them out: a micro-batch is the same in whichever it is computed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dpsynth.privacy.coins import Coins, as_normals, as_uniforms
from dpsynth.privacy.engine.carriers import Carried
from dpsynth.privacy.engine.model import Watched
from dpsynth.privacy.engine.parallel import side_by_side
from dpsynth.privacy.engine.philox import LOW, DeviceDraws
from dpsynth.privacy.engine.ranks import ALONE, Ranks
from dpsynth.privacy.mechanisms import Gradients


class Draws:
    """Randomness of a loss, addressed by (step, record, call): it does not depend on which other records were drawn.

    Args:
        coins: the release's stream; records: index of each row; views: rows a record.
    """

    def __init__(self, coins: Coins, step: int, records: list[int], views: int):
        self._coins, self._step, self._records, self._views, self._call = coins, step, records, views, 0

    def _words(self, n: int) -> np.ndarray:
        """(records, n) uint64."""
        self._call += 1
        address = ("draw", self._step, self._call)
        return np.stack([self._coins.words((*address, record), n) for record in self._records])

    def normal(self, *shape: int) -> Tensor:
        """Standard normals: (rows, *shape) float32."""
        size = self._views * int(np.prod(shape))
        drawn = as_normals(self._words(size + size % 2))[:, :size]
        return torch.from_numpy(drawn).float().reshape(-1, *shape)

    def uniform(self) -> Tensor:
        """Uniforms in [0, 1): (rows,) float32."""
        drawn = torch.from_numpy(as_uniforms(self._words(self._views))).float().flatten()
        return drawn.clamp(max=1 - 2**-24)  # float32 rounds the last ones up to 1


def clipped_sum(
    model: Watched, loss: Callable, images: Tensor, labels: Tensor, records: list[int],
    mechanism: Gradients, coins: Coins, step: int, microbatch: int, ranks: Ranks = ALONE,
) -> list[Tensor]:  # fmt: skip
    """Sum over the drawn records of their clipped mean gradients.

    Args:
        loss: `loss(images, labels, draws) -> (rows,)`, one value a row; runs `model`.
        images, labels: all records; records: indices of the drawn ones, possibly none.
        microbatch: rows (records times views) computed on at once.
        ranks: the processes that share the micro-batches out; each gets the sum of all.
    Returns:
        One float64 tensor a trainable parameter. Each record's part has l2 norm at most max_grad_norm; a record whose
        gradient is not finite has none.
    Raises:
        ValueError: as of `Ranks.agree`.
    """
    views = mechanism.noise_multiplicity
    at_once = max(1, microbatch // views)
    parts = [records[start : start + at_once] for start in range(0, len(records), at_once)]
    ranks.agree(parts, tuple(images.shape), mechanism, coins.fingerprint, step)
    sums_of = _on_the_device if isinstance(model, Carried) else _by_hooks
    share = ranks.share(parts)
    return ranks.summed(sums_of(model, loss, images, labels, share, mechanism, coins, step, at_once))


def _by_hooks(
    model: Watched, loss: Callable, images: Tensor, labels: Tensor, parts: list[list[int]],
    mechanism: Gradients, coins: Coins, step: int, at_once: int,
) -> list[Tensor]:  # fmt: skip
    """The sum of these micro-batches, on the CPU."""
    views, bound = mechanism.noise_multiplicity, mechanism.max_grad_norm

    def part_sum(part: list[int]) -> list[Tensor]:
        padded = part + [part[-1]] * (at_once - len(part))
        draws = Draws(coins, step, padded, views)
        rows = torch.tensor(padded).repeat_interleave(views)

        def mean_losses() -> Tensor:
            return one_each(loss(images[rows], labels[rows], draws), len(rows)) / views  # averaged before the one clip

        return model.clipped(mean_losses, at_once, len(part), bound)

    total = [torch.zeros(p.shape, dtype=torch.float64) for p in model.parameters]
    for sums in side_by_side(part_sum, parts):
        for into, addition in zip(total, sums, strict=True):
            into += addition
    return total


def _on_the_device(
    model: Carried, loss: Callable, images: Tensor, labels: Tensor, parts: list[list[int]],
    mechanism: Gradients, coins: Coins, step: int, at_once: int,
) -> list[Tensor]:  # fmt: skip
    """The same where nothing waits for the device before the end of the step; a micro-batch that turns out to hold a
    gradient that is not finite is then asked again, and that record left out."""
    like, views, bound = model.parameters[0], mechanism.noise_multiplicity, mechanism.max_grad_norm
    word = int(coins.words(("draw key",), 1)[0])
    key, now = (moved(torch.tensor(v), like) for v in ([word & LOW, word >> 32], step))
    losses = OfRows(loss, views)

    def inputs(part: list[int]) -> tuple[Tensor, ...]:
        padded = torch.tensor(part + [part[-1]] * (at_once - len(part)))
        return *(moved(t, like) for t in (images[padded], labels[padded], padded)), key, now

    total = [torch.zeros(p.shape, dtype=torch.float64, device=like.device) for p in model.parameters]
    finite = []
    for part in parts:
        sums, all_finite = model.clipped_rows(losses, inputs(part), at_once, len(part), bound)
        for into, addition in zip(total, sums, strict=True):
            into += torch.where(all_finite, addition, 0.0)  # by selection: what is not finite is not multiplied by 0
        finite.append(all_finite)
    for part, whole in zip(parts, torch.stack(finite).tolist() if finite else [], strict=True):
        if not whole:
            sums = model.clipped_again(losses, inputs(part), at_once, len(part), bound)
            for into, addition in zip(total, sums, strict=True):
                into += addition
    return total


@dataclass(frozen=True)
class OfRows:
    """Mean losses of a micro-batch's rows, from tensors alone: equal ones are compiled once."""

    loss: Callable
    views: int

    def __call__(self, images: Tensor, labels: Tensor, records: Tensor, key: Tensor, step: Tensor) -> Tensor:
        images, labels = (t.repeat_interleave(self.views, 0) for t in (images, labels))
        draws = DeviceDraws(key, step, records, self.views)
        return one_each(self.loss(images, labels, draws), len(labels)) / self.views  # averaged before the one clip


def moved(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor` on the device of `like`, without waiting for what that is at."""
    return tensor.pin_memory().to(like.device, non_blocking=True) if like.is_cuda and not tensor.is_cuda else tensor


def one_each(answers: Tensor, rows: int) -> Tensor:
    """`answers`, if it has one answer a row: of more or fewer, it is not known whose they are.

    Raises:
        ValueError: it has not.
    """
    if answers.ndim == 0 or len(answers) != rows:
        raise ValueError(f"{rows} rows were asked and gave answers of shape {tuple(answers.shape)}: whose are they?")
    return answers


@dataclass(frozen=True)
class Rescaled:
    """`loss` of images as they lie, in bytes. Equal ones are one to a compiler."""

    loss: Callable

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> Tensor:
        return self.loss(scaled(images), labels, draws)


def scaled(images: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [-1, 1], as `models.pixels.scaled`, which the core does not import."""
    return images.float() / 127.5 - 1
