"""Typed parameters: one frozen model a run.

Unknown keys, wrong types and numbers beyond reason are refused before anything is computed, with an error that names
the key: papermill would only log an unknown one, and a planner would try to plan 10^12 steps.
"""

import hashlib
import json
import math
import re
import unicodedata
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from dpsynth import project, scales
from dpsynth.data import catalog, imagefiles
from dpsynth.privacy.ledger import canonical
from dpsynth.strict import Real, Strict

CONTROL = ("Cc", "Cs", "Zl", "Zp")  # of Unicode: control characters, halves of characters, line ends
FINEST_DELTA = 1e-12  # the accountant's arithmetic certifies no finer one


class Params(Strict):
    """Everything one run depends on. The defaults are the smoke scale: about a minute a notebook.

    Sizes and rates are public constants: none is read from the private records. A default never changes: digests leave
    out what has its default's value, so that a new field renames no run.
    """

    method: str = Field("rpgen", description="a row of the table of methods")
    private: str = Field("mnist5k", description="the private set: a built-in name, or folder:PATH")
    public: str = Field("glyphs", description="the public set")
    scale: str = Field("smoke", pattern="^[a-z0-9_-]{1,32}$", description="name of the scale, on figures and folders")
    epsilon: Real = Field(10.0, description="total privacy budget; .inf is the non-private twin")
    delta: Real = Field(1e-5, description="delta of the (epsilon, delta) guarantee; below 1/n_records")
    allow_large_delta: bool = Field(False, description="permit a delta of 1/n_records or more")
    noise: Literal["seeded", "secret"] = Field("seeded", description="seeded: a reproduction, not a release")
    releases: int = Field(1, ge=1, le=1000, description="noise: secret: releases that each question may have, in all")
    seed: int = Field(0, ge=0, lt=2**63, description="public randomness, and the coins under noise: seeded")
    sample_rate: Real = Field(0.1, ge=1e-6, le=1, description="Poisson sampling rate q of a DP-SGD step")
    steps: int = Field(5, ge=1, le=10**6, description="DP-SGD steps T")
    noise_multiplicity: int = Field(1, ge=1, le=1024, description="draws of the diffusion noise a record, averaged, K")
    learning_rate: Real = Field(1e-3, gt=0, lt=100, description="Adam, DP-SGD fine-tuning")
    pretrain_steps: int = Field(20, ge=1, le=10**8, description="Adam steps on public images")
    pretrain_batch: int = Field(128, ge=2, le=10**5, description="public images a step of pre-training")
    pretrain_rate: Real = Field(7e-3, gt=0, lt=1, description="Adam in pre-training, at its peak")
    pretrain_average: Real = Field(0.998, ge=0, lt=1, description="rate of the base's moving average")
    encoder_steps: int = Field(30, ge=1, le=10**8, description="steps of the query function, or of the autoencoder")
    encoder_batch: int = Field(128, ge=2, le=10**5, description="public images a step of the encoder")
    encoder_rate: Real = Field(2e-3, gt=0, lt=1, description="Adam, the encoder, at its peak")
    encoder_network: Literal["resnet18", "resnet50"] | None = Field(
        None, description="the query function's network: a ResNet, as for colour; or null, a small one"
    )
    width: int = Field(16, ge=8, le=2048, multiple_of=8, description="channels of the denoiser's first level")
    extractor_steps: int = Field(30, ge=1, le=10**8, description="steps of the feature extractor behind FD-convnet")
    inception: str | None = Field(None, description="file of Inception's weights: FID in place of another FD")
    n_synthetic: int = Field(200, ge=20, le=10**7, description="synthetic images drawn for evaluation")
    n_records: int | None = Field(
        None, ge=1, le=10**10, description="number of records: of a folder declared, of a benchmark its first"
    )
    labels: tuple[str, ...] | None = Field(None, description="folder sets: declared class names")
    size: int | None = Field(None, ge=8, le=1024, multiple_of=4, description="folder sets: declared side in pixels")
    background: str = Field(catalog.BACKGROUND, description="folder sets: colour under transparent pixels")
    options: dict[str, Any] = Field(default_factory=dict, description="the method's own options")

    @field_validator("labels", mode="before")
    @classmethod
    def _labels(cls, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not all(isinstance(label, str) for label in value):
            raise ValueError("expected a list of folder names, numbers in quotes, as in labels: [cat, '7']")
        return tuple(value)

    @field_validator("labels")
    @classmethod
    def _folder_names(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for label in labels or ():
            if label in (".", "..") or "/" in label or any(unicodedata.category(c) in CONTROL for c in label):
                raise ValueError(f"{label!r} cannot name a folder; a label has no slash and no control character")
        return labels

    @field_validator("private", "public")
    @classmethod
    def _from_the_project(cls, name: str) -> str:
        canonical(name)  # which refuses a path that leads nowhere
        return project.anchored(name)

    @field_validator("epsilon")
    @classmethod
    def _epsilon(cls, value: float) -> float:
        if not (1e-3 <= value <= 1e6 or value == math.inf):
            raise ValueError(f"Expected epsilon={value:g} from 0.001 to 1,000,000 (or .inf, the non-private twin)")
        return value

    @field_validator("delta")
    @classmethod
    def _delta(cls, value: float) -> float:
        if not 0 < value < 1:
            raise ValueError(f"Expected 0 < delta={value} < 1")
        if value < FINEST_DELTA:
            raise ValueError(f"finer than {FINEST_DELTA:g}, which the accounting cannot certify; choose a larger delta")
        return value

    @field_validator("background")
    @classmethod
    def _background(cls, name: str) -> str:
        imagefiles.colour(name)
        return name

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
        return self

    @cached_property
    def constants(self):
        """Public constants of the private set: n_records, channels, size, classes, builtin."""
        return catalog.constants(self.private, n_records=self.n_records, labels=self.labels, size=self.size)

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and side of an image."""
        return self.constants.channels, self.constants.size

    @property
    def n_classes(self) -> int:
        """Number of private labels."""
        return len(self.constants.classes)

    @property
    def row_name(self) -> str:
        """The method's name in the tables; `nonprivate` for the twin at epsilon infinity."""
        return "nonprivate" if math.isinf(self.epsilon) else self.method

    @property
    def run_name(self) -> str:
        """Names the run's folder: readable, distinct for distinct parameters, and a name on every file system.

        ASCII letters, digits, "_", "-" and "." alone, at most 112 of them; of a folder set the folder's own name.
        """
        private, public = _short_name(self.private), _short_name(self.public)
        epsilon = f"{self.epsilon:g}".replace("+", "")
        return f"{private}-{public}-{self.method}-eps{epsilon}-seed{self.seed}-{self.digest[:8]}"

    @property
    def digest(self) -> str:
        """SHA-256 over the parameters that differ from their defaults; a field that is new keeps every digest."""
        named = self.model_dump(exclude_defaults=True, exclude={"releases"})
        named |= {name: project.placed(named[name]) for name in ("private", "public") if name in named}
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()

    def replace(self, **changes: Any) -> "Params":
        """The same run but for `changes`, validated anew."""
        return Params.model_validate({**self.model_dump(), **changes})

    @classmethod
    def at(cls, scale: str, **changes: Any) -> "Params":
        """A run at a scale: `Params.at("laptop", method="rpgen", seed=1, amp_gamma=0.1)`.

        >>> Params.at("laptop", method="rpgen", seed=1, amp_gamma=0.1).options["amp_gamma"]
        0.1

        Args:
            changes: over the scale's settings; what is no field is an option of the method.
        Raises:
            ValueError: there is no such scale, or a value that no run can have. Options are checked by `Run`.
        """
        return cls.under(scales.read(scale), changes)

    @classmethod
    def under(cls, settings: scales.Settings, changes: dict[str, Any]) -> "Params":
        """The run that differs from `settings` by `changes`, a flat mapping of fields and the method's options."""
        method = {**settings.common, **changes}.get("method", cls.model_fields["method"].default)
        own = {**settings.of(method), **changes}
        if "options" in settings.common or "options" in own:
            raise ValueError(f"options: each is written as a key of its own, votes: 2 in a run; or {scales.EXAMPLE}")
        fields = {name: own.pop(name) for name in cls.model_fields if name in own}
        return cls.model_validate({**settings.common, **fields, "options": own})


def _short_name(name: str) -> str:
    """A set's name, or the last part of its path, as far as it is ASCII: at most 24 characters, "folder" if none."""
    last = name.removeprefix("folder:").rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", last).strip("_.-")[:24].rstrip("_.-") or "folder"


def _overlap(one: str, other: str) -> bool:
    """Whether two sets are folders of which one is, or holds, the other."""
    if not (one.startswith("folder:") and other.startswith("folder:")):
        return False
    a, b = Path(one.removeprefix("folder:")), Path(other.removeprefix("folder:"))
    return a.is_relative_to(b) or b.is_relative_to(a)
