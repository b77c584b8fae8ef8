"""Artifacts, lineage and resume: equal work is done once, and an artifact appears whole or not at all.

`build(kind, function, params, **upstream)` names an artifact by a digest of three things: the settings that `function`
asks for (its keyword-only arguments), the digests of its upstream artifacts, and the code that makes it (the syntax
trees
of its module and of every dpsynth module that one imports, without docstrings: a mended bug does not keep old
artifacts, and a comment does not cost a night).
"""

import ast
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import importlib.metadata
import importlib.util
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
from safetensors import safe_open
from safetensors.torch import save_file

FORMAT = 1  # of the artifact folder; an artifact of another format is refused, not guessed at
VERSIONS = ("torch", "torchvision", "opacus", "dp-accounting", "scikit-learn", "torch-fidelity")


def root() -> Path:
    """Where build/, cache/ and ledger/ live: $DPSYNTH_ROOT, else the working directory."""
    return Path(os.environ.get("DPSYNTH_ROOT", "."))


def seed_of(seed: int, *names: str) -> int:
    """A seed for public randomness, named after what it is for; 32 bits, as torch's CPU generator keeps no more."""
    return int.from_bytes(hashlib.sha256(repr((seed, *names)).encode()).digest()[:4], "big")


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


@dataclasses.dataclass(frozen=True)
class Work:
    """An artifact in the making: a folder aside, that survives a kill, with at most one checkpoint."""

    kind: str
    digest: str
    path: Path
    lineage: tuple[str, ...]

    def save(self, **state: Any) -> None:
        """Replace the checkpoint by `state` (tensors, numbers, lists, dicts), atomically."""
        aside = self.path / "checkpoint.tmp"
        torch.save({"of": self.digest, **state}, aside)
        os.replace(aside, self.path / "checkpoint.pt")

    def resume(self) -> dict[str, Any] | None:
        """The state last saved, or None.

        Raises:
            ValueError: it was saved by work with other settings, inputs or code.
        """
        path = self.path / "checkpoint.pt"
        if not path.exists():
            return None
        state = torch.load(path, weights_only=True)
        if state.pop("of", None) != self.digest:
            raise ValueError(f"{path} was saved by another run than {self.kind}-{self.digest[:16]}; delete that folder")
        return state


def build(kind: str, function: Callable, params, *, timed: bool | None = None, **upstream: Stored | Any) -> Any:
    """Load the artifact that `function(work, **upstream, **settings)` makes, making it first if need be.

    Args:
        kind: prefix of the folder's name.
        function: its return annotation is the dataclass to load; its keyword-only arguments are looked up in `params`.
        params: mapping-like; offers `name in params` and `params[name]`.
        timed: record seconds and peak memory; by default unless `params` is of a user's own records: they tell of them.
        upstream: passed on; those with an artifact enter the lineage, those without must be None or have `identity`.
    Raises:
        ValueError: the folder holds an artifact of another format.
    """
    settings = settings_of(function, params)
    digest = digest_of(kind, function, settings, upstream)
    path = folder(kind, digest)
    if timed is None:  # the peak is the process's, which may have opened the records for another artifact
        timed = getattr(getattr(params, "constants", None), "builtin", True)
    with _locked(path):
        if not path.exists():
            _make(kind, function, settings, upstream, digest, path, timed)
    return load(path, inspect.signature(function).return_annotation)


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
    parts = [FORMAT, kind, function.__qualname__, settings, identities, code_digest(function.__module__)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def folder(kind: str, digest: str) -> Path:
    """Where the artifact stands once it is whole."""
    return root() / "build" / "artifacts" / f"{kind}-{digest[:16]}"


def load(path: Path, cls: type) -> Any:
    """Read a finished artifact as an instance of the dataclass `cls`."""
    try:
        meta = json.loads((path / "meta.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a whole artifact ({error}); delete that folder and run again") from None
    if meta.get("format") != FORMAT:
        raise ValueError(
            f"{path} was written in artifact format {meta.get('format')}, this version reads {FORMAT}; "
            "delete that folder and run again"
        )
    fields: dict[str, Any] = dict(meta["fields"])
    with safe_open(path / "tensors.safetensors", "pt") as tensors:
        for key in tensors.keys():  # noqa: SIM118 - no mapping, it has no iterator
            field, _, name = key.partition("/")
            if name:
                fields.setdefault(field, {})[name] = tensors.get_tensor(key)
            else:
                fields[field] = tensors.get_tensor(key)
    return cls(**fields, artifact=Artifact(path, meta["digest"], meta))


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


def _make(kind, function, settings, upstream, digest, path, timed) -> None:
    lineage = lineage_of(upstream)
    aside = path.with_name(path.name + ".partial")
    aside.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    value = function(Work(kind, digest, aside, lineage), **upstream, **settings)
    tensors, fields = _split(value)
    save_file(tensors, aside / "tensors.safetensors")
    cost = {"seconds": round(time.perf_counter() - start, 2), "peak_MiB": peak_mib()} if timed else {}
    meta = {
        "format": FORMAT, "kind": kind, "digest": digest, "lineage": lineage, "settings": settings,
        "upstream": {name: _identity(upstream[name]) for name in upstream}, "fields": fields, **cost,
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        "commit": commit(), "device": "cpu", "threads": torch.get_num_threads(),
    }  # fmt: skip
    (aside / "meta.json").write_text(json.dumps(meta, indent=1, default=str))
    (aside / "checkpoint.pt").unlink(missing_ok=True)
    for file in aside.iterdir():
        _sync(file)
    os.replace(aside, path)
    _sync(path.parent)


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One maker at a time; a second process waits. The lock dies with its process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def peak_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


@functools.cache
def commit() -> str:
    """The commit of the working tree, with a plus sign if it was edited; "unknown" outside git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        name = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        edited = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip() + ("+" if edited.stdout.strip() else "")


@functools.cache
def code_digest(module: str) -> str:
    """SHA-256 of the syntax trees, without docstrings, of `module` and every dpsynth module it imports."""
    seen: dict[str, str] = {}
    _visit(module, seen)
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def _visit(module: str, seen: dict[str, str]) -> None:
    if module in seen:
        return
    spec = importlib.util.find_spec(module)
    tree = ast.parse(Path(spec.origin).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    seen[module] = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    for name in _imports(tree, module.partition(".")[0]):
        _visit(name, seen)


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == package)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == package:
            yield node.module
            for (
                alias
            ) in node.names:  # "from dpsynth import store" names a module, "from dpsynth.store import root" none
                with contextlib.suppress(ModuleNotFoundError):
                    if importlib.util.find_spec(f"{node.module}.{alias.name}"):
                        yield f"{node.module}.{alias.name}"
