"""What an artifact is made of, and how that names it: a recipe, before it is made.

Its name digests the work's settings, its inputs, the code that computes it (`sources`: a mended bug does not keep old
artifacts, and a comment does not cost a night), and the device kind and precision that decide its bits. What descends
from somebody's own records lasts: in place of code and machine its name holds the work's `version`, raised by hand, so
that no update of dpsynth asks their records again.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dpsynth import device
from dpsynth.project import placed, root
from dpsynth.sources import work_digest

FORMAT = 2  # of the artifact folder; an artifact of another format is refused, not guessed at


def work(function: Callable | None = None, *, version: int = 1, joined: bool = False) -> Callable:
    """Marks what makes an artifact: `function(work, inputs..., *, settings...)`, whose return annotation is its type.

    Its arguments before the star are inputs, by name; its keyword-only ones are the settings that it depends on, and
    have no defaults.

    Args:
        version: raise it when the same settings and inputs shall mean another result, also where names last.
        joined: all processes of torchrun do it together; else rank 0 does it alone.
    """
    if function is None:
        return functools.partial(work, version=version, joined=joined)
    function.version, function.joined = version, joined
    return function


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a work yields. Tensor fields (and dicts of tensors) go to tensors.safetensors, the rest to meta.json."""

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
class Recipe:
    """An artifact before it is made: what makes it, from what.

    Attributes:
        inputs: artifacts, names of such, None, or objects with an `identity` (and perhaps a `lineage`).
        lasts: it is named by the work's version and not by code and machine.
        machine: device kind and precision that make it, or made it.
    """

    kind: str
    function: Callable
    settings: dict[str, Any]
    inputs: dict[str, Any]
    lasts: bool = False
    machine: str = dataclasses.field(default_factory=lambda: device.machine())

    @functools.cached_property
    def identity(self) -> str:
        """Its hex digest: SHA-256 over all that it depends on. A setting of None counts as absent: a new one renames
        nothing."""
        identities = {name: identity_of(value) for name, value in self.inputs.items()}
        settings = {name: placed(value) for name, value in self.settings.items() if value is not None}
        made_by = self.function.version if self.lasts else self.made_by
        what = [FORMAT, self.kind, self.function.__qualname__, settings, identities, made_by]
        return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()

    @functools.cached_property
    def code(self) -> str:
        """Digest of the code that makes it, and of the code that reads a public set among its inputs."""
        read = [value.version for value in self.inputs.values() if hasattr(value, "version")]
        return hashlib.sha256(" ".join([work_digest(self.function), *read]).encode()).hexdigest()

    @property
    def made_by(self) -> str:
        """That code, and the kind of machine that bits depend on."""
        return f"{self.code} {self.machine}"

    def standing(self) -> "list[Recipe]":
        """Those that stand of this recipe and the same as other machines make it, its own first.

        Raises:
            ValueError: only others do, and DPSYNTH_EQUAL_BITS is set.
        """
        own, others = [self] * self.path.exists(), [each for each in self.elsewhere() if each.path.exists()]
        if others and device.equal_bits() and not own:
            raise ValueError(
                f"{others[0].path} was made on another kind of machine ({others[0].machine}; this is {self.machine}), "
                "and DPSYNTH_EQUAL_BITS=1 asks for this one's bits: move it away and it is made here, or unset that"
            )
        return own if device.equal_bits() else own + others

    def elsewhere(self) -> "list[Recipe]":
        """The same as other machines make it; none of a name that lasts, which is one for all."""
        machines = () if self.lasts else device.machines()
        others = [dataclasses.replace(self, machine=machine) for machine in machines if machine != self.machine]
        for other in others:
            vars(other)["code"] = self.code  # which takes long to digest, and is the same
        return others

    @functools.cached_property
    def ancestors(self) -> tuple[str, ...]:
        """Digests of all that stands behind its inputs, ancestors first, each once."""
        return tuple(dict.fromkeys(digest for value in self.inputs.values() for digest in _lineage(value)))

    @property
    def lineage(self) -> tuple[str, ...]:
        """The same, and its own."""
        return (*self.ancestors, self.identity)

    @property
    def path(self) -> Path:
        """Where the artifact stands once it is whole."""
        return root() / "build" / "artifacts" / f"{self.kind}-{self.identity[:16]}"


def recipe(kind: str, function: Callable, settings: Mapping, *, lasts: bool = False, **inputs: Any) -> Recipe:
    """What `function` makes, of those settings and inputs that it has arguments for.

    Raises:
        ValueError: it needs a setting that there is not.
    """
    given = {argument: inputs[argument] for argument in inspect.signature(function).parameters if argument in inputs}
    return Recipe(kind, function, settings_of(function, settings), given, lasts)


def settings_of(function: Callable, settings: Mapping) -> dict[str, Any]:
    """The keyword-only arguments of `function`, from `settings`.

    Raises:
        ValueError: one is not there.
    """
    arguments = inspect.signature(function).parameters.values()
    names = [argument.name for argument in arguments if argument.kind is argument.KEYWORD_ONLY]
    if missing := [name for name in names if name not in settings]:
        raise ValueError(f"{function.__name__} needs the setting {missing[0]!r}, which is not given")
    return {name: settings[name] for name in names}


def identity_of(value: Any) -> Any:
    """What an input is told apart by."""
    if value is None:
        return None
    return value.artifact.digest if isinstance(value, Stored) else value.identity


def _lineage(value: Any) -> tuple[str, ...]:
    """Digests of what stands behind an input: an artifact's, or those that it names itself."""
    return value.artifact.lineage if isinstance(value, Stored) else getattr(value, "lineage", ())
