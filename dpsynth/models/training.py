"""The loop that every training here shares: resumable, one checkpoint aside, a generator that yields its steps."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from dpsynth.privacy.engine.parallel import side_by_side
from dpsynth.seeds import seed_of

PATIENCE = 20.0  # seconds between checkpoints; what a kill can cost


class Work(Protocol):
    """An artifact in the making, that keeps one checkpoint."""

    def save(self, **state: Any) -> None: ...

    def resume(self) -> dict[str, Any] | None: ...


def steps(work: Work, n_steps: int, trained: dict[str, Any], history: dict[str, list[float]]) -> Iterator[int]:
    """Yield the steps still to do, and checkpoint `trained` and `history` while the caller does them.

    A killed run continues after its last checkpoint and ends with the same bits, as long as a step draws all its
    randomness from its own number.

    Args:
        trained: objects with `state_dict` and `load_state_dict`; history: lists that the caller appends to.
    Raises:
        ValueError: at a checkpoint, what is trained is not finite any more.
    """
    first, saved = 0, time.monotonic()
    if state := work.resume():
        first = state["step"]
        for name, one in trained.items():
            one.load_state_dict(state["trained"][name])
        for name, values in state["history"].items():
            history[name][:] = values
    for step in range(first, n_steps):
        yield step
        if time.monotonic() - saved > PATIENCE:
            states = {name: one.state_dict() for name, one in trained.items()}
            work.save(step=step + 1, trained=states, history=history)
            saved = time.monotonic()


def gradient(
    parameters: list[Tensor], loss: Callable[[Any], Tensor], sub_batches: Iterable
) -> tuple[float, list[Tensor]]:
    """Sum over `sub_batches` of `loss(sub_batch)`, and its gradient at each parameter.

    They are computed side by side, one thread each, and added in order: the bits do not depend on the number of
    threads, as long as each draws from a generator of its own.
    """

    def of(sub_batch: Any) -> tuple[float, tuple[Tensor, ...]]:
        value = loss(sub_batch)
        return value.item(), torch.autograd.grad(value, parameters)

    total, summed = 0.0, [torch.zeros_like(p) for p in parameters]
    for value, gradients in side_by_side(of, sub_batches):
        total += value
        torch._foreach_add_(summed, gradients)
    return total, summed


def generator(seed: int, step: int) -> torch.Generator:
    """Public randomness of one step."""
    return torch.Generator().manual_seed(seed_of(seed, str(step)))


def public_batch(n: int, size: int, draws: torch.Generator) -> torch.Tensor:
    """`size` indices below n, with replacement: (size,) int64."""
    return torch.randint(n, (size,), generator=draws)


def cosine(step: int, n_steps: int, warmup: float = 0.05) -> float:
    """Learning-rate factor: linear warm-up over a share `warmup` of the steps, then half a cosine to zero.

    >>> [round(cosine(step, 100), 3) for step in (0, 4, 50, 99)]
    [0.2, 1.0, 0.525, 0.0]
    """
    position = (step + 1) / n_steps
    if position < warmup:
        return position / warmup
    return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * (position - warmup) / (1 - warmup)))))
