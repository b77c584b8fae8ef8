"""Verdicts: the results of a parameter file, held against its rules.

Agrees, disagrees, cannot tell, not comparable, not run; an illustration is called so. A rule with several metrics or
pairs of cells has a row for each; all rows of an item's first rule together give the item its verdict.
"""

import pandas as pd

from dpsynth.experiments import Experiment
from dpsynth.report.cells import Answers, Results
from dpsynth.report.judges import judged
from dpsynth.report.verdicts import Judged, together
from dpsynth.rules import AnyRule, Cells, Order, Shape, Value


def judge(experiment: Experiment, rows: pd.DataFrame, answers: Answers | None = None) -> list[Judged]:
    """Each rule of a parameter file, on the results of its runs at one scale.

    Args:
        rows: with `results.COLUMNS`, of this file and scale; none for what was not run.
        answers: of each test image, as of `results.read_answers`, where they were kept.
    Raises:
        ValueError: the rows are of several scales or commits; or a rule names what there is not.
    """
    refuse_mixed(experiment.name, rows)
    found = Results(experiment, rows, answers)
    told = []
    for rule in experiment.compare:
        item = rule.item or experiment.items[0]
        said_of_all = {"item": item, "claim": rule.claim, "rule": said(rule)}
        told += [one._replace(**said_of_all, paper=one.paper or rule.paper) for one in judged(found, rule)]
    return told


def refuse_mixed(name: str, rows: pd.DataFrame) -> None:
    """Raise ValueError where results are of several scales, data sets or commits."""
    for column in ("scale", "dataset", "commit"):
        if len(values := sorted(rows[column].dropna().unique())) > 1:
            raise ValueError(
                f"results of {name} mix several values of {column} ({', '.join(map(str, values))}): "
                f"`dpsynth run` of the whole file writes them anew from what stands"
            )


def verdict_of(rows: list[Judged]) -> str:
    """The verdict of an item: that of its first rule, for all of its metrics and pairs together."""
    return together([one.verdict for one in rows if one.claim == rows[0].claim])


def said(rule: AnyRule) -> str:
    """A rule in words."""
    match rule:
        case Order(beyond=None):
            return "order: the sign of the paired difference, 95 percent interval"
        case Order():
            return "order: the sign of the difference of paired differences, 95 percent interval"
        case Shape(best=None):
            return f"shape: {rule.trend} over {rule.over}, slope over the order of its values, 95 percent interval"
        case Shape():
            best = " or ".join(map(str, rule.best))
            return f"shape: best at {rule.over} {best}, paired with the best of the other values"
        case Value():
            return f"value: {rule.expected:g} within {rule.tolerance:g}" + (
                ", on any data" if rule.anywhere else ", on the papers' data and at scale paper"
            )
        case Cells():
            return "value: on the papers' data and at scale paper, within the table's tolerance"
    return rule.rule
