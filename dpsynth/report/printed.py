"""Published numbers as they are printed, and a claim of a paper beside what its own cells give."""

import functools
from typing import NamedTuple

import pandas as pd

from dpsynth.report import results
from dpsynth.report.rounding import Rounded, mean

CLASSIFIERS = ("CA-LR", "CA-MLP", "CA-CNN")
CELL = ("metric", "dataset", "epsilon")
AT_ONE = ("metric", "dataset")  # of a table of one epsilon, where a twin has none
Readings = dict[str, float | Rounded]  # what each way to read a claim gives, by its name


class Claim(NamedTuple):
    """A number that a source prints, and what its cells give."""

    source: str
    claim: str  # a sentence, with {} for the number without its sign
    printed: str  # with the decimals it has in print
    readings: Readings
    instead: Readings | None = None  # what is not said, and would give the printed number or explain it

    @property
    def agrees(self) -> bool:
        """Whether a reading can round to what is printed, of cells that can round to theirs."""
        return any(Rounded.read(self.printed).meets(Rounded.of(value)) for value in self.readings.values())

    def row(self) -> dict[str, str]:
        """Source, claim, printed, recomputed (what each reading gives, after its name, and its range), verdict."""
        decimals = max(len(self.printed.partition(".")[2]), 2)
        recomputed = _shown(self.readings, decimals)
        if self.instead and not self.agrees:
            recomputed += f"; not as said: {_shown(self.instead, decimals)}"
        claim, verdict = self.claim.format(self.printed.lstrip("-")), "agrees" if self.agrees else "disagrees"
        row = {"source": self.source, "claim": claim, "printed": self.printed}
        return row | {"recomputed": recomputed, "verdict": verdict}


def _shown(readings: Readings, decimals: int) -> str:
    return "; ".join(f"{name} {Rounded.of(value).shown(decimals)}" for name, value in readings.items())


@functools.cache
def numbers() -> pd.DataFrame:
    """published.csv, all of it text: the decimals of a number are those it is printed with."""
    return pd.read_csv(results.PUBLISHED, dtype=str, keep_default_na=False)


def table(source: str, name: str, index: tuple[str, ...] = CELL, columns: str = "row") -> pd.DataFrame:
    """A table of a source, of rounded numbers: a column a row of it (or a method), by metric, dataset and epsilon (or
    as `index` says)."""
    of = numbers()[numbers()["source"].str.startswith(source) & (numbers()["table"] == name)]
    return of.assign(value=of["value"].map(Rounded.read)).pivot(index=[*index], columns=columns, values="value")


def printed(source: str, row: str, metric: str, dataset: str = "all", epsilon: str = "", name: str = "text") -> str:
    """One number as it is printed: of a source's text, or of its table of this name.

    Raises:
        ValueError: there is none, or more than one.
    """
    of = {"table": name, "row": row, "metric": metric, "dataset": dataset, "epsilon": epsilon}
    at = (numbers()[list(of)] == pd.Series(of)).all(axis=1) & numbers()["source"].str.startswith(source)
    (value,) = numbers()[at]["value"]
    return value


def fid(cells: pd.Series | pd.DataFrame) -> pd.Series | pd.DataFrame:
    """The FIDs among the cells."""
    return cells[cells.index.get_level_values("metric") == "FID"]


def accuracies(cells: pd.Series | pd.DataFrame) -> pd.Series | pd.DataFrame:
    """The accuracies of the three classifiers among the cells."""
    return cells[cells.index.get_level_values("metric").isin(CLASSIFIERS)]


def said(source: str, claim: str, where: tuple[str, ...], readings: Readings, instead: Readings | None = None) -> Claim:
    """What a source's text prints at `where` (row, metric, dataset, epsilon), beside what the readings give."""
    return Claim(source, claim, printed(source, *where), readings, instead)


def percent(ours: pd.Series, base: pd.Series) -> Readings:
    """A change from `base` to `ours`, equal cells of two rows, as a share of `base`."""
    return {
        "percent, mean over cells": 100 * mean(ours / base - 1),
        "percent, of sums": 100 * (ours.sum() / base.sum() - 1),
    }


def change(ours: pd.Series, base: pd.Series) -> Readings:
    """A change of accuracies, which a paper's percent may mean in points."""
    return {"points, mean over cells": mean(ours - base)} | percent(ours, base)


def best(source: str, claim: str, ours: pd.Series, others: pd.DataFrame) -> Claim:
    """That `ours` is, in print, better than each of the others in every column of a table (here: row of `others`)."""
    n = int((fid(ours) < fid(others).min(axis=1)).sum() + (accuracies(ours) > accuracies(others).max(axis=1)).sum())
    return Claim(source, claim, str(len(others)), {"columns": n})


def equal(source: str, claim: str, left: pd.DataFrame, right: pd.DataFrame) -> Claim:
    """That all cells of two tables of equal index and columns are equal in print."""
    return Claim(source, claim, str(left.size), {"equal cells": int((left == right).to_numpy().sum())})
