"""A network under watch: one backward gives every record's gradient of every trainable weight."""

import threading
from collections.abc import Callable, Container, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from dpsynth.privacy.engine.clip import Ghost, Materialised, Part, clip
from dpsynth.privacy.engine.layers import RULES, rule_of
from dpsynth.privacy.engine.norm import GroupNormSwish

# A layer's gradients stay ghosts where squared positions, times this, are at most the weight's size: measured
# with `make bench`. A rule on shapes and not a measurement of each run, so that two runs have the same bits.
GHOST_IF_BELOW = {torch.float32: 24, torch.bfloat16: 256}


class _MicroBatch(threading.local):
    """Of this thread: `records` in it, their `parts`, the `rows` that each layer saw, `leaves` of its own forward."""

    records, parts = 0, None

    def __init__(self):
        self.rows, self.leaves = {}, {}


class Watched:
    """A model whose per-record gradients can be taken; shares the model's parameters, and computes its forward.

    While it exists, the model's parameters receive no plain gradients: `close` gives them back.

    Raises:
        ValueError: a layer with trainable weights whose per-record gradient is not proved exact, by name.
    """

    def __init__(self, model: nn.Module):
        check(model)
        self.model, self.parameters = model, [p for p in model.parameters() if p.requires_grad]
        self.index = {id(p): i for i, p in enumerate(self.parameters)}
        self.trained = {id(layer): layer for layer in model.modules() if any(_trainable(layer))}
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def __call__(self, *inputs: Tensor) -> Tensor:
        return self.model(*inputs)

    def close(self) -> None:
        """Parameters receive plain gradients again."""
        for parameter in self.parameters:
            parameter.requires_grad_(True)

    def gradients(self, losses: Callable[[], Tensor], records: int) -> list[Tensor]:
        """Gradient of each record's summed losses: one (records, *shape) tensor a parameter.

        Args:
            losses: () -> (records * views,), record by record; runs the forward.
        Raises:
            ValueError: a layer saw another number of rows than there are losses, so that rows cannot be told apart.
        """
        return [part.per_example() for part in self._parts(losses, records)]

    def clipped(self, losses: Callable[[], Tensor], records: int, count: int, max_grad_norm: float) -> list[Tensor]:
        """Sum over the first `count` of `records` of their gradients, each clipped: one float64 tensor a parameter.

        Args and Raises as of `gradients`.
        """
        return clip([part.select(slice(count)) for part in self._parts(losses, records)], max_grad_norm)

    def whole(self, parts: list[Part | None], records: int) -> list[Part]:
        """`parts`, with zeros for those of layers that this forward skipped."""
        pairs = zip(parts, self.parameters, strict=True)
        return [part or Materialised([torch.zeros(records, *p.shape, device=p.device)]) for part, p in pairs]

    def _parts(self, losses: Callable[[], Tensor], records: int) -> list[Part]:
        """One a parameter, of these records."""
        raise NotImplementedError


class PerExample(Watched):
    """By hooks, each of which keeps a layer's input and sees the gradient at its output; for a thread a micro-batch."""

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self._names = {id(layer): name for name, layer in model.named_modules()}
        trained = self.trained.values()
        self._hooks = [layer.register_forward_hook(self._keep) for layer in trained if type(layer) in RULES]
        self._norms = [layer for layer in trained if type(layer) is GroupNormSwish]
        for layer in self._norms:
            layer.rows = partial(self._rows, layer)
        self._now = _MicroBatch()

    def close(self) -> None:
        """Remove the hooks; parameters receive plain gradients again."""
        for hook in self._hooks:
            hook.remove()
        for layer in self._norms:
            layer.__dict__.pop("rows", None)
        super().close()

    def _parts(self, losses: Callable[[], Tensor], records: int) -> list[Part]:
        self._now.records, self._now.parts = records, [None] * len(self.parameters)
        self._now.rows, self._now.leaves = {}, {}
        with torch.enable_grad():
            values = losses()
            for key, seen in self._now.rows.items():
                check_rows(self._names[key], seen, len(values))
            total = values.sum()
            check_reach(total, self._now.leaves)
            torch.autograd.backward(total, inputs=list(self._now.leaves.values()))  # and no other leaf
        parts, self._now.parts, self._now.leaves = self._now.parts, None, {}
        return self.whole(parts, records)

    def _saw(self, layer: nn.Module, rows: int) -> None:
        if self._now.parts is None:
            raise ValueError(f"{self._names[id(layer)]} is of another watched network, which this loss may not reach")
        self._now.rows.setdefault(id(layer), set()).add(rows)

    def _keep(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not torch.is_grad_enabled():
            return
        self._saw(layer, len(output))
        if not output.requires_grad:
            self._now.leaves[id(output)] = output.requires_grad_()  # nothing before this layer needs a gradient
        kept = inputs[0].detach()
        output.register_hook(lambda g: self._take(layer, kept, g.detach()))

    @torch.no_grad()
    def _take(self, layer: nn.Module, a: Tensor, g: Tensor) -> None:
        for parameter, part in parts_of(layer, a, g, self._now.records, self.index):
            self._add(parameter, part)

    def _rows(self, layer: GroupNormSwish, n: int) -> tuple[Tensor, Tensor]:
        rows = []
        if torch.is_grad_enabled():
            self._saw(layer, n)
        for parameter in (layer.weight, layer.bias):
            row = parameter.detach().expand(n, -1)
            if torch.is_grad_enabled() and id(parameter) in self.index:
                self._now.leaves[id(row)] = row
                row.requires_grad_().register_hook(partial(self._take_rows, parameter))
            rows.append(row)
        return tuple(rows)

    @torch.no_grad()
    def _take_rows(self, parameter: Tensor, g: Tensor) -> None:
        self._add(parameter, row_part(g, self._now.records))

    def _add(self, parameter: Tensor, part: Part) -> None:
        place = self.index[id(parameter)]
        before = self._now.parts[place]
        self._now.parts[place] = part if before is None else before + part


def leaves(total: Tensor) -> Iterator[Tensor]:
    """The tensors at which a `backward` from `total` would accumulate a gradient."""
    seen, waiting = set(), [total.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting += [before for before, _ in node.next_functions]


def check(model: nn.Module) -> None:
    """Refuse, by name, any layer whose per-record gradient is not proved exact, or that couples records.

    Raises:
        ValueError: names the layers.
    """
    bad = [f"{name} ({type(layer).__name__})" for name, layer in model.named_modules() if not _exact(layer)]
    if bad:
        known = ", ".join(layer.__name__ for layer in (*RULES, GroupNormSwish))
        raise ValueError(
            f"no exact per-record gradient for {', '.join(bad)}; there is one for {known}, with zero padding, "
            "without groups or dilation"
        )


def check_rows(name: str, seen: set[int], rows: int) -> None:
    """Refuse a network in which a layer saw more or fewer rows than there are losses."""
    if seen != {rows}:
        raise ValueError(f"{name} worked on {sorted(seen)} rows, where the loss has {rows}: whose are they?")


def check_reach(total: Tensor, own: Container[int]) -> None:
    """Refuse a loss that reaches other weights: `backward` would leave their exact gradients behind."""
    for leaf in leaves(total):
        if id(leaf) not in own:
            raise ValueError(
                f"the loss reaches a tensor of shape {tuple(leaf.shape)} that is not of the wrapped network and "
                "requires a gradient, which would be exact: detach it, or call requires_grad_(False)"
            )


def parts_of(
    layer: nn.Module, a: Tensor, g: Tensor, records: int, index: Container[int]
) -> Iterator[tuple[Tensor, Part]]:
    """Of those of a layer's weights that are in `index`: the weight, and its part, from input and output's gradient."""
    if id(layer.weight) in index:
        yield layer.weight, _weight_part(layer, a, g, records)
    if id(getattr(layer, "bias", None)) in index:
        yield layer.bias, Materialised([rule_of(layer).bias(layer, g, records)])


def row_part(g: Tensor, records: int) -> Part:
    """Of a norm's weight or bias, from the gradient of its rows, one a view."""
    return Materialised([g.view(records, -1, g.shape[1]).sum(1)])


def _weight_part(layer: nn.Module, a: Tensor, g: Tensor, records: int) -> Part:
    rule = rule_of(layer)
    positions = rule.products.positions(layer, g, records) if rule.products else None
    price = GHOST_IF_BELOW.get(g.dtype, GHOST_IF_BELOW[torch.float32])
    if positions is None or price * positions**2 > layer.weight.numel():
        return Materialised(rule.weight(layer, a, g, records), rule, layer)
    wide = torch.promote_types(g.dtype, torch.float32)
    return Ghost(*(t.to(g.dtype).to(wide).unflatten(0, (records, -1)) for t in (a, g)), rule, layer)


def _trainable(layer: nn.Module) -> Iterator[bool]:
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
    if isinstance(layer, nn.LayerNorm):
        return type(layer) is nn.LayerNorm and len(layer.normalized_shape) == 1
    return type(layer) in RULES or type(layer) is GroupNormSwish
