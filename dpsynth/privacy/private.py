"""Private records, and the only verbs that turn them into numbers that leave."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpsynth.privacy import engine
from dpsynth.privacy.ledger import Charge, canonical
from dpsynth.privacy.mechanisms import Counts, Gradients

VOTERS = 256  # records that vote at once


class Private:
    """Records that only this package opens.

    Public are: `name`, `n_records` (declared, a constant), `classes`, `shape` (C, H, W), `builtin` (a public
    benchmark).

    Args:
        images: (N, C, H, W) uint8; labels: (N,) int64, each below len(classes).
    """

    def __init__(
        self, *, name: str, images: Tensor, labels: Tensor, classes: tuple[str, ...], n_records: int, builtin: bool
    ):
        self.name, self.classes, self.n_records, self.builtin = name, tuple(classes), n_records, builtin
        self.shape = tuple(images.shape[1:])
        self._images, self._labels = images, labels

    def __repr__(self) -> str:
        return f"Private({self.name}, {self.n_records} records declared, shape {self.shape})"

    @property
    def identity(self) -> str:
        """For lineage: what is public of the set. Its records are not hashed: a hash would confirm a guess."""
        return f"{canonical(self.name)} n_records={self.n_records} shape={self.shape} classes={self.classes}"

    def count(self, votes: Callable[[Tensor], Tensor], bins: int, charge: Charge, *, by_label: bool = True) -> Tensor:
        """Noisy histogram of the records' votes, one row a private label (or one row in all).

        Args:
            votes: images (B, C, H, W) float32 in [-1, 1] -> (B, k) int64, k distinct bins below `bins` for each record,
                from that record alone; k is the mechanism's `votes`.
            charge: under a `Counts` mechanism, whose docstring proves the sensitivity.
        Returns:
            (len(classes) or 1, bins) int64; negative counts are possible.
        Raises:
            ValueError: a vote that is not what the proof assumes.
        """
        mechanism = self._expect(charge, Counts)
        n_rows = len(self.classes) if by_label else 1
        histogram = np.zeros((n_rows, bins), dtype=np.int64)
        for start in range(0, len(self._images), VOTERS):
            part = slice(start, start + VOTERS)
            cast = _cast(votes, self._images[part], mechanism.votes, bins)
            rows = self._labels[part].numpy()[:, None] if by_label else np.zeros((len(cast), 1), dtype=np.int64)
            np.add.at(histogram, (rows, cast), 1)
        charge.use(("counts",))
        noise = charge.coins.discrete_gaussians(("counts",), histogram.size, mechanism.scale)
        return torch.from_numpy(histogram + noise.reshape(histogram.shape))

    def gradient(self, model: engine.PerExample, loss: Callable, charge: Charge, step: int, microbatch: int) -> None:
        """One DP-SGD step's noisy gradient, written to the `grad` of each trainable parameter, in units of C.

        Poisson draw, clip, sum, one noise draw, divide by the plan's constant: all from the fields of one `Gradients`
        mechanism. An empty draw gives noise alone. `step` counts from 0 and addresses the coins.

        Args:
            model: from `PerExample`; loss: `loss(images, labels, draws) -> (rows,)`; images float32 in [-1, 1].
        """
        mechanism = self._expect(charge, Gradients)
        if not 0 <= step < mechanism.steps:
            raise ValueError(f"Expected 0 <= step={step} < steps={mechanism.steps}: the plan pays for no more")
        charge.use(("step", step))
        drawn = charge.coins.uniforms(("poisson", step), len(self._images)) < mechanism.sample_rate
        records = np.flatnonzero(drawn).tolist()

        def rescaled(images: Tensor, labels: Tensor, draws: engine.Draws) -> Tensor:
            return loss(scaled(images), labels, draws)

        sums = engine.clipped_sum(
            model, rescaled, self._images, self._labels, records, mechanism, charge.coins, step, microbatch
        )
        for number, (parameter, total) in enumerate(zip(model.parameters, sums, strict=True)):
            noise = charge.coins.normals(("noise", step, number), total.numel())
            noisy = total + mechanism.scale * torch.from_numpy(noise).view_as(total)
            parameter.grad = (noisy / (mechanism.divisor * mechanism.max_grad_norm)).float()

    def _expect(self, charge: Charge, kind: type) -> Any:
        if not isinstance(charge.mechanism, kind):
            raise ValueError(f"{charge.mechanism.name} is not planned as {kind.__name__}; nothing was touched")
        if canonical(charge.plan.private) != canonical(self.name):
            raise ValueError(f"the charge is for {charge.plan.private}, not for {self.name}; nothing was touched")
        return charge.mechanism


def _cast(votes: Callable[[Tensor], Tensor], images: Tensor, k: int, bins: int) -> np.ndarray:
    """Votes of each image, (B, k), checked against what the proof assumes.

    The last batch is filled up, so that a record's votes do not depend on how many others there are.
    """
    filled = torch.cat([images, images[-1:].expand(VOTERS - len(images), -1, -1, -1)])
    cast = votes(scaled(filled)).numpy()[: len(images)]
    if cast.shape != (len(images), k) or cast.min() < 0 or cast.max() >= bins:
        raise ValueError(f"each record must cast {k} votes for bins below {bins}")
    if (np.diff(np.sort(cast, axis=1), axis=1) == 0).any():
        raise ValueError("a record voted twice for one bin: the sensitivity would exceed sqrt(votes)")
    return cast


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


def scaled(images: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1
