"""The loop that every training here shares: resumable, one checkpoint aside, a generator that yields its steps."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dpsynth import deadline, device
from dpsynth.privacy.engine.parallel import side_by_side
from dpsynth.seeds import seed_of

WARMUP = 0.05  # share of the steps in which the learning rate rises
PATIENCE = 20.0  # seconds between checkpoints; what a kill can cost


class Resumable(Protocol):
    """An artifact in the making, that keeps one checkpoint."""

    def save(self, **state: Any) -> None: ...

    def resume(self) -> dict[str, Any] | None: ...


History = dict[str, list]


def steps(
    work: Resumable,
    n_steps: int,
    trained: dict[str, Any],
    history: History,
    tell: Callable[[int], None] = lambda done: None,
) -> Iterator[int]:
    """Yield the steps still to do, and checkpoint `trained` and `history` while the caller does them.

    A killed run continues after its last checkpoint and ends with the same bits, as long as a step draws all its
    randomness from its own number.

    Args:
        trained: objects with `state_dict` and `load_state_dict`; history: lists that the caller appends to.
        tell: called after each step with the number of those done: a bar, of `stages.progress`.
    Raises:
        ValueError: at a checkpoint, what is trained is not finite any more.
        deadline.OutOfTime: another step would take too long; the checkpoint is saved.
    """
    first, saved, to_save = 0, time.monotonic(), 0.0
    if state := work.resume():
        first = state["step"]
        for name, one in trained.items():
            one.load_state_dict(state["trained"][name])
        for name, values in state["history"].items():
            history[name][:] = values
    for step in range(first, n_steps):
        began = time.monotonic()
        yield step
        tell(step + 1)
        now = time.monotonic()
        last = deadline.is_near(2 * (now - began + to_save))
        if last or now - saved > PATIENCE:
            _await(history)
            states = {name: one.state_dict() for name, one in trained.items()}
            work.save(step=step + 1, trained=states, history=history)
            saved = time.monotonic()
            to_save = saved - now
        if last:
            raise deadline.OutOfTime
    _await(history)


def _await(history: History) -> None:
    """Numbers that a device was still computing, as numbers."""
    for values in history.values():
        values[:] = [v.item() if isinstance(v, Tensor) and v.ndim == 0 else v for v in values]


def gradient(
    parameters: list[Tensor], loss: Callable[[Any], Tensor], sub_batches: Iterable
) -> tuple[Tensor, list[Tensor]]:
    """Sum over `sub_batches` of `loss(sub_batch)`, (), and its gradient at each parameter.

    On the CPU they are computed side by side, one thread each, and added in order: the bits do not depend on the number
    of threads, as long as each draws from a generator of its own. Nothing waits for a GPU.
    """

    def of(sub_batch: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        value = loss(sub_batch)
        return value.detach(), torch.autograd.grad(value, parameters)

    total, summed = (
        torch.zeros((), dtype=torch.float64, device=parameters[0].device),
        [torch.zeros_like(p) for p in parameters],
    )
    each = map(of, sub_batches) if device.on_gpu() else side_by_side(of, sub_batches)
    for value, gradients in each:
        total = total + value
        torch._foreach_add_(summed, gradients)
    return total, summed


def assign(parameters: list[Tensor], gradients: list[Tensor]) -> None:
    """Leave each gradient at its parameter, where an optimizer looks for it."""
    for parameter, g in zip(parameters, gradients, strict=True):
        parameter.grad = g


def minimise(
    work: Resumable, model: nn.Module, optimizer: torch.optim.Optimizer,
    loss: Callable[[Tensor, torch.Generator], Tensor], n: int, batch: int, seed: int, n_steps: int,
    tell: Callable[[int], None],
) -> None:  # fmt: skip
    """Descend on `loss(rows, draws)` of batches of those of n public images that are not `held_out`; the optimizer's
    learning rate is its peak."""
    rows = torch.nonzero(~held_out(n))[:, 0]
    for step in steps(work, n_steps, {"model": model, "optimizer": optimizer}, {}, tell):
        optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * cosine(step, n_steps)
        draws = generator(seed, step)
        descend(optimizer, loss(rows[public_batch(len(rows), batch, draws)], draws))


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down `loss`."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def adam(
    work: Resumable, model: nn.Module, step_gradient: Callable[[int], None], n_steps: int, rate: Callable[[int], float],
    average: float, history: History, tell: Callable[[int], None],
) -> dict[str, Tensor]:  # fmt: skip
    """Adam on the gradients that `step_gradient(step)` leaves at the weights; the weights' moving average.

    Args:
        rate: learning rate of each step; average: rate of the moving average.
    """
    optimizer, averaged = torch.optim.Adam(model.parameters()), Average(model, average)
    trained = {"model": model, "optimizer": optimizer, "average": averaged}
    for step in steps(work, n_steps, trained, history, tell):
        optimizer.param_groups[0]["lr"] = rate(step)
        step_gradient(step)
        optimizer.step()
        averaged.update(model)
    return averaged.weights


def held_out(n: int) -> Tensor:
    """Every 20th of n public images, which measures what is trained on the others: (n,) bool."""
    return torch.arange(n) % 20 == 0


class Average:
    """Exponential moving average of weights, with DPDM's warm-up: decay min(rate, (1 + n) / (10 + n))."""

    def __init__(self, model: nn.Module, rate: float):
        self.rate, self.n = rate, 0
        self.weights = {name: w.detach().clone() for name, w in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = min(self.rate, (1 + self.n) / (10 + self.n))
        self.n += 1
        torch._foreach_lerp_(list(self.weights.values()), list(model.state_dict().values()), 1 - decay)

    def state_dict(self) -> dict:
        return {"n": self.n, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        self.n = state["n"]
        for name, weight in self.weights.items():
            weight.copy_(state["weights"][name])


def generator(seed: int, step: int) -> torch.Generator:
    """Public randomness of one step."""
    return torch.Generator().manual_seed(seed_of(seed, str(step)))


def public_batch(n: int, size: int, draws: torch.Generator) -> torch.Tensor:
    """`size` indices below n, with replacement: (size,) int64."""
    return torch.randint(n, (size,), generator=draws)


def cosine(step: int, n_steps: int) -> float:
    """Learning-rate factor: linear warm-up over a share WARMUP of the steps, then half a cosine to zero.

    >>> [round(cosine(step, 100), 3) for step in (0, 4, 50, 99)]
    [0.2, 1.0, 0.525, 0.0]
    """
    position = (step + 1) / n_steps
    if position < WARMUP:
        return position / WARMUP
    return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * (position - WARMUP) / (1 - WARMUP)))))
