"""Parameter files: one a table or figure, which expands to `Params`, one a run.

A file names what it reproduces, the axes to run over, and what it sets over its scale's settings. Unknown keys and
wrong types are refused with an error that names the file and the key.
"""

import contextlib
import itertools
import math
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from dpsynth import plainyaml, project, scales
from dpsynth.methods import METHODS, row_of
from dpsynth.params import Params
from dpsynth.rules import AnyRule, Printed

PAPERS = ("rpgen", "privimage")  # folders of params/ whose files are items of a paper
SCALE = "laptop"  # of a file that names none
Measure = Literal["quality", "answers", "clusters", "learning", "recall", "robustness", "similarity", "sizes", "start"]
Picture = Literal["embedding", "samples", "selected"]
IDENTITY = ("method", "private", "public", "epsilon", "seed", "options")  # what results tell rows apart by, and options
MOST_RUNS, LONGEST = 1000, 1000  # of a file; of what is said of it, in characters
AXES = "write over: {method: [rpgen, dpdm], epsilon: [1, 10]}, or a list of such"
RUNS = "write also: [{method: rpgen, epsilon: 1, votes: 2}], or leave it out"
OF_FILE = ("reproduces", "over", "also", "items", "compare", "measures", "pictures", "printed")  # all else is a setting
MISSING = {"over": AXES, "reproduces": "write reproduces: and a sentence on what the runs are for"}
SHORT = reprlib.Repr()  # of what was given
SHORT.maxlevel, SHORT.maxlist, SHORT.maxdict, SHORT.maxstring, SHORT.maxother = 3, 4, 3, 100, 100


class Experiment(scales.Settings):
    """A parameter file: what it reproduces, the axes it runs over, and what its runs share.

    `over` gives lists for `method`, `epsilon`, `seed`, any other field or option (one value stands for a list of one);
    the runs are their product, or those of each such mapping in a list. `also` lists further runs, each by what
    differs.
    """

    name: str
    reproduces: str
    over: list[dict[str, list[Any]]]
    also: list[dict[str, Any]] = Field(default_factory=list)
    items: list[str] = Field(default_factory=list, description="tables and figures of papers that it reproduces")
    compare: list[AnyRule] = Field(default_factory=list, description="rules for a verdict on each")
    measures: list[Measure] = Field(default_factory=lambda: ["quality"], min_length=1)
    printed: list[Printed] = Field(default_factory=list, description="points of the paper's curve that it states")
    pictures: list[Picture] = Field(default_factory=list, description="drawn of all runs side by side")

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
        return value

    @model_validator(mode="after")
    def _few_and_known(self) -> "Experiment":
        runs = sum(math.prod(map(len, grid.values())) for grid in self.over) + len(self.also)
        if runs > MOST_RUNS:
            raise ValueError(f"over and also name {runs} runs; a file has at most {MOST_RUNS}")
        for given in (*self.over, *self.also):
            _are_known(given, but=("scale",))
        if unknown := {rule.item for rule in self.compare} - {None, *self.items}:
            raise ValueError(f"a rule is of the item {min(unknown)!r}, and items has {', '.join(self.items) or 'none'}")
        return self

    @property
    def scale(self) -> str:
        """The scale of all its runs."""
        return self.common["scale"]

    def points(self) -> list[Params]:
        """The runs, in the order of the file, each once."""
        cells = ((grid, cell) for grid in self.over for cell in itertools.product(*grid.values()))
        product = (dict(zip(grid, cell, strict=True)) for grid, cell in cells)
        runs = [Params.under(self, changes) for changes in (*product, *self.also)]
        for p in runs:
            row_of(p)  # which refuses what the method cannot do
        return list({p.digest: p for p in runs}.values())

    def only(self, **chosen: Any) -> "Experiment":
        """The same with these values (one, or a list) for the axes in `chosen`, and without what `also` adds.

        A method keeps the settings of the grids that list it; one that none lists runs in all, without the options of
        others.
        """
        if not chosen:
            return self
        axes, grids = {name: v if isinstance(v, list) else [v] for name, v in chosen.items()}, self.over
        if methods := axes.pop("method", None):
            grids = [grid | {"method": [method]} for method in methods for grid in self._grids_of(method)]
        return self.model_copy(update={"over": [grid | axes for grid in grids], "also": []})

    def _grids_of(self, method: str) -> list[dict[str, list[Any]]]:
        without = [{name: v for name, v in grid.items() if name in Params.model_fields} for grid in self.over]
        return [grid for grid in self.over if method in grid.get("method", [])] or without

    def variant(self, p: Params) -> str:
        """The settings in which `p` differs from what its method has in this file: "share 0.1"."""
        usual = Params.under(self, {"method": p.method}).model_dump()
        settings = {name: value for name, value in p.model_dump().items() if name not in IDENTITY}
        settings, usual = settings | p.options, usual | usual["options"]
        return ", ".join(f"{name} {value}" for name, value in settings.items() if usual.get(name) != value)


def load(given: str | Path, scale: str | None = None, **overrides: Any) -> Experiment:
    """Read a parameter file, and check every run in it.

    Args:
        given: its path, or its name as `find` takes it; scale: in place of the file's own.
        overrides: replace an axis: `method="rpgen"`, `epsilon=1.0`, `seed=[3, 4]`.
    Raises:
        FileNotFoundError; ValueError: one sentence that names the file and the key.
    """
    path = given if isinstance(given, Path) else find(given)
    with _naming(path):
        raw = plainyaml.read(path)
        run_keys = {name: raw.pop(name) for name in OF_FILE if name in raw}
        of_file = raw.pop("scale", SCALE)
        settings = scales.Settings(methods=raw.pop("methods", {}), common=raw)
        _checked(settings)
        settings = settings.upon(at(scale or of_file))
        experiment = Experiment(name=name_of(path), **dict(settings), **run_keys).only(**overrides)
        experiment.points()
    return experiment


def name_of(path: Path) -> str:
    """What results of a parameter file are called: rpgen_fig5 for params/rpgen/fig5.yaml; of other folders the file."""
    folder = path.parent.name
    return f"{folder}_{path.stem}" if folder in PAPERS else path.stem


def find(name: str) -> Path:
    """The parameter file below params/ called `name`: `fig5`, `rpgen/fig5`, `rpgen_fig5`, or a path that ends in .yaml.

    Raises:
        ValueError: there is none of that name, or there are several.
    """
    if name.endswith(".yaml"):
        return Path(name)
    below, wanted = project.folder() / "params", Path(name).parts
    files = [file for file in sorted(below.rglob("*.yaml")) if file.parent != below / "scales"]
    namesakes = [
        file for file in files if name == name_of(file) or file.with_suffix("").parts[-len(wanted) :] == wanted
    ]
    if not namesakes:
        known = ", ".join(file.relative_to(below).with_suffix("").as_posix() for file in files) or "none"
        raise ValueError(f"no experiment {name!r} below params/; there are {known}")
    if len(namesakes) > 1:
        paths = ", ".join(map(str, namesakes))
        raise ValueError(f"several experiments are called {name!r}, name one by its path: {paths}")
    return namesakes[0]


def at(scale: str) -> scales.Settings:
    """A scale's settings, checked for each method.

    Raises:
        ValueError: there is no such scale, or its file does not hold.
    """
    settings = scales.read(scale)
    with _naming(scales.path(scale)):
        _checked(settings)
        for method in METHODS:
            row_of(Params.under(settings, {"method": method}))
    return settings


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """What is wrong in a file is said in one line that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: {error}") from None
    except ValueError as error:
        sentence = _of_model(error) if isinstance(error, ValidationError) else error
        raise ValueError(f"{path}: {sentence}") from None


def _checked(settings: scales.Settings) -> None:
    if unknown := [name for name in settings.methods if name not in METHODS]:
        raise ValueError(f"methods: {', '.join(unknown)}: no such method; there are {', '.join(METHODS)}")
    for given in settings.methods.values():
        _are_known(given, but=("scale", "method"))


def _are_known(given: dict[str, Any], but: tuple[str, ...]) -> None:
    """Whether each key is a field, or some method's option; whether it is this method's is for `row_of` to say."""
    for name, value in given.items():
        options = (row.options.model_fields for row in METHODS.values())
        if name in but or not (name in Params.model_fields or any(name in names for names in options)):
            raise ValueError(f"unknown key {name!r} (value {SHORT.repr(value)})")


def _of_model(error: ValidationError) -> str:
    """What a model refuses, in one line: three of it at most."""
    refusals = [" ".join(_one(each).split()) for each in error.errors(include_url=False)]
    line = "; ".join(refusals[:3]) + (f"; and {len(refusals) - 3} more" if len(refusals) > 3 else "")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def _one(error: dict[str, Any]) -> str:
    key, given = ".".join(map(str, error["loc"])), SHORT.repr(error["input"])
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r} (value {given})"
    if error["type"] == "missing":
        return f"{key} is missing" + (f"; {MISSING[key]}" if key in MISSING else "")
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}={given}: {message}" if key else message
