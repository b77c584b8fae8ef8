"""Per-record gradients on a GPU: without hooks, so that one compiler sees forward and backward as plain functions.

Each trainable layer of a twin, which shares the model's weights, adds a *carrier* to its output: zeros that are never
stored, whose gradient is the gradient at that output. What the layer saw comes out beside the loss. The rules of
`layers` make each record's gradient of the two, as they do on the CPU.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dpsynth.privacy.engine.clip import Part, clip, clip_at_once
from dpsynth.privacy.engine.layers import RULES
from dpsynth.privacy.engine.model import Watched, check_reach, check_rows, parts_of, row_part
from dpsynth.privacy.engine.norm import GroupNormSwish

KEPT = 4  # shapes of a step whose carriers are kept: a GAN's two losses, and their last micro-batches


class Call(NamedTuple):
    """One use of a layer: which, the shape and type of its output, and the parameter whose rows it is of a norm."""

    layer: nn.Module
    shape: torch.Size
    dtype: torch.dtype
    parameter: Tensor | None


class Tape:
    """What a forward's layers saw, in order, and the carriers that they add to their outputs.

    Args:
        carriers: one for each use of a layer; None to make them, which notes each use in `calls`.
    """

    def __init__(self, carriers: list[Tensor] | None = None):
        self.making, self.carriers = carriers is None, [] if carriers is None else carriers
        self.inputs: list[Tensor] = []
        self.calls: list[Call] = []

    def carried(self, y: Tensor, a: Tensor, layer: nn.Module, parameter: Tensor | None = None) -> Tensor:
        """`y` with its carrier; `a` is what the layer saw."""
        if self.making:
            self.calls.append(Call(layer, y.shape, y.dtype, parameter))
            self.carriers.append(zeros(y.shape, y.dtype, y.device))
        self.inputs.append(a.detach())
        return y + self.carriers[len(self.inputs) - 1]


class Taped(nn.Module):
    """A layer of a twin, before the class of the layer that it is."""

    tape: Tape | None = None

    def forward(self, a: Tensor) -> Tensor:
        return _tape_of(self).carried(super().forward(a), a, self)


class TapedNorm(GroupNormSwish):
    """A group norm of a twin: the rows of its weights carry, not its output."""

    tape: Tape | None = None

    def rows(self, n: int) -> tuple[Tensor, Tensor]:
        rows = zip(super().rows(n), (self.weight, self.bias), strict=True)
        return tuple(_tape_of(self).carried(row, row, self, parameter) for row, parameter in rows)


def _tape_of(layer: nn.Module) -> Tape:
    if layer.tape is None:
        raise ValueError("a layer is of another watched network, which this loss may not reach")
    return layer.tape


TAPED = {kind: type(f"Taped{kind.__name__}", (Taped, kind), {}) for kind in RULES} | {GroupNormSwish: TapedNorm}


class Carried(Watched):
    """As `PerExample`, by carriers: for one thread.

    Args:
        compiler: of the forward and backward of a step, as of torch.compile; None to run them as they are.
    """

    def __init__(self, model: nn.Module, compiler: str | None = "inductor"):
        super().__init__(model)
        self._twin = copy.deepcopy(model, {id(t): t for t in (*model.parameters(), *model.buffers())})
        named = zip(self._twin.modules(), model.modules(), strict=True)
        self._layers = [layer for layer, of in named if id(of) in self.trained and type(of) in TAPED]
        for layer in self._layers:
            layer.__class__ = TAPED[type(layer)]
        self._forward = self._run
        if compiler:
            self._forward = torch.compile(self._run, fullgraph=True, dynamic=False, backend=compiler)
        self._known: dict[tuple, tuple[list[Call], list[Tensor]]] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        return self._twin(*inputs)

    def clipped_rows(
        self, losses: Callable, inputs: tuple[Tensor, ...], records: int, count: int, max_grad_norm: float
    ) -> tuple[list[Tensor], Tensor]:
        """Compiled: the sum over the first `count` of `records` of their clipped gradients, without waiting for the
        device.

        Args:
            losses: `losses(*inputs)`, as of `clipped`; the same object each time, as it is compiled once.
            inputs: tensors of the same shapes each time.
        Returns:
            One float64 tensor a parameter, and whether all gradients were finite: if not, `clipped_again` is to be
            asked.
        """
        return clip_at_once(self._compiled(losses, inputs, records), count, max_grad_norm)

    def clipped_again(
        self, losses: Callable, inputs: tuple[Tensor, ...], records: int, count: int, max_grad_norm: float
    ) -> list[Tensor]:
        """The sum of those that are finite, by selection. Of the same compiled functions: what others than the records
        that are left out add is computed no other way than without them."""
        return clip([part.select(slice(count)) for part in self._compiled(losses, inputs, records)], max_grad_norm)

    def _compiled(self, losses: Callable, inputs: tuple[Tensor, ...], records: int) -> list[Part]:
        calls, carriers = self._uses(losses, inputs, records)
        with torch.enable_grad():
            total, seen = self._forward(losses, inputs, carriers)
        gradients = torch.autograd.grad(total, carriers, allow_unused=True)
        with torch.no_grad():
            return self._joined(calls, seen, gradients, records)

    def _uses(self, losses: Callable, inputs: tuple[Tensor, ...], records: int) -> tuple[list[Call], list[Tensor]]:
        """The uses of layers in this forward, from one that is not compiled and is checked."""
        key = (losses, records, *(t.shape for t in inputs))
        if key not in self._known:
            while len(self._known) >= KEPT:
                self._known.pop(next(iter(self._known)))
            _, tape = self._checked(lambda: losses(*inputs))
            self._known[key] = tape.calls, [zeros(c.shape, c.dtype, inputs[0].device) for c in tape.calls]
        return self._known[key]

    def _run(self, losses: Callable, inputs: tuple[Tensor, ...], carriers: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        self._watch(tape := Tape(carriers))
        total = losses(*inputs).sum()
        self._watch(None)
        return total, tape.inputs

    def _watch(self, tape: Tape | None) -> None:
        """Let each layer write to `tape`; or, with None, to none, as a tape holds what a whole micro-batch was."""
        for layer in self._layers:
            layer.tape = tape

    def _checked(self, losses: Callable[[], Tensor]) -> tuple[Tensor, Tape]:
        """The summed losses, and the tape of their forward."""
        self._watch(tape := Tape())
        with torch.enable_grad():
            values = losses()
            self._watch(None)
            names = {id(layer): name for name, layer in self._twin.named_modules()}
            for call in tape.calls:
                check_rows(names[id(call.layer)], {call.shape[0]}, len(values))
            total = values.sum()
        if not tape.carriers:
            raise ValueError("the loss does not run the watched network: it has no gradient of anybody's")
        check_reach(total, {id(carrier) for carrier in tape.carriers})
        return total, tape

    def _parts(self, losses: Callable[[], Tensor], records: int) -> list[Part]:
        total, tape = self._checked(losses)
        gradients = torch.autograd.grad(total, tape.carriers, allow_unused=True)
        with torch.no_grad():
            return self._joined(tape.calls, tape.inputs, gradients, records)

    def _joined(self, calls: list[Call], seen: list[Tensor], gradients: tuple, records: int) -> list[Part]:
        parts: list[Part | None] = [None] * len(self.parameters)
        for call, a, g in zip(calls, seen, gradients, strict=True):
            if g is None:  # of a layer whose output the loss did not use
                continue
            if call.parameter is None:
                of = parts_of(call.layer, a, g, records, self.index)
            else:
                of = [(call.parameter, row_part(g, records))]
            for parameter, part in of:
                if (place := self.index.get(id(parameter))) is not None:
                    parts[place] = part if parts[place] is None else parts[place] + part
        return self.whole(parts, records)


def zeros(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A leaf of zeros that takes the room of one."""
    return torch.zeros((), dtype=dtype, device=device).expand(shape).detach().requires_grad_()
