"""Rules by which results of ours are held against a claim of a paper: written in parameter files before the runs.

A rule names cells of its file's results by what sets them apart, `{method: rpgen, epsilon: 10}`; `report/claims.py`
gives the verdict.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from dpsynth.strict import Real, Strict

Cell = dict[str, Any]  # fields of `Params` and options of the method; and `row`, where it is not the method's own
Metrics = Annotated[
    list[str], Field(min_length=1), BeforeValidator(lambda given: [given] if isinstance(given, str) else given)
]


class Rule(Strict):
    """What is claimed, and of which item of a paper; the first rule of an item gives the item its verdict."""

    rule: str
    claim: str
    item: str | None = Field(None, description="one of the file's items; or null, its first")
    paper: str = Field("", description="the paper's numbers, as it prints them: beside ours, and not what is judged")


class Pair(Strict):
    """Cells of which one is claimed to be better; a list of values stands for as many pairs."""

    better: Cell
    than: Cell

    @property
    def pairs(self) -> list[tuple[Cell, Cell]]:
        """Each pair of cells: lists of values are taken side by side, a single value for all."""
        lengths = {len(v) for cell in (self.better, self.than) for v in cell.values() if isinstance(v, list)} or {1}
        if len(lengths) > 1:
            raise ValueError(f"lists of {' and '.join(map(str, sorted(lengths)))} values cannot be taken side by side")
        (n,) = lengths
        return [(_at(self.better, k), _at(self.than, k)) for k in range(n)]


class Order(Rule, Pair):
    """One cell is better than another: by the sign of the paired differences over seeds, and their 95 percent interval
    with the test set's own error. With `beyond`, it is better by more than one of another pair is than the other.

    `metric`: names of `metrics/names.py`; FD stands for the Frechet distance that was measured, CA for the mean of LR,
    MLP and CNN, `seconds` for the sum over stages. `at`: where on the axis of a curve.
    """

    rule: Literal["order"]
    metric: Metrics
    beyond: Pair | None = None
    at: Real | None = None
    margin: Real = Field(0.0, ge=0, description="of the metric: no worse than this much is claimed, not better")

    @model_validator(mode="after")
    def _side_by_side(self) -> "Order":
        if self.beyond and len(self.beyond.pairs) != len(self.pairs):
            raise ValueError("beyond has other numbers of pairs than better and than")
        _ = self.pairs
        return self


class Shape(Rule):
    """How a metric goes over an axis: where it is best, or whether it rises or falls.

    `best`: the better mean of these values beats the best of all others, paired over seeds. `trend`: the slope over the
    axis's order, of each seed, has a mean of this sign. `over`: a setting, or `at`, the axis of a curve.
    """

    rule: Literal["shape"]
    over: str
    metric: Metrics
    where: Cell = Field(default_factory=dict)
    best: list[Any] | None = Field(None, min_length=1)
    trend: Literal["rises", "falls"] | None = None

    @model_validator(mode="after")
    def _one(self) -> "Shape":
        if (self.best is None) == (self.trend is None):
            raise ValueError("a shape is either best: [values], or trend: rises (or falls)")
        return self


class Value(Rule):
    """A number is as expected, within a tolerance: on the papers' own data and at scale `paper` alone, unless the claim
    is of any data (`anywhere`)."""

    rule: Literal["value"]
    of: Cell
    metric: Metrics
    expected: Real
    tolerance: Real = Field(gt=0)
    at: Real | Literal["last"] | None = None
    anywhere: bool = False


class Cells(Rule):
    """Each published cell of a table that this file runs, ours beside it; a value rule for each, with the tolerances of
    `report/claims.py`."""

    rule: Literal["cells"]
    claim: str = "The cells of the table, ours beside them."
    table: str = Field(description="source and table of published.csv: RPGen, Table 1")


class Settings(Rule):
    """Hyper-parameters of a table, ours beside them: all equal at scale `paper`, not comparable elsewhere.

    Equal: as numbers, within the tolerance of `report/settings.py`.
    """

    rule: Literal["settings"]
    claim: str = "The hyper-parameters of the table, ours beside them."
    paper: str
    table: str = Field(description="of settings.csv: Table 5")


class Illustration(Rule):
    """A drawing that explains, without a result to reproduce."""

    rule: Literal["illustration"]


class Printed(Strict):
    """A point of RPGen's curves that its numbers give: a place of the axis, and a row of published.csv."""

    at: Real
    method: str = Field("rpgen", description="whose row of RPGen's Table 1, on CIFAR-10 at epsilon 10")
    change: str | None = Field(None, description="row of the text that says by how many percent it is off")


AnyRule = Annotated[Order | Shape | Value | Cells | Settings | Illustration, Field(discriminator="rule")]


def _at(cell: Cell, k: int) -> Cell:
    return {name: value[k] if isinstance(value, list) else value for name, value in cell.items()}
