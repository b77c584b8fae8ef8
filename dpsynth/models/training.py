"""The loop that every training here shares: resumable, one checkpoint aside, a generator that yields its steps."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dpsynth.privacy import Plan, side_by_side
from dpsynth.store import Work, refuse_infinite, seed_of

PATIENCE = 20.0  # seconds between checkpoints; what a kill can cost


def steps(work: Work, n_steps: int, parts: dict[str, Any], history: dict[str, list[float]]) -> Iterator[int]:
    """Yield the steps still to do, and checkpoint `parts` and `history` while the caller does them.

    A killed run continues after its last checkpoint and ends with the same bits, as long as a step draws all its
    randomness from its own number.

    Args:
        parts: objects with `state_dict` and `load_state_dict`; history: lists that the caller appends to.
    Raises:
        ValueError: at a checkpoint, what is trained is not finite any more.
    """
    first, saved = 0, time.monotonic()
    if state := work.resume():
        first = state["step"]
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
        for name, values in state["history"].items():
            history[name][:] = values
    for step in range(first, n_steps):
        yield step
        if time.monotonic() - saved > PATIENCE:
            states = {name: part.state_dict() for name, part in parts.items()}
            refuse_infinite(work.kind, _tensors(states))
            work.save(step=step + 1, parts=states, history=history)
            saved = time.monotonic()


def _tensors(states: dict[str, dict[str, Any]]) -> dict[str, Tensor]:
    """The tensors at the top of state dicts: weights and averages, but not what an optimizer keeps."""
    return {f"{part}/{name}": v for part, state in states.items() for name, v in state.items() if isinstance(v, Tensor)}


def silent(n_steps: int, desc: str) -> tqdm:
    """A bar for learning from private records, that `tell` moves: no rate and no time, which would tell batch sizes."""
    return tqdm(total=n_steps, desc=desc, bar_format="{desc}: step {n_fmt}/{total_fmt}{postfix}", mininterval=5)


def tell(bar: tqdm, done: int, plan: Plan | None = None) -> None:
    """Say, ten times in all, how many steps are done; with a plan also what so many of its learner's spent."""
    bar.n = done
    if done == bar.total or done % max(1, bar.total // 10) == 0:
        if plan:
            bar.set_postfix_str(f"epsilon so far {plan.spent(done):.3f} of {plan.epsilon:g}", refresh=False)
        bar.refresh()


def gradient(parameters: list[Tensor], loss: Callable[[Any], Tensor], parts: Iterable) -> tuple[float, list[Tensor]]:
    """Sum over `parts` of `loss(part)`, and its gradient at each parameter.

    Parts are computed side by side, one thread each, and added in order: the bits do not depend on the number of
    threads, as long as each part draws from a generator of its own.
    """

    def of(part: Any) -> tuple[float, tuple[Tensor, ...]]:
        value = loss(part)
        return value.item(), torch.autograd.grad(value, parameters)

    total, summed = 0.0, [torch.zeros_like(p) for p in parameters]
    for value, gradients in side_by_side(of, parts):
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
    """Learning-rate factor: linear warm-up over a share `warmup` of the steps, then half a cosine to zero."""
    position = (step + 1) / n_steps
    if position < warmup:
        return position / warmup
    return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * (position - warmup) / (1 - warmup)))))
