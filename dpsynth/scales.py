"""Scales: the sizes, and the settings of single methods, that suit a kind of machine: params/scales/<scale>.yaml."""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from dpsynth import plainyaml, project
from dpsynth.strict import Strict

EXAMPLE = "write methods: {rpgen: {votes: 2}}, or leave it out"


class Settings(Strict):
    """What a file sets: `common` fields of `Params`, and over them, for single `methods`, fields and own options.

    The settings of a method are one flat mapping: a key that is no field of `Params` is an option of the method.
    """

    common: dict[str, Any] = Field(default_factory=dict)
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("methods", mode="before")
    @classmethod
    def _mappings(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"not the settings of each method; {EXAMPLE}")
        if odd := [name for name, given in value.items() if not isinstance(given, dict)]:
            raise ValueError(f"the settings of {', '.join(odd)} are no mapping; {EXAMPLE}")
        return value

    def of(self, method: Any) -> dict[str, Any]:
        """What is set for this method alone."""
        return self.methods.get(method, {}) if isinstance(method, str) else {}

    def upon(self, below: "Settings") -> "Settings":
        """These settings, and those of `below` wherever these, common or a method's, set nothing."""
        methods = {
            name: {k: v for k, v in below.of(name).items() if k not in self.common} | self.of(name)
            for name in (*below.methods, *self.methods)
        }
        return Settings(common=below.common | self.common, methods=methods)


def names() -> list[str]:
    """The scales that there are."""
    return sorted(file.stem for file in path("").parent.glob("*.yaml"))


def path(name: str) -> Path:
    """The file of a scale."""
    return project.folder() / "params" / "scales" / f"{name}.yaml"


def read(name: str) -> Settings:
    """A scale's settings, its name among the common ones; whether their values hold is for `Params` to say.

    Raises:
        ValueError: there is no such scale, or its file is no mapping.
    """
    if name not in names():
        raise ValueError(f"no such scale {name!r}; there are {', '.join(names()) or 'none'}")
    try:
        given = plainyaml.read(path(name))
        if "scale" in given:
            raise ValueError("scale: a scale is named by its file")
        return Settings(methods=given.pop("methods", {}), common=given | {"scale": name})
    except ValueError as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ValueError(f"{path(name)}: {first.removeprefix('Value error, ')}") from None
