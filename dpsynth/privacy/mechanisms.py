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
    """Histograms of votes at rate 1, with discrete Gaussian noise (Canonne, Kamath and Steinke 2020).

    Semantic histogram (PrivImage Sec. 3.3), nearest-neighbour votes (DPSDA Algorithm 1), saliency votes (DP-SAPF): each
    record adds 1 to exactly `votes` distinct bins, all in the row of its own label.
    Sensitivity. Adding or removing a record changes `votes` bins by 1 each and no other: l2 distance sqrt(votes).
    Replacing a record removes `votes` ones and adds `votes` ones: at most 2 votes bins move by 1 (a bin in common
    does not move), so sqrt(2 votes). Noise of standard deviation noise_multiplier * sqrt(votes) goes to every bin.
    With `steps` > 1 as many histograms are released, each under noise of its own.

    >>> five = Counts("query", votes=5, noise_multiplier=4.0)
    >>> round(five.sensitivity, 3), round(five.sensitivity_replace, 3), round(five.scale, 3)
    (2.236, 3.162, 8.944)
    """

    name: str
    votes: int
    noise_multiplier: float
    steps: int = 1

    kind = "discrete Gaussian on counts"
    sample_rate = 1.0

    def __post_init__(self):
        _positive(votes=self.votes, noise_multiplier=self.noise_multiplier, steps=self.steps)

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


class _Gaussian:
    """What the two Gaussian mechanisms share: a sum in which each drawn record's part has l2 norm at most `bound`."""

    @property
    def sensitivity(self) -> float:
        """l2, add or remove one record."""
        return self.bound

    @property
    def sensitivity_replace(self) -> float:
        """l2, replace one record."""
        return 2 * self.bound

    @property
    def scale(self) -> float:
        """Standard deviation of the noise in a coordinate of the sum."""
        return self.noise_multiplier * self.bound

    def snapped(self, noisy: Any) -> Any:
        """`noisy` on a constant grid, a millionth of the noise: finer digits of a float64 sum tell of what was summed
        (Mironov 2012)."""
        grid = 2.0 ** (math.frexp(self.scale)[1] - 20)
        return (noisy / grid).round() * grid


@dataclasses.dataclass(frozen=True)
class Sums(_Gaussian):
    """Sums of bounded vectors under Gaussian noise, over a constant; Poisson-subsampled where sample_rate < 1.

    Central images (DP-FETA), mean embeddings (DP-MEPF Sec. 3), squared-norm saliency (DP-SAPF): each drawn
    record adds one vector, a function of itself and its addressed draws, to the row of its own label or to the one
    row; the table of sums gets noise, and is divided by the constant `divisor`. The codes of DP-FETA and DP-MEPF divide
    by realised counts, which the sensitivity they calibrate to does not cover.
    Sensitivity. A vector longer than `bound` is scaled down to it, one that is not finite is left out, and no other
    record's vector depends on it. Adding or removing a record thus changes the table by one vector in one row:
    at most bound. Replacing: at most twice that, by the triangle inequality. The division is post-processing.
    """

    name: str
    bound: float
    noise_multiplier: float
    divisor: float
    sample_rate: float = 1.0
    steps: int = 1

    kind = "Gaussian on bounded sums"

    def __post_init__(self):
        _positive(bound=self.bound, noise_multiplier=self.noise_multiplier, divisor=self.divisor, steps=self.steps)
        _rate(self.sample_rate)


@dataclasses.dataclass(frozen=True)
class Gradients(_Gaussian):
    """DP-SGD: T releases of the Poisson-subsampled Gaussian mechanism (Abadi et al. 2016, Algorithm 1).

    A step draws each record with probability `sample_rate`; a drawn record contributes the mean of its
    `noise_multiplicity` gradients, clipped once to `max_grad_norm` (Dockhorn et al. 2023, Sec. 3.2); the sum gets one
    Gaussian draw of standard deviation noise_multiplier * max_grad_norm, and is divided by the constant `divisor`.
    Sensitivity. Contributions depend on their own record and its addressed draws alone, so adding or removing a record
    changes the sum by that record's clipped mean gradient: at most max_grad_norm. Replacing: at most twice that.
    Fakes of a GAN are public: their number is a constant, so their part is the same for neighbours, and adds nothing.
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
            steps=self.steps, noise_multiplier=self.noise_multiplier, max_grad_norm=self.max_grad_norm,
            noise_multiplicity=self.noise_multiplicity, divisor=self.divisor,
        )  # fmt: skip
        _rate(self.sample_rate)

    @property
    def bound(self) -> float:
        """l2 norm of a drawn record's part: max_grad_norm."""
        return self.max_grad_norm


Mechanism = Counts | Sums | Gradients
KINDS = (Counts, Sums, Gradients)


def statement(mechanism: Mechanism) -> dict[str, Any]:
    """Everything that a certificate or a ledger says of a mechanism, as plain data."""
    stated = {"kind": mechanism.kind, **dataclasses.asdict(mechanism)}
    for name in ("sample_rate", "sensitivity", "sensitivity_replace", "scale"):
        stated[name] = getattr(mechanism, name)
    return stated


def from_statement(stated: dict[str, Any]) -> Mechanism:
    """The mechanism that a ledger entry states. A field that an older version did not have yet is its default, so a new
    field's default must be what versions before it did.

    Raises:
        ValueError: no kind of mechanism that is known here, or not all of one.
    """
    for cls in KINDS:
        if stated.get("kind") == cls.kind:
            fields = dataclasses.fields(cls)
            if missing := [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in stated]:
                raise ValueError(f"a mechanism of kind {cls.kind!r} without {', '.join(missing)}")
            return cls(**{f.name: stated[f.name] for f in fields if f.name in stated})
    raise ValueError(f"no mechanism of kind {stated.get('kind')!r}; known: {', '.join(cls.kind for cls in KINDS)}")


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"Expected {name}={value} to be finite and > 0")


def _rate(sample_rate: float) -> None:
    if not 0 < sample_rate <= 1:
        raise ValueError(f"Expected 0 < sample_rate={sample_rate} <= 1")
