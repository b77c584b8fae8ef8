"""Typed parameters: one frozen model a run, one file a table or figure.

A parameter file names what it reproduces, the axes to run over, and common scalars; `load` expands it to `Params`,
one a run. Unknown keys and wrong types are refused with an error that names the file and the key, because papermill
itself would only log them, and because YAML 1.1 reads `1e-5` as a string.
"""

import hashlib
import inspect
import itertools
import json
import math
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from dpsynth import data, methods, project
from dpsynth.fields import Real, Strict
from dpsynth.methods import METHODS
from dpsynth.privacy.ledger import canonical

DERIVED = ("shape", "n_classes")
IDENTITY = ("method", "private", "public", "epsilon", "seed", "options")  # what results tell rows apart by, and options


class Params(Strict):
    """Everything one run depends on. The defaults are the smoke scale: about a minute a notebook.

    Sizes and rates are public constants: none is read from the private records.
    """

    method: str = Field("rpgen", description="a row of the table of methods")
    private: str = Field("mnist5k", description="the private set: a built-in name, or folder:PATH")
    public: str = Field("glyphs", description="the public set")
    profile: Literal["smoke", "laptop", "overnight", "paper"] = Field(
        "smoke", description="label of the scale, on figures and folders"
    )
    epsilon: Real = Field(10.0, description="total privacy budget; .inf is the non-private twin")
    delta: Real = Field(1e-5, description="delta of the (epsilon, delta) guarantee; below 1/n_records")
    allow_large_delta: bool = Field(False, description="permit a delta of 1/n_records or more")
    noise: Literal["seeded", "secret"] = Field("seeded", description="seeded: a reproduction, not a release")
    seed: int = Field(0, ge=0, description="public randomness, and the coins under noise: seeded")
    sample_rate: Real = Field(0.1, gt=0, le=1, description="Poisson sampling rate q of a DP-SGD step")
    steps: int = Field(5, ge=1, description="DP-SGD steps T")
    noise_multiplicity: int = Field(1, ge=1, description="draws of the diffusion noise a record, averaged, K")
    learning_rate: Real = Field(1e-3, gt=0, lt=math.inf, description="Adam, DP-SGD fine-tuning")
    pretrain_steps: int = Field(20, ge=1, description="Adam steps on public images")
    encoder_steps: int = Field(30, ge=1, description="steps of the query function, or of the autoencoder")
    width: int = Field(16, ge=8, multiple_of=8, description="channels of the denoiser's first level")
    extractor_steps: int = Field(30, ge=1, description="steps of the feature extractor behind FD-convnet")
    inception: str | None = Field(None, description="file of Inception's weights: FID in place of FD-convnet")
    n_synthetic: int = Field(200, ge=20, description="synthetic images drawn for evaluation")
    n_records: int | None = Field(None, ge=1, description="folder sets: declared number of records")
    labels: tuple[str, ...] | None = Field(None, description="folder sets: declared class names")
    size: int | None = Field(None, ge=8, multiple_of=4, description="folder sets: declared side in pixels")
    options: dict[str, Any] = Field(default_factory=dict, description="the method's own options")

    @field_validator("labels", mode="before")
    @classmethod
    def _labels(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("private", "public")
    @classmethod
    def _from_the_project(cls, name: str) -> str:
        return project.anchored(name)

    @field_validator("method")
    @classmethod
    def _method(cls, name: str) -> str:
        if name not in METHODS:
            raise ValueError(f"no method {name!r}; the table of methods has {', '.join(METHODS)}")
        return name

    @field_validator("epsilon")
    @classmethod
    def _epsilon(cls, value: float) -> float:
        if not value > 0:
            raise ValueError(f"Expected epsilon={value} > 0 (.inf for the non-private twin)")
        return value

    @field_validator("delta")
    @classmethod
    def _delta(cls, value: float) -> float:
        if not 0 < value < 1:
            raise ValueError(f"Expected 0 < delta={value} < 1")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Params":
        n_records, builtin = self.constants.n_records, self.constants.builtin
        if self.delta >= 1 / n_records and not self.allow_large_delta:
            raise ValueError(
                f"delta={self.delta:g} is not below 1/n_records=1/{n_records}: such a guarantee allows publishing "
                "a whole record; choose a smaller delta, or set allow_large_delta: true"
            )
        if not builtin and self.noise == "seeded":
            raise ValueError("noise: seeded would publish the coins of the proof; a folder set needs noise: secret")
        if not builtin and math.isinf(self.epsilon):
            raise ValueError("epsilon: .inf is a benchmark's non-private twin; a folder set needs a finite epsilon")
        if _overlap(canonical(self.private), canonical(self.public)):
            raise ValueError(f"public and private are the same folder, or one holds the other: {self.private}")
        private = {name: getattr(self.row, name) for name in ("prior", "release", "probe", "learn")}
        without = [name for name, touch in private.items() if touch and not touch.exact]
        if math.isinf(self.epsilon) and without:
            raise ValueError(
                f"epsilon: .inf, but {self.method} has no non-private twin: its {without[0]} "
                f"({private[without[0]].name}) is not defined without noise"
            )
        if self.row.prior and self.n_classes == 1:
            raise ValueError(f"prior: noisy asks how frequent each label is, and {self.private} has no labels")
        return self

    @property
    def row(self):
        """The method's row of the table, as its options have it: what each stage does."""
        return methods.row(self.method, self.choices)

    @cached_property
    def constants(self):
        """Public constants of the private set: n_records, channels, size, classes, builtin."""
        return data.constants(self.private, n_records=self.n_records, labels=self.labels, size=self.size)

    @cached_property
    def choices(self) -> Strict:
        """The method's own options, validated by its own model."""
        model = METHODS[self.method].options
        for name in self.options:
            if name not in model.model_fields:
                raise ValueError(_no_option(self.method, name, list(model.model_fields)))
        return model.model_validate(self.options)

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and side of an image."""
        return self.constants.channels, self.constants.size

    @property
    def n_classes(self) -> int:
        """Number of private labels."""
        return len(self.constants.classes)

    def __getitem__(self, name: str) -> Any:
        """A setting by name: the method's own option if it has one, else the common scalar or constant."""
        return getattr(self.choices if name in type(self.choices).model_fields else self, name)

    def __contains__(self, name: str) -> bool:
        return name in type(self.choices).model_fields or name in type(self).model_fields or name in DERIVED

    @property
    def run_name(self) -> str:
        """Names the run's folder: readable, and distinct for distinct parameters."""
        private = re.sub(r"\W+", "_", self.private)
        return f"{private}-{self.public}-{self.method}-eps{self.epsilon:g}-seed{self.seed}-{self.digest[:8]}"

    @property
    def digest(self) -> str:
        """SHA-256 over all parameters."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()

    def replace(self, **changes: Any) -> "Params":
        """The same run but for `changes`, validated anew."""
        return Params.model_validate({**self.model_dump(), **changes})

    @classmethod
    def read(cls, namespace: dict[str, Any]) -> "Params":
        """The parameters cell of a notebook: `Params.read(globals())`."""
        return cls.model_validate({name: namespace[name] for name in cls.model_fields if name in namespace})


class Experiment(Strict):
    """A parameter file: what it reproduces, the axes it runs over, and what all its runs share.

    `over` gives lists for `method`, `epsilon`, `seed` (or any other scalar); the runs are their product, or those of
    each such mapping in a list. `also` lists further runs, each by what differs. `options` holds each method's own
    options.
    """

    name: str
    reproduces: str
    over: list[dict[str, list[Any]]]
    also: list[dict[str, Any]] = Field(default_factory=list)
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    common: dict[str, Any] = Field(default_factory=dict)

    def points(self) -> list[Params]:
        """The runs, in the order of the file."""
        product = [
            dict(zip(grid, point, strict=True)) for grid in self.over for point in itertools.product(*grid.values())
        ]
        return [self._point(changes) for changes in (*product, *self.also)]

    def variant(self, p: Params) -> str:
        """The settings in which `p` differs from the file's common ones and its method's options: "share 0.1"."""
        named = {name: None for changes in (*self.over, *self.also) for name in changes}
        own = {name: getattr(p, name) for name in named if name not in IDENTITY}
        usual = {name: self.common.get(name, Params.model_fields[name].default) for name in own}
        own, usual = own | p.options, usual | self.options.get(p.method, {})
        return ", ".join(f"{name} {value}" for name, value in own.items() if usual.get(name) != value)

    def _point(self, changes: dict[str, Any]) -> Params:
        merged = {**self.common, **changes}
        method = merged.get("method", Params.model_fields["method"].default)
        options = {**self.options.get(method, {}), **changes.get("options", {})}
        return Params.model_validate({**merged, "options": options})


def load(path: Path, **overrides: Any) -> Experiment:
    """Read a parameter file, and check every run in it.

    Args:
        overrides: replace an axis: `method="rpgen"`, `epsilon=1.0`, `seed=3`.
    Raises:
        FileNotFoundError; ValueError: one sentence that names the file and the key.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such parameter file")
    try:
        raw = yaml.safe_load(path.read_text())
        if not isinstance(raw, dict):
            raise ValueError("expected a mapping of parameters at the top level")
        own = {name: raw.pop(name) for name in ("reproduces", "over", "also", "options") if name in raw}
        grids = own.get("over", {})
        grids = grids if isinstance(grids, list) else [grids]
        # A method keeps the settings of the grids that list it; one that none lists runs in all.
        with_it = [grid for grid in grids if overrides.get("method") in grid.get("method", [])]
        fixed = {name: [value] for name, value in overrides.items()}
        own["over"] = [{**grid, **fixed} for grid in with_it or grids]
        if overrides:
            own.pop("also", None)
        experiment = Experiment(name=path.stem, common={"profile": path.parent.name, **raw}, **own)
        if unknown := sorted(set(experiment.options) - set(METHODS)):
            raise ValueError(f"options for {', '.join(unknown)}: no such method; there are {', '.join(METHODS)}")
        experiment.points()
    except ValidationError as error:
        raise ValueError("; ".join(f"{path}: {_said(e)}" for e in error.errors())) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    return experiment


def _no_option(method: str, option: str, own: list[str]) -> str:
    """What is said of an option that the method lacks: which stage of which methods has it, if any does."""
    said = f"{method} has no option {option!r}; its own are {', '.join(own)}"
    owners = {name: row for name, row in METHODS.items() if option in row.options.model_fields}
    for column in ("encoder", "release", "corpus", "base", "probe", "learn"):
        asked = (getattr(row, column) for row in owners.values())
        functions = (getattr(one, "ask", one) for one in asked)
        if any(callable(f) and option in inspect.signature(f).parameters for f in functions):
            return f"{said} ({option} is of the stage {column!r} of {', '.join(owners)})"
    return said + (f" (it is one of {', '.join(owners)})" if owners else "")


def _overlap(one: str, other: str) -> bool:
    """Whether two sets are folders of which one is, or holds, the other."""
    if not (one.startswith("folder:") and other.startswith("folder:")):
        return False
    a, b = Path(one.removeprefix("folder:")), Path(other.removeprefix("folder:"))
    return a.is_relative_to(b) or b.is_relative_to(a)


def _said(error: dict[str, Any]) -> str:
    key = ".".join(map(str, error["loc"])) or "parameters"
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r} (value {error['input']!r})"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}={error['input']!r}: {message}" if error["loc"] else message
