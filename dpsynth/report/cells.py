"""The cells that a rule names, found in the results of its parameter file."""

from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from dpsynth.experiments import Experiment
from dpsynth.methods import options_of
from dpsynth.metrics.names import ANY_FRECHET, MEAN, MEAN_OF, frechet, known
from dpsynth.params import Params
from dpsynth.report.paired import accuracy_error
from dpsynth.rules import Cell

SUMS, PEAKS = "seconds", "peak-MiB"  # over the stages of a run


class NotRun(LookupError):
    """A cell that exists, and has no result."""


class Found(NamedTuple):
    """A cell's values by seed, the metric's own name, and the standard error that the test set gives each value: 0
    where it is no accuracy."""

    metric: str
    values: pd.Series
    error: float


class Results:
    """The results of one parameter file at one scale, by what its rules name.

    Args:
        rows: with `results.COLUMNS`; those of other settings than the file's today are not seen.
    """

    def __init__(self, experiment: Experiment, rows: pd.DataFrame):
        self.experiment = experiment
        self.rows = rows[rows["params_digest"].isin({p.digest for p in self.points})]

    @cached_property
    def points(self) -> list[Params]:
        """The runs of the file."""
        return self.experiment.points()

    def runs(self, cell: Cell) -> list[Params]:
        """The runs of a cell, one a seed.

        Raises:
            ValueError: there are none, or several at a seed.
        """
        runs = [p for p in self.points if all(_has(p, name, value) for name, value in cell.items() if name != "row")]
        if not runs:
            raise ValueError(f"{self.experiment.name}: a rule names {cell}, which no run of the file has")
        if len({p.seed for p in runs}) < len(runs):
            raise ValueError(f"{self.experiment.name}: a rule names {cell}, which several runs have at one seed")
        return runs

    def find(self, cell: Cell, metric: str, at: float | None = None) -> Found:
        """A metric of a cell.

        Args:
            metric: a name of results.csv, or as `rules.Order` has it; at: where on its axis.
        Raises:
            ValueError: there is no such cell or metric; NotRun: it has no results.
        """
        runs = self.runs(cell)
        rows = self.rows[self.rows["params_digest"].isin({p.digest for p in runs})]
        rows = rows[rows["method"] == cell.get("row", runs[0].row_name)]
        metric = frechet(set(rows["metric"])) if metric == ANY_FRECHET else metric
        names, together = _parts(metric, rows)
        percent = known(metric).percent
        rows = rows[rows["metric"].isin(names) & (rows["at"].isna() if at is None else rows["at"] == at)]
        if rows.empty or set(rows["metric"]) != set(names):
            raise NotRun
        rows = rows.drop_duplicates(["seed", "metric"])
        values = rows.groupby("seed")["value"].agg(together)
        return Found(metric, values, accuracy_error(values.mean(), rows["n_reference"].max()) if percent else 0.0)

    def axis(self, cell: Cell, metric: str) -> list[float]:
        """The places at which a curve was measured."""
        digests = {p.digest for p in self.points if all(_has(p, k, v) for k, v in cell.items() if k != "row")}
        rows = self.rows[self.rows["params_digest"].isin(digests) & (self.rows["metric"] == metric)]
        return sorted(rows["at"].dropna().unique().tolist())


def setting(p: Params, name: str) -> Any:
    """A field of a run, or an option of its method; None where it has no such."""
    return getattr(p, name) if name in Params.model_fields else getattr(options_of(p), name, None)


def _has(p: Params, name: str, value: Any) -> bool:
    return setting(p, name) == value


def _parts(metric: str, rows: pd.DataFrame) -> tuple[tuple[str, ...], str]:
    """The metrics of results.csv that one is put together of, and how."""
    if metric == MEAN:
        return MEAN_OF, "mean"
    if metric in (SUMS, PEAKS):
        stages = tuple(name for name in rows["metric"].unique() if name.startswith(f"{metric}-"))
        return stages, "sum" if metric == SUMS else "max"
    return (metric,), "mean"
