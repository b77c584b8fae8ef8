"""Parameter files: one a table or figure, which expands to `Params`, one a run.

A file names what it reproduces, the axes to run over, and common scalars. Unknown keys and wrong types are refused with
an error that names the file and the key.
"""

import itertools
import math
import reprlib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from dpsynth.fields import Strict
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.runner import plainyaml

IDENTITY = ("method", "private", "public", "epsilon", "seed", "options")  # what results tell rows apart by, and options
MOST_RUNS, LONGEST = 1000, 1000  # of a file; of what is said of it, in characters
AXES = "write over: {method: [rpgen, dpdm], epsilon: [1, 10]}, or a list of such"
RUNS = "write also: [{method: rpgen, epsilon: 1, options: {votes: 2}}], or leave it out"
OPTIONS = "write options: {rpgen: {votes: 2}}, or leave it out"
MISSING = {"over": AXES, "reproduces": "write reproduces: and a sentence on what the runs are for"}
SHORT = reprlib.Repr()  # of what was given
SHORT.maxlevel, SHORT.maxlist, SHORT.maxdict, SHORT.maxstring, SHORT.maxother = 3, 4, 3, 100, 100


class Experiment(Strict):
    """A parameter file: what it reproduces, the axes it runs over, and what all its runs share.

    `over` gives lists for `method`, `epsilon`, `seed` (or any other scalar; one value stands for a list of one); the
    runs are their product, or those of each such mapping in a list. `also` lists further runs, each by what differs.
    `options` holds each method's own options.
    """

    name: str
    reproduces: str
    over: list[dict[str, list[Any]]]
    also: list[dict[str, Any]] = Field(default_factory=list)
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    common: dict[str, Any] = Field(default_factory=dict)

    @field_validator("over", mode="before")
    @classmethod
    def _axes(cls, value: Any) -> Any:
        grids = value if isinstance(value, list) else [value]
        if not grids or not all(isinstance(grid, dict) and grid for grid in grids):
            raise ValueError(f"no axes to run over; {AXES}")
        for name, values in ((name, values) for grid in grids for name, values in grid.items()):
            if values is None or values == [] or isinstance(values, dict):
                raise ValueError(f"the axis {name!r} has no list of values; {AXES}")
        return [{name: v if isinstance(v, list) else [v] for name, v in grid.items()} for grid in grids]

    @field_validator("also", mode="before")
    @classmethod
    def _runs(cls, value: Any) -> Any:
        if not isinstance(value, list) or not all(isinstance(run, dict) for run in value):
            raise ValueError(f"no list of runs; {RUNS}")
        if not all(isinstance(run.get("options", {}), dict) for run in value):
            raise ValueError(f"the options of a run are no mapping; {RUNS}")
        return value

    @field_validator("options", mode="before")
    @classmethod
    def _of_methods(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"not the options of each method; {OPTIONS}")
        if odd := [name for name, own in value.items() if not isinstance(own, dict)]:
            raise ValueError(f"the options of {', '.join(odd)} are no mapping; {OPTIONS}")
        if unknown := [name for name in value if name not in METHODS]:
            raise ValueError(f"options for {', '.join(unknown)}: no such method; there are {', '.join(METHODS)}")
        return value

    @model_validator(mode="after")
    def _few(self) -> "Experiment":
        runs = sum(math.prod(map(len, grid.values())) for grid in self.over) + len(self.also)
        if runs > MOST_RUNS:
            raise ValueError(f"over and also name {runs} runs; a file has at most {MOST_RUNS}")
        return self

    def points(self) -> list[Params]:
        """The runs, in the order of the file."""
        product = [
            dict(zip(grid, point, strict=True)) for grid in self.over for point in itertools.product(*grid.values())
        ]
        return [self._point(changes) for changes in (*product, *self.also)]

    def only(self, **chosen: Any) -> "Experiment":
        """The same with one value for each axis in `chosen`, and without what `also` adds.

        A method keeps the settings of the grids that list it; one that none lists runs in all.
        """
        with_it = [grid for grid in self.over if chosen.get("method") in grid.get("method", [])]
        axes = {name: [value] for name, value in chosen.items()}
        return self.model_copy(update={"over": [{**grid, **axes} for grid in with_it or self.over], "also": []})

    def variant(self, p: Params) -> str:
        """The settings in which `p` differs from the file's common ones and its method's options: "share 0.1"."""
        named = {name: None for changes in (*self.over, *self.also) for name in changes}
        own = {name: getattr(p, name) for name in named if name not in IDENTITY}
        usual = {name: self.common.get(name, Params.model_fields[name].default) for name in own}
        own, usual = own | p.options, usual | self.options.get(p.method, {})
        return ", ".join(f"{name} {value}" for name, value in own.items() if usual.get(name) != value)

    def _point(self, changes: dict[str, Any]) -> Params:
        merged = {"method": Params.model_fields["method"].default, **self.common, **changes}
        own = self.options.get(merged["method"], {}) if isinstance(merged["method"], str) else {}
        given = changes.get("options", {})
        return Params.model_validate({**merged, "options": own | given if isinstance(given, dict) else given})


def load(path: Path, **overrides: Any) -> Experiment:
    """Read a parameter file, and check every run in it.

    Args:
        overrides: replace an axis: `method="rpgen"`, `epsilon=1.0`, `seed=3`.
    Raises:
        FileNotFoundError; ValueError: one sentence that names the file and the key.
    """
    try:
        raw = plainyaml.read(path)
        if not isinstance(raw, dict):
            raise ValueError("expected a mapping of parameters at the top level")
        own = {name: raw.pop(name) for name in ("reproduces", "over", "also", "options") if name in raw}
        experiment = Experiment(name=path.stem, common={"profile": path.parent.name, **raw}, **own)
        experiment = experiment.only(**overrides) if overrides else experiment
        experiment.points()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: {error}") from None
    except ValidationError as error:
        raise ValueError(f"{path}: {_said(error)}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return experiment


def _said(error: ValidationError) -> str:
    """What a model refuses, in one line: three of it at most."""
    said = [" ".join(_one(each).split()) for each in error.errors(include_url=False)]
    line = "; ".join(said[:3]) + (f"; and {len(said) - 3} more" if len(said) > 3 else "")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def _one(error: dict[str, Any]) -> str:
    key, given = ".".join(map(str, error["loc"])), SHORT.repr(error["input"])
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r} (value {given})"
    if error["type"] == "missing":
        return f"{key} is missing; {MISSING[key]}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}={given}: {message}" if key else message
