"""Private records, and the only verbs that turn them into numbers that leave.

A verb is handed a callable that says something of each record: `(images, labels, draws) -> (rows, ...)`, images float32
in [-1, 1]. The verb bounds what a record says, sums, and adds the plan's noise. It trusts one thing only: that what is
said of a record depends on that record and its own draws, not on its companions (the proofs' "independently").
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpsynth.privacy import engine
from dpsynth.privacy.coins import Coins
from dpsynth.privacy.ledger import Charge, canonical
from dpsynth.privacy.mechanisms import Counts, Gradients, Sums

AT_ONCE = 256  # records that `count` and `total` look at together

PerRecord = Callable[[Tensor, Tensor, engine.Draws], Tensor]


@dataclasses.dataclass(frozen=True)
class Fakes:
    """Public images that a GAN's discriminator learns beside the records: their number is a constant of the run.

    Args:
        images: (M, C, H, W) float32 in [-1, 1], of a generator that saw released numbers alone.
        labels: (M,) int64, from a public prior; loss: `loss(images, labels, draws) -> (rows,)`, as for the records.
    """

    images: Tensor
    labels: Tensor
    loss: PerRecord


class Private:
    """Records that only this package opens.

    Public are: `name`, `n_records` (declared, a constant), `classes`, `shape` (C, H, W), `builtin` (a benchmark).

    Args:
        images: (N, C, H, W) uint8; labels: (N,) int64, each below len(classes).
    """

    def __init__(
        self, *, name: str, images: Tensor, labels: Tensor, classes: tuple[str, ...], n_records: int, builtin: bool
    ):
        self.name, self.classes, self.n_records, self.builtin = name, tuple(classes), n_records, builtin
        self.shape = tuple(images.shape[1:])
        self._images, self._labels = images, labels

    def __reduce__(self) -> Any:
        raise TypeError(f"the records of {self.name} are closed: they cannot be pickled or copied")

    def __repr__(self) -> str:
        return f"Private({self.name}, {self.n_records} records declared, shape {self.shape})"

    @property
    def identity(self) -> str:
        """For lineage: what is public of the set. Its records are not hashed: a hash would confirm a guess."""
        return f"{canonical(self.name)} n_records={self.n_records} shape={self.shape} classes={self.classes}"

    def seal(self, coins: Coins) -> bytes:
        """Tells these records from others, to those alone who have the coins' key: 32 bytes."""
        return coins.seal(self._content)

    @functools.cached_property
    def _content(self) -> bytes:
        digest = hashlib.sha256(repr(tuple(self._images.shape)).encode())
        for tensor in (self._images, self._labels):
            digest.update(tensor.contiguous().numpy())
        return digest.digest()

    def count(self, votes: PerRecord, bins: int, charge: Charge, step: int = 0, *, by_label: bool = True) -> Tensor:
        """Noisy histogram of the records' votes, one row a private label (or one row in all).

        Args:
            votes: (rows, k) int64, k distinct bins below `bins` for each record; k is the mechanism's `votes`.
            charge: under a `Counts` mechanism, whose docstring proves the sensitivity.
            step: counts the mechanism's releases, from 0.
        Returns:
            (len(classes) or 1, bins) int64; negative counts are possible.
        Raises:
            ValueError: a vote that is not what the proof assumes.
        """
        mechanism = self._opened(charge, Counts, step)
        histogram = np.zeros((len(self.classes) if by_label else 1, bins), dtype=np.int64)
        for records, answers in self._answers(votes, charge, step, range(len(self._images))):
            cast = _distinct(answers.numpy(), mechanism.votes, bins)
            np.add.at(histogram, (self._rows(records, by_label)[:, None], cast), 1)
        noise = charge.coins.discrete_gaussians(("noise", step), histogram.size, mechanism.scale)
        return torch.from_numpy(histogram + noise.reshape(histogram.shape))

    def total(self, vectors: PerRecord, dim: int, charge: Charge, step: int = 0, *, by_label: bool = False) -> Tensor:
        """Noisy sum of the records' vectors over the plan's constant, one row a private label (or one row in all).

        Args:
            vectors: (rows, dim) floats; longer ones are scaled down to the mechanism's `bound`, those that are not
                finite are left out.
            charge: under a `Sums` mechanism, whose docstring proves the sensitivity.
            step: counts the mechanism's releases, from 0.
        Returns:
            (len(classes) or 1, dim) float64.
        Raises:
            ValueError: vectors of another shape.
        """
        mechanism = self._opened(charge, Sums, step)
        table = np.zeros((len(self.classes) if by_label else 1, dim))
        for records, answers in self._answers(vectors, charge, step, self._drawn(charge, step)):
            if answers.shape[1:] != (dim,):
                shape = tuple(answers.shape[1:])
                raise ValueError(f"each record must give a vector of {dim} numbers, got shape {shape}")
            bounded, finite = engine.bounded(answers, mechanism.bound)
            np.add.at(table, self._rows(records, by_label)[finite.numpy()], bounded.numpy())
        noise = charge.coins.normals(("noise", step), table.size)
        noisy = table + mechanism.scale * noise.reshape(table.shape)
        return torch.from_numpy(mechanism.snapped(noisy) / mechanism.divisor)

    def gradient(
        self, model: engine.Watched, loss: PerRecord, charge: Charge, step: int, microbatch: int,
        fakes: Fakes | None = None,
    ) -> None:  # fmt: skip
        """One DP-SGD step's noisy gradient, written to the `grad` of each trainable parameter, in units of C.

        Poisson draw, clip, sum, one noise draw, divide by the plan's constant: all from the fields of one `Gradients`
        mechanism. An empty draw gives noise alone. `step` counts from 0 and addresses the coins.

        Args:
            model: from `per_example`; loss: (rows,), one value a row; microbatch: rows computed on at once.
            fakes: their mean clipped gradient is added to the step: public, so it needs no noise.
        """
        mechanism = self._opened(charge, Gradients, step)
        records = self._drawn(charge, step)

        def normals(number: int) -> np.ndarray:
            return charge.coins.normals(("noise", step, number), model.parameters[number].numel())

        on_gpu = model.parameters[0].is_cuda
        with engine.begun(normals, range(len(model.parameters)), now=on_gpu) as noise_of:
            how = mechanism, charge.coins, step, microbatch, engine.sharing(charge.joined)
            sums = engine.clipped_sum(model, engine.Rescaled(loss), self._images, self._labels, records, *how)
            beside = _mean_of_fakes(model, fakes, charge, step, microbatch) if fakes else [0.0] * len(sums)

            def release(numbered: tuple) -> None:
                number, (parameter, total, public) = numbered
                noise = engine.moved(torch.from_numpy(noise_of(number)), total)
                noisy = total + mechanism.scale * noise.view_as(total)
                mean = mechanism.snapped(noisy) / mechanism.divisor
                parameter.grad = ((mean + public) / mechanism.max_grad_norm).float()

            each = map if on_gpu else engine.side_by_side
            list(each(release, enumerate(zip(model.parameters, sums, beside, strict=True))))

    def _opened(self, charge: Charge, kind: type, step: int) -> Any:
        """The charge's mechanism, if the plan pays for this touch; its noise is marked as drawn."""
        mechanism = charge.mechanism
        if not isinstance(mechanism, kind):
            raise ValueError(f"{mechanism.name} is not planned as {kind.__name__}; nothing was touched")
        if canonical(charge.plan.private) != canonical(self.name):
            raise ValueError(f"the charge is for {charge.plan.private}, not for {self.name}; nothing was touched")
        if (charge.seal or not self.builtin) and charge.seal != self.seal(charge.coins).hex():
            raise ValueError(f"the charge was not opened for these records of {self.name}; nothing was touched")
        if mechanism not in charge.plan.mechanisms:
            raise ValueError(f"{mechanism.name} is not in the plan as the charge has it; nothing was touched")
        if not 0 <= step < mechanism.steps:
            raise ValueError(f"Expected 0 <= step={step} < steps={mechanism.steps}: the plan pays for no more")
        charge.use(step)
        return mechanism

    def _drawn(self, charge: Charge, step: int) -> list[int]:
        """Poisson sampling: each record takes part with probability `sample_rate`, by a coin of its own."""
        coins = charge.coins.uniforms(("poisson", step), len(self._images))
        return np.flatnonzero(coins < charge.mechanism.sample_rate).tolist()

    def _answers(self, question: PerRecord, charge: Charge, step: int, records) -> Iterator[tuple[Any, Tensor]]:
        """Answers of `records`, in batches of one shape: a record's does not depend on how many others there are."""
        for start in range(0, len(records), AT_ONCE):
            part = list(records[start : start + AT_ONCE])
            rows = part + [part[-1]] * (AT_ONCE - len(part))
            draws = engine.Draws(charge.coins, step, rows, 1)
            answers = question(engine.scaled(self._images[rows]), self._labels[rows], draws)
            yield part, engine.one_each(answers, len(rows)).detach()[: len(part)].to(self._labels.device)

    def _rows(self, records: list[int], by_label: bool) -> np.ndarray:
        return self._labels[records].numpy() if by_label else np.zeros(len(records), dtype=np.int64)


def _distinct(cast: np.ndarray, k: int, bins: int) -> np.ndarray:
    """Votes of each record, (B, k), checked against what the proof assumes."""
    if cast.ndim != 2 or cast.shape[1] != k or cast.min() < 0 or cast.max() >= bins:
        raise ValueError(f"each record must cast {k} votes for bins below {bins}")
    if (np.diff(np.sort(cast, axis=1), axis=1) == 0).any():
        raise ValueError("a record voted twice for one bin: the sensitivity would exceed sqrt(votes)")
    return cast


def _mean_of_fakes(model: engine.Watched, fakes: Fakes, charge: Charge, step: int, microbatch: int) -> list[Tensor]:
    """Mean over the fakes of their gradients, each clipped as a record's is."""
    mechanism, everyone = dataclasses.replace(charge.mechanism, noise_multiplicity=1), list(range(len(fakes.images)))
    how = mechanism, charge.coins, step, microbatch, engine.sharing(charge.joined)
    sums = engine.clipped_sum(model, fakes.loss, fakes.images, fakes.labels, everyone, *how)
    return [total / len(everyone) for total in sums]


def evaluation(private: Private, reason: str) -> tuple[Tensor, Tensor]:
    """Open a built-in benchmark for figures, metrics and the non-private twin: not a release, and marked so.

    Returns:
        images (N, C, H, W) uint8, labels (N,) int64.
    Raises:
        PermissionError: the set is the user's own.
    """
    if not private.builtin:
        raise PermissionError(f"{reason}: {private.name} is not a public benchmark; its records stay closed")
    return private._images, private._labels
