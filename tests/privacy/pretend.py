"""A GPU that is pretended: computed by the processor, with the rules of a GPU.

What `device.put` and `device.placed` give is marked, and so is what is computed from it. Operations on marked and
unmarked tensors together are refused as torch refuses two devices, and so is numpy on marked ones; `is_cuda` and
`device` answer as on a GPU. So every stage can be rehearsed where there is none.
"""

import contextlib

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten

from dpsynth import device
from dpsynth.privacy import engine

ACROSS = ("copy_", "_to_copy")  # what may take from the one and give to the other


THERE = torch.device("cuda", 0)
_marked: dict[int, StorageWeakRef] = {}


def is_marked(tensor):
    """Whether it lies on the pretended device."""
    mine = _marked.get(_place(tensor))
    return mine is not None and not mine.expired()


def mark(tensor, there=True):
    """Say that its storage lies there, or here."""
    _marked.pop(_place(tensor), None)
    if there and not tensor.is_meta:
        _marked[_place(tensor)] = StorageWeakRef(tensor.untyped_storage())
    return tensor


def _place(tensor):
    return tensor.untyped_storage()._cdata


class Devices(TorchDispatchMode):
    """Refuses an operation on both, and marks what comes of marked tensors."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
        name = function._schema.name.removeprefix("aten::")
        there = any(map(is_marked, given))
        if name in ("index", "index_put_", "_index_put_impl_", "index_put", "_unsafe_index"):
            there = is_marked(args[0])
            mixed = not there and any(map(is_marked, given))
        else:
            mixed = there and any(not is_marked(t) and t.ndim for t in given)
        if mixed and name not in ACROSS:
            raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found two")
        results = function(*args, **(kwargs or {}))
        if name != "copy_":
            for t in tree_flatten(results)[0]:
                if isinstance(t, torch.Tensor) and t.layout == torch.strided:
                    mark(t, there)
        return results


class Answers(TorchFunctionMode):
    """Answers of tensors about themselves, and of factories."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if name == "__get__" and args and isinstance(args[0], torch.Tensor):
            if args[0].is_meta:
                return function(*args, **kwargs)
            if function == torch.Tensor.is_cuda.__get__:
                return is_marked(args[0])
            if function == torch.Tensor.device.__get__ and is_marked(args[0]):
                return THERE
        if name in ("numpy", "__array__") and is_marked(args[0]):
            raise TypeError("can't convert a tensor on a GPU to numpy")
        if name == "pin_memory":
            return args[0]
        if name == "mm" and kwargs.pop("out_dtype", None):
            return function(*(t.float() for t in args))
        if name == "to" and any(isinstance(a, torch.device) and a != THERE for a in args) and is_marked(args[0]):
            return mark(args[0].clone(), False)
        if name == "one_hot" and is_marked(args[0]):  # which makes zeros of its own, unseen
            with _disable_current_modes():
                return mark(function(*args, **kwargs))
        asked = kwargs.pop("device", None)
        if any(isinstance(a, torch.device) and a == THERE for a in args):  # tensor.to(device)
            asked, args = THERE, tuple(a for a in args if not isinstance(a, torch.device))
            kwargs.pop("non_blocking", None)
            if name == "to" and len(args) == 1 and not kwargs:
                return args[0] if is_marked(args[0]) else mark(args[0].clone())
        if asked == THERE:
            return mark(function(*args, **kwargs))
        if asked is not None:
            kwargs["device"] = asked
        return function(*args, **kwargs)


@contextlib.contextmanager
def gpu(monkeypatch):
    """Networks compute on a pretended GPU, in a few rows at once."""
    monkeypatch.setattr(device, "kind", lambda: "cuda")
    monkeypatch.setattr(device, "precision", lambda: torch.float32)
    monkeypatch.setattr(device, "at_once", lambda rows: rows)
    monkeypatch.setattr(device, "finish", lambda: None)
    monkeypatch.setattr(device, "card", lambda: "a pretended card")
    monkeypatch.setattr(device, "memory_bytes", lambda: 2**34)
    monkeypatch.setattr(device, "compiled", lambda function: function)
    monkeypatch.setattr(device, "put", lambda t: t if is_marked(t) else mark(t.clone()))
    monkeypatch.setattr(device, "host", lambda t: mark(t.clone(), False) if is_marked(t) else t)

    def placed(network):
        for t in (*network.parameters(), *network.buffers()):
            if not t.is_meta:
                t.data = mark(t.data.clone())
        return network

    monkeypatch.setattr(device, "placed", placed)
    monkeypatch.setattr(engine.carriers.torch, "compile", lambda function, **how: function)
    from_numpy = torch.from_numpy
    monkeypatch.setattr(torch, "from_numpy", lambda array: mark(from_numpy(array), False))
    _marked.clear()
    with Devices(), Answers():
        yield
