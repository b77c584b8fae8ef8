"""Public batches and the draws of their losses, made on the host: by other threads while a GPU works."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dpsynth import device
from dpsynth.models.diffusion import Draws

DEPTH = 4  # batches that are made ahead, by as many threads


class Joined:
    """Draws of several, as of one batch."""

    def __init__(self, draws: list[Draws]):
        self._draws = draws

    def normal(self, *shape: int) -> Tensor:
        """As of `Draws`."""
        return torch.cat([draws.normal(*shape) for draws in self._draws])

    def uniform(self) -> Tensor:
        """As of `Draws`."""
        return torch.cat([draws.uniform() for draws in self._draws])


class Kept:
    """Draws that are made once, in the order in which they are first asked for, and told anew after `again`."""

    def __init__(self, draws: Draws):
        self._draws, self._made, self._told = draws, [], 0
        self.asked: list[tuple[str, tuple[int, ...]]] = []

    def again(self) -> "Kept":
        """Tell them from the first one on."""
        self._told = 0
        return self

    def normal(self, *shape: int) -> Tensor:
        """As of `Draws`."""
        return self._next("normal", shape)

    def uniform(self) -> Tensor:
        """As of `Draws`."""
        return self._next("uniform", ())

    def _next(self, kind: str, shape: tuple[int, ...]) -> Tensor:
        if self._told == len(self._made):
            self.asked.append((kind, shape))
            self._made.append(getattr(self._draws, kind)(*shape))
        self._told += 1
        return self._made[self._told - 1]


class Batch(NamedTuple):
    """Images (B, C, S, S) uint8 and labels (B,), where networks compute, and the draws of their losses."""

    images: Tensor
    labels: Tensor
    draws: Kept


class Ahead:
    """`make(number)`, asked for by increasing numbers; on a GPU, those below `n` to come are begun by threads, which
    draw also what the first batch was asked for."""

    def __init__(self, make: Callable[[int], Any], draws_of: Callable[[Any], list[Kept]], n: int):
        self._make, self._draws_of, self._n = make, draws_of, n
        self._pool = ThreadPoolExecutor(DEPTH) if device.on_gpu() else None
        self._begun: dict[int, Future] = {}
        self._first: Kept | None = None

    def __call__(self, number: int) -> Any:
        if self._pool is None:
            return self._make(number)
        made = self._begun.pop(number).result() if number in self._begun else self._make(number)
        self._first = self._first or self._draws_of(made)[0]
        for later in range(number + 1, min(number + 1 + DEPTH, self._n)):
            if later not in self._begun:
                self._begun[later] = self._pool.submit(self._drawn, later)
        return made

    def _drawn(self, number: int) -> Any:
        made = self._make(number)
        for kept in self._draws_of(made):
            for kind, shape in list(self._first.asked):
                getattr(kept, kind)(*shape)
            kept.again()
        return made
