"""What the stages hand to one another. Each type is an artifact: it can be stored, named and loaded.

Images are uint8 (N, C, H, W) at rest; labels int64 (N,).
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from dpsynth.data.public_sets import PublicSet
from dpsynth.data.shapes import Pixels, Rows
from dpsynth.recipes import Stored


@dataclass(frozen=True)
class Encoder(Stored):
    """A classifier over public classes: the semantic query function. `accuracy` is on held-out public images, in [0,
    1]; `network` a name in `models.resnet`, or None for the small one."""

    weights: dict[str, Tensor]
    classes: list[str]
    accuracy: float
    network: str | None = None


@dataclass(frozen=True)
class Perceptual(Stored):
    """VGG-19's convolutions, trained on ImageNet by others."""

    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Codes(Stored):
    """An autoencoder of public images. `error` is the root mean square, on held-out ones, of pixels in [-1, 1]."""

    weights: dict[str, Tensor]
    error: float


@dataclass(frozen=True)
class SemanticHistogram(Stored):
    """Votes of the private records for public classes, with noise (without, for the non-private twin and the recall
    figure): `histogram` (rows, public classes) int64."""

    histogram: Tensor
    by_label: bool


@dataclass(frozen=True)
class CentralImages(Stored):
    """One central image a private label, with noise: `values` (classes, C, S/2, S/2) float64, in [0, 1] but for it."""

    values: Tensor


@dataclass(frozen=True)
class LabelCounts(Stored):
    """How many private records have each label, with noise: `counts` (classes,) int64, possibly negative."""

    counts: Tensor


@dataclass(frozen=True)
class Saliency(Stored):
    """How much the private records would move each candidate matrix: `scores` (M,) float64 of the layers `names`, with
    noise of standard deviation `scale`."""

    scores: Tensor
    names: list[str]
    scale: float


@dataclass(frozen=True)
class Corpus(Stored):
    """Images the base model sees: `rows` of a public set, (N,) int64, or `images` of its own, (N, C, S, S) uint8.

    `private_labels`: its labels are the private set's, by `chosen`, a row of public classes for each private label;
    otherwise they are public classes (renumbered, in the order of `chosen[0]`). `chosen` is empty where the images are
    no public ones but releases (DP-FETA). `content` tells what the public set was when its rows were chosen; the
    set itself, `public`, is not stored: a run attaches it.
    """

    images: Tensor | None
    labels: Tensor
    n_labels: int
    private_labels: bool
    chosen: list[list[int]]
    provenance: str
    rows: Tensor | None = None
    content: str = ""
    public: PublicSet | None = field(default=None, repr=False, compare=False)

    @cached_property
    def pixels(self) -> Pixels:
        """Its images, (N, C, S, S) uint8, of which those are looked up that are indexed.

        Raises:
            ValueError: the public set is not what it was, or is not attached; and as it is opened.
        """
        if self.rows is None:
            return self.images
        if self.public is None:
            raise ValueError(f"a corpus of rows ({self.provenance}) has its images from a run: ask `Run(...).corpus`")
        if self.public.content != self.content:
            where = self.artifact.path if self.artifact else "this corpus"
            raise ValueError(
                f"{self.public.name} holds other images than when {where} was chosen from it: put its files back, or "
                "delete that folder, which is made again and costs no privacy"
            )
        return Rows(self.public.images, self.rows)


@dataclass(frozen=True)
class Base(Stored):
    """A model that has seen no private record. `weights` are raw, `averaged` their moving average.

    `architecture` is plain data: `network`, a name in `models.networks`, and the arguments of its class.
    """

    weights: dict[str, Tensor]
    averaged: dict[str, Tensor]
    architecture: dict[str, Any]
    private_labels: bool
    history: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def untrained(cls, model: nn.Module) -> "Base":
        """`model` with the weights that it has, as its own average; it speaks the private labels."""
        weights = model.state_dict()
        return cls(weights, {k: w.clone() for k, w in weights.items()}, model.architecture, private_labels=True)


@dataclass(frozen=True)
class Synthesiser(Stored):
    """A model that speaks the private labels: what a run yields, and all that evaluation sees of it.

    Of the method's own figures: `snapshots`, images drawn along training, (N, C, H, W) uint8 by caption; `curves`,
    (S,) floats by name; `facts`, () floats by name, for results.csv to hold against quality. All of it is
    post-processing of what was released.
    """

    weights: dict[str, Tensor]
    architecture: dict[str, Any]
    snapshots: dict[str, Tensor] = field(default_factory=dict)
    curves: dict[str, Tensor] = field(default_factory=dict)
    facts: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Samples(Stored):
    """Labelled images of one row of the comparison table."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Measurement(Stored):
    """Metrics of one row, by name, and the sizes they were computed at."""

    values: dict[str, float]
    n_synthetic: int
    n_reference: int
    extractor: str


@dataclass(frozen=True)
class Answers(Stored):
    """Which held-out images each classifier names rightly: (M,) bool by metric."""

    right: dict[str, Tensor]


@dataclass(frozen=True)
class Extractor(Stored):
    """Weights of the feature extractor behind FD-convnet."""

    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Curves(Stored):
    """Measurements along an axis, by name: (S, 2) float64 each, place on the axis and value."""

    curves: dict[str, Tensor]
