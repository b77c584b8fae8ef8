"""The private touches, as data: what is released, how noisy, how often, and how far one record can move it.

A mechanism holds public constants only. The sampler, the noise, the divisor and the accounting event are all built from
these fields, so that none of them can disagree with another.
"""

import dataclasses
import math
from typing import Any

MARGIN = 1 - 2**-10  # clip a little below C, so that float32 rounding cannot pass C


@dataclasses.dataclass(frozen=True)
class Counts:
    """One histogram of votes at rate 1, with discrete Gaussian noise (Canonne, Kamath and Steinke 2020).

    Each record adds 1 to exactly `votes` distinct bins, all in the row of its own label.
    Sensitivity. Adding or removing a record changes `votes` bins by 1 each and no other: l2 distance sqrt(votes).
    Replacing a record removes `votes` ones and adds `votes` ones: at most 2 votes bins move by 1 (a bin in common
    does not move), so sqrt(2 votes). Noise of standard deviation noise_multiplier * sqrt(votes) goes to every bin.
    """

    name: str
    votes: int
    noise_multiplier: float

    kind = "discrete Gaussian on counts"
    sample_rate = 1.0
    count = 1

    def __post_init__(self):
        _positive(votes=self.votes, noise_multiplier=self.noise_multiplier)

    @property
    def sensitivity(self) -> float:
        """l2, add or remove one record."""
        return math.sqrt(self.votes)

    @property
    def sensitivity_replace(self) -> float:
        """l2, replace one record."""
        return math.sqrt(2 * self.votes)

    @property
    def scale(self) -> float:
        """Standard deviation of the noise in a bin, in counts."""
        return self.noise_multiplier * self.sensitivity


@dataclasses.dataclass(frozen=True)
class Gradients:
    """DP-SGD: T releases of the Poisson-subsampled Gaussian mechanism (Abadi et al. 2016, Algorithm 1).

    A step draws each record with probability `sample_rate`; a drawn record contributes the mean of its
    `noise_multiplicity` gradients, clipped once to `max_grad_norm` (Dockhorn et al. 2023, Sec. 3.2); the sum gets one
    Gaussian draw of standard deviation noise_multiplier * max_grad_norm, and is divided by the constant `divisor`.
    Sensitivity. Contributions depend on their own record and its addressed draws alone, so adding or removing a record
    changes the sum by that record's clipped mean gradient: at most max_grad_norm. Replacing: at most twice that.
    """

    name: str
    sample_rate: float
    steps: int
    noise_multiplier: float
    max_grad_norm: float
    noise_multiplicity: int
    divisor: float

    kind = "Poisson-subsampled Gaussian on clipped gradients"

    def __post_init__(self):
        _positive(
            sample_rate=self.sample_rate, steps=self.steps, noise_multiplier=self.noise_multiplier,
            max_grad_norm=self.max_grad_norm, noise_multiplicity=self.noise_multiplicity, divisor=self.divisor,
        )  # fmt: skip
        if self.sample_rate > 1:
            raise ValueError(f"Expected sample_rate={self.sample_rate} <= 1")

    @property
    def count(self) -> int:
        """Number of releases."""
        return self.steps

    @property
    def sensitivity(self) -> float:
        """l2, add or remove one record."""
        return self.max_grad_norm

    @property
    def sensitivity_replace(self) -> float:
        """l2, replace one record."""
        return 2 * self.max_grad_norm

    @property
    def scale(self) -> float:
        """Standard deviation of the noise in a coordinate of the sum."""
        return self.noise_multiplier * self.max_grad_norm


Mechanism = Counts | Gradients


def statement(mechanism: Mechanism) -> dict[str, Any]:
    """Everything that a certificate or a ledger says of a mechanism, as plain data."""
    said = {"kind": mechanism.kind, **dataclasses.asdict(mechanism)}
    for name in ("sample_rate", "count", "sensitivity", "sensitivity_replace", "scale"):
        said[name] = getattr(mechanism, name)
    return said


def from_statement(said: dict[str, Any]) -> Mechanism:
    """The mechanism that a ledger entry states."""
    for cls in (Counts, Gradients):
        if said.get("kind") == cls.kind:
            return cls(**{field.name: said[field.name] for field in dataclasses.fields(cls)})
    raise ValueError(f"no mechanism of kind {said.get('kind')!r}; known: {Counts.kind}, {Gradients.kind}")


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"Expected {name}={value} to be finite and > 0")
