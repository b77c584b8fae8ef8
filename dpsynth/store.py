"""Artifacts on disk: equal work is done once, and an artifact appears whole or not at all."""

import contextlib
import dataclasses
import errno
import hashlib
import inspect
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dpsynth import device, distributed, memory, provenance
from dpsynth.checkpoints import Work, refuse_infinite
from dpsynth.mistakes import RESUMES, naming
from dpsynth.privacy.disk import forget_times, locked, sync
from dpsynth.project import placed
from dpsynth.recipes import FORMAT, Artifact, Recipe, Stored, identity_of

NOT_WHOLE = (
    OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError, SafetensorError,
)  # fmt: skip
RESTORE = "restore it from a copy; if no private records were asked for it, that folder may be deleted and made again"


def build(recipe: Recipe, *, timed: bool = True) -> Any:
    """Load the artifact of that recipe, making it first if need be.

    Of several processes rank 0 makes it; the others take part in work that is `joined`, and wait until it stands.

    Args:
        timed: record seconds and peak memory, which must not be told of a user's own records.
    Raises:
        ValueError: the folder holds an artifact of another format, one that is not whole, or one that was edited; what
            was made is not finite; another machine's is gone; another process has other code, settings or inputs.
    """
    if distributed.rank() == 0:
        with _locked(recipe.path):
            if not recipe.path.exists():
                _make(recipe, timed)
            else:
                distributed.from_rank_0((recipe.identity, ""))
        if recipe.machine != device.machine():
            made = f"{recipe.path.name} was made on another machine ({recipe.machine})"
            sys.stderr.write(f"{made} and is used as it is\n")
    else:
        _help(recipe)
    distributed.barrier()
    return verified(recipe)


def verified(recipe: Recipe) -> Any:
    """`load` of the artifact of that recipe, with the digest and the ancestors that its inputs give it.

    Says on stderr if its name lasts and other code made it, of whatever the records were asked through.

    Raises:
        ValueError: it has others; and as `load`.
    """
    stored = load(recipe.path, inspect.signature(recipe.function).return_annotation)
    meta = recipe.path / "meta.json"
    if (stored.artifact.digest, tuple(stored.artifact.meta["lineage"])) != (recipe.identity, recipe.ancestors):
        raise ValueError(f"{meta} was edited: it names another artifact, or other ancestors; {RESTORE}")
    if recipe.lasts and recipe.inputs and stored.artifact.meta["code"] != recipe.code and not distributed.rank():
        sys.stderr.write(
            f"{recipe.path.name} was made by other code (commit {stored.artifact.meta['commit']}) and is used as it "
            "is: to ask private records again would be a further release\n"
        )
    return stored


def load(path: Path, cls: type) -> Any:
    """Read a finished artifact as an instance of the dataclass `cls`.

    Raises:
        ValueError: it is of another format, not whole, or not what its folder's name says. OSError: the machine failed.
    """
    try:
        meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
        if meta["format"] != FORMAT:
            raise ValueError(
                f"{path} was written in artifact format {meta['format']}, this version reads {FORMAT}; {RESTORE}"
            )
        if not path.name.endswith(f"-{meta['digest'][:16]}") or not all(isinstance(d, str) for d in meta["lineage"]):
            raise TypeError("meta.json is of another artifact")
        stored = {**meta["fields"], **_tensors(path / "tensors.safetensors")}
        known = {field.name for field in dataclasses.fields(cls)}  # an earlier version may have kept more
        fields = {name: value for name, value in stored.items() if name in known}
        return cls(**fields, artifact=Artifact(path, meta["digest"], meta))
    except NOT_WHOLE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
            raise  # of the machine: the artifact may be whole
        raise ValueError(f"{path} is not a whole artifact ({type(error).__name__}: {error}); {RESTORE}") from None


def _tensors(path: Path) -> dict[str, Any]:
    """Tensors by field, those of a dict by field and name."""
    fields: dict[str, Any] = {}
    with safe_open(path, "pt") as tensors:
        for key in tensors.keys():  # noqa: SIM118 - no mapping, it has no iterator
            field, _, name = key.partition("/")
            if name:
                fields.setdefault(field, {})[name] = tensors.get_tensor(key)
            else:
                fields[field] = tensors.get_tensor(key)
    return fields


def _made_of(recipe: Recipe) -> str:
    """SHA-256 over all that an answer follows from beside the records, as a name that lasts tells none of it: the code,
    the machine, torch, what the inputs hold, and of what lasts the card: cards of one kind may round otherwise."""
    facts: list[Any] = [recipe.made_by, torch.__version__, *([device.card()] if recipe.lasts else [])]
    for value in recipe.inputs.values():
        if isinstance(value, Stored):
            with open(value.artifact.path / "tensors.safetensors", "rb") as file:
                facts += [hashlib.file_digest(file, "sha256").hexdigest(), value.artifact.meta["fields"]]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _work(recipe: Recipe) -> Work:
    aside = recipe.path.with_name(f"{recipe.path.name}.partial")
    return Work(recipe.kind, recipe.identity, aside, recipe.ancestors, _made_of(recipe))


def _help(recipe: Recipe) -> None:
    """Take part in what rank 0 makes, if that is joined work: its result is the same, and rank 0 writes it."""
    identity, made_of = distributed.from_rank_0(None)
    if identity != recipe.identity or (made_of and made_of != _made_of(recipe)):
        raise ValueError(
            f"{recipe.path.name} is not what rank 0 makes now ({identity[:16]}), or has other inputs or code: give all "
            "processes one checkout, one DPSYNTH_ROOT and machines of one kind"
        )
    if made_of and recipe.function.joined:
        recipe.function(_work(recipe), **recipe.inputs, **recipe.settings)


def _make(recipe: Recipe, timed: bool) -> None:
    if recipe.machine != device.machine():
        raise ValueError(f"{recipe.path} was made on another machine ({recipe.machine}), and is gone; {RESUMES}")
    work = _work(recipe)
    work.path.mkdir(parents=True, exist_ok=True)
    distributed.from_rank_0((recipe.identity, work.made_by))
    memory.forget_peak()
    start = time.perf_counter()
    with contextlib.nullcontext() if recipe.function.joined else distributed.alone():
        tensors, fields = _split(recipe.function(work, **recipe.inputs, **recipe.settings))
    refuse_infinite(work.kind, tensors)
    with naming(work.path / "tensors.safetensors"):
        save_file(tensors, work.path / "tensors.safetensors")
    cost = {"seconds": round(time.perf_counter() - start, 2), "peak_MiB": memory.peak_mib()} if timed else {}
    meta = {
        "format": FORMAT, "kind": work.kind, "digest": work.digest, "lineage": work.lineage,
        "settings": {setting: placed(value) for setting, value in recipe.settings.items()},
        "upstream": {key: identity_of(value) for key, value in recipe.inputs.items()}, "fields": fields, **cost,
        "processes": distributed.world() if recipe.function.joined else 1,
        "code": recipe.code, "version": recipe.function.version, **provenance.facts(),
    }  # fmt: skip
    with naming(work.path / "meta.json"):
        (work.path / "meta.json").write_text(json.dumps(meta, indent=1, default=str), encoding="utf-8")
    work.forget()
    path = recipe.path
    if not timed:
        forget_times(*work.path.iterdir(), work.path, _lock(path))
    for file in work.path.iterdir():
        sync(file)
    os.replace(work.path, path)
    sync(path.parent)
    if not timed:
        forget_times(path.parent, path.parent.parent)


def _split(value: Stored) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors, fields = {}, {}
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if isinstance(content, torch.Tensor):
            tensors[field.name] = device.host(content).contiguous()
        elif isinstance(content, dict) and content and all(isinstance(v, torch.Tensor) for v in content.values()):
            tensors |= {f"{field.name}/{name}": device.host(tensor).contiguous() for name, tensor in content.items()}
        elif field.compare:  # what is not compared is of this process: the artifact's own place, an attached set
            fields[field.name] = content
    return tensors, fields


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One maker at a time; a second process waits. The lock dies with its process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(_lock(path)):
        yield
