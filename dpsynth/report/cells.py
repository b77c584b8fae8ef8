"""The cells that a rule names, found in the results of its parameter file."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dpsynth.experiments import Experiment
from dpsynth.methods import options_of
from dpsynth.metrics.names import ANY_FRECHET, MEAN, MEAN_OF, frechet, known
from dpsynth.params import Params
from dpsynth.report.paired import accuracy_error
from dpsynth.rules import Cell

Answers = dict[tuple[str, str], np.ndarray]
SUMS, PEAKS = "seconds", "peak-MiB"  # over the stages of a run


class NotRun(LookupError):
    """A cell that exists, and has no result."""


class Found(NamedTuple):
    """A cell's values by seed, the metric's own name, and the standard error that the test set gives each value: 0
    where it is no accuracy."""

    metric: str
    values: pd.Series
    error: float
    answers: dict[int, np.ndarray]  # by seed, of each test image the share of classifiers that name it; may be empty


class Results:
    """The results of one parameter file at one scale, by what its rules name.

    Args:
        rows: with `results.COLUMNS`; those of other settings than the file's today are not seen.
        answers: as of `results.read_answers`.
    """

    def __init__(self, experiment: Experiment, rows: pd.DataFrame, answers: Answers | None = None):
        self.experiment, self.answers = experiment, answers or {}
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
        n = rows["n_reference"].max()
        n = 0 if pd.isna(n) else int(n)  # of what is measured beside quality it is not said
        error = accuracy_error(values.mean(), n) if percent and n else 0.0
        own = cell.get("row", runs[0].row_name) == runs[0].row_name  # answers are kept of a run's own samples alone
        return Found(metric, values, error, self._answers(runs, names, n) if own else {})

    def _answers(self, runs: list[Params], names: tuple[str, ...], n: int) -> dict[int, np.ndarray]:
        kept = [p for p in runs if all((p.digest, name) in self.answers for name in names)]
        return {p.seed: np.mean([self.answers[p.digest, name][:n] for name in names], axis=0) for p in kept}

    def axis(self, cell: Cell, metric: str) -> list[float]:
        """The places at which a curve was measured."""
        digests = {p.digest for p in self.points if all(_has(p, k, v) for k, v in cell.items() if k != "row")}
        rows = self.rows[self.rows["params_digest"].isin(digests) & (self.rows["metric"] == metric)]
        return sorted(rows["at"].dropna().unique().tolist())


def test_error(sides: Sequence[Found], weights: Sequence[float]) -> float:
    """The standard error that the finite test set gives a weighted sum of cells, each a mean over seeds.

    Where each image's answers are kept, from these: the cells are judged by the same images, and err on the same ones.
    Else as if they erred independently, which is more.
    """
    seeds = set.intersection(*(set(side.values.index) for side in sides))
    if all(side.answers and seeds <= set(side.answers) for side in sides):
        means = [np.mean([side.answers[seed] for seed in sorted(seeds)], axis=0) for side in sides]
        of_image = sum(weight * mean for weight, mean in zip(weights, means, strict=True))
        return 100 * float(of_image.std(ddof=1)) / math.sqrt(len(of_image))
    return math.hypot(*(weight * side.error for weight, side in zip(weights, sides, strict=True)))


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
