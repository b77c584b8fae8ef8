"""Artifacts, lineage and resume: equal work is done once, and an artifact appears whole or not at all.

`build(kind, function, params, **upstream)` names an artifact by a digest of three things: the settings that `function`
asks for (its keyword-only arguments), the digests of its upstream artifacts, and the code that makes it (`sources`:
a mended bug does not keep old artifacts, and a comment does not cost a night).
"""

import contextlib
import dataclasses
import errno
import fcntl
import functools
import hashlib
import importlib.metadata
import inspect
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dpsynth.checkpoints import Work, refuse_infinite
from dpsynth.mistakes import naming
from dpsynth.privacy.disk import forget_times, sync
from dpsynth.project import placed, root
from dpsynth.seeds import seed_of as seed_of
from dpsynth.sources import code_digest

FORMAT = 1  # of the artifact folder; an artifact of another format is refused, not guessed at
DISTRIBUTION = "dpsynth-images"
VERSIONS = ("torch", "torchvision", "opacus", "dp-accounting", "scikit-learn", "torch-fidelity")
NOT_WHOLE = (
    OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError, SafetensorError,
)  # fmt: skip
RESTORE = "restore it from a copy; if no private records were asked for it, that folder may be deleted and made again"


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a stage yields. Tensor fields (and dicts of tensors) go to tensors.safetensors, the rest to meta.json."""

    artifact: "Artifact | None" = dataclasses.field(default=None, repr=False, compare=False, kw_only=True)


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A finished folder: `path`, its full hex `digest`, and what meta.json says."""

    path: Path
    digest: str
    meta: dict[str, Any]

    @property
    def lineage(self) -> tuple[str, ...]:
        """Digests of this artifact and all its ancestors, ancestors first, each once."""
        return (*self.meta["lineage"], self.digest)


def build(kind: str, function: Callable, params, *, timed: bool | None = None, **upstream: Stored | Any) -> Any:
    """Load the artifact that `function(work, **upstream, **settings)` makes, making it first if need be.

    Args:
        kind: prefix of the folder's name.
        function: its return annotation is the dataclass to load; its keyword-only arguments are looked up in `params`.
        params: mapping-like; offers `name in params` and `params[name]`.
        timed: record seconds and peak memory; by default unless `params` is of a user's own records: they tell of them.
        upstream: passed on; those with an artifact enter the lineage, those without must be None or have `identity`.
    Raises:
        ValueError: the folder holds an artifact of another format, one that is not whole, or one that was edited; what
            `function` made is not finite.
    """
    settings = settings_of(function, params)
    digest = digest_of(kind, function, settings, upstream)
    path = folder(kind, digest)
    if timed is None:  # the peak is the process's, which may have opened the records for another artifact
        timed = getattr(getattr(params, "constants", None), "builtin", True)
    lineage = lineage_of(upstream)
    with _locked(path):
        if not path.exists():
            work = Work(kind, digest, path.with_name(f"{path.name}.partial"), lineage)
            _make(function, settings, upstream, work, path, timed)
    return verified(path, function, digest, lineage)


def verified(path: Path, function: Callable, digest: str, lineage: tuple[str, ...]) -> Any:
    """`load` of what `function` makes, with the digest and the ancestors that its inputs give it.

    Raises:
        ValueError: it has others; and as `load`.
    """
    made = load(path, inspect.signature(function).return_annotation)
    if (made.artifact.digest, tuple(made.artifact.meta["lineage"])) != (digest, lineage):
        raise ValueError(f"{path}/meta.json was edited: it names another artifact, or other ancestors; {RESTORE}")
    return made


def settings_of(function: Callable, params) -> dict[str, Any]:
    """The keyword-only arguments of `function`, from `params` where it has them, else their defaults."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            found[name] = params[name] if name in params else parameter.default  # noqa: SIM401 - Params has no `get`
            if found[name] is parameter.empty:
                raise ValueError(f"{function.__name__} needs the setting {name!r}, which {params} does not have")
    return found


def named(function: Callable, available: dict[str, Any]) -> dict[str, Any]:
    """Those of the `available` inputs that are arguments of `function`."""
    return {name: available[name] for name in inspect.signature(function).parameters if name in available}


def digest_of(kind: str, function: Callable, settings: dict, upstream: dict) -> str:
    """SHA-256 over what the artifact depends on."""
    identities = {name: _identity(value) for name, value in upstream.items()}
    settings = {name: placed(value) for name, value in settings.items()}
    parts = [FORMAT, kind, function.__qualname__, settings, identities, code_digest(function.__module__)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def folder(kind: str, digest: str) -> Path:
    """Where the artifact stands once it is whole."""
    return root() / "build" / "artifacts" / f"{kind}-{digest[:16]}"


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
        fields = {**meta["fields"], **_tensors(path / "tensors.safetensors")}
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


def lineage_of(upstream: dict[str, Any]) -> tuple[str, ...]:
    """Digests of all that stands behind the inputs `upstream`, ancestors first, each once."""
    return tuple(dict.fromkeys(digest for value in upstream.values() for digest in _lineage(value)))


def _identity(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, Stored):
        return value.artifact.digest
    return value.identity


def _lineage(value: Any) -> tuple[str, ...]:
    """Digests of what stands behind an input: an artifact's, or those that it names itself."""
    if isinstance(value, Stored):
        return value.artifact.lineage if value.artifact else ()
    return getattr(value, "lineage", ())


def _make(function: Callable, settings: dict, upstream: dict, work: Work, path: Path, timed: bool) -> None:
    work.path.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    tensors, fields = _split(function(work, **upstream, **settings))
    refuse_infinite(work.kind, tensors)
    with naming(work.path / "tensors.safetensors"):
        save_file(tensors, work.path / "tensors.safetensors")
    cost = {"seconds": round(time.perf_counter() - start, 2), "peak_MiB": peak_mib()} if timed else {}
    meta = {
        "format": FORMAT, "kind": work.kind, "digest": work.digest, "lineage": work.lineage, "settings": settings,
        "upstream": {name: _identity(upstream[name]) for name in upstream}, "fields": fields, **cost,
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        "commit": commit(), "device": "cpu", "threads": torch.get_num_threads(),
    }  # fmt: skip
    with naming(work.path / "meta.json"):
        (work.path / "meta.json").write_text(json.dumps(meta, indent=1, default=str), encoding="utf-8")
    work.forget()
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
            tensors[field.name] = content.contiguous()
        elif isinstance(content, dict) and content and all(isinstance(v, torch.Tensor) for v in content.values()):
            tensors |= {f"{field.name}/{name}": tensor.contiguous() for name, tensor in content.items()}
        elif field.name != "artifact":
            fields[field.name] = content
    return tensors, fields


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One maker at a time; a second process waits. The lock dies with its process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(path)
    with open(lock, "ab") as handle:  # which does not touch its time
        with naming(lock):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def peak_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


@functools.cache
def commit() -> str:
    """The commit of the checkout that this package is part of, with a plus sign if it was edited; else its version.

    A package that is installed, in whatever repository, is no part of a checkout. "unknown" if it was only copied.
    """
    package = Path(__file__).resolve().parent
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        if Path(_git(package, "rev-parse", "--show-toplevel")).resolve() == package.parent:
            edited = _git(package, "status", "--porcelain", "-uno")
            return _git(package, "rev-parse", "--short=12", "HEAD") + ("+" if edited else "")
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(DISTRIBUTION)
    return "unknown"


def _git(folder: Path, *command: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # as a hook would set
    said = subprocess.run(["git", "-C", folder, *command], capture_output=True, check=True, env=own)
    return os.fsdecode(said.stdout).strip()
