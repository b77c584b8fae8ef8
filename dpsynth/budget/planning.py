"""The plan of a run, calibrated once and kept: every question that it will ask of the private records."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dpsynth import privacy, project, recipes, store
from dpsynth.budget import calibration
from dpsynth.checkpoints import Work
from dpsynth.params import Params
from dpsynth.privacy.mechanisms import Mechanism, from_statement, statement
from dpsynth.recipes import Stored, work


@dataclass(frozen=True)
class Calibrated(Stored):
    """A plan's mechanisms, as the core states them."""

    mechanisms: list[dict]


@dataclass(frozen=True)
class NoiseRule(Stored):
    """The noise multiplier that public constants give a question."""

    noise_multiplier: float


def plan(p: Params, questions: Sequence[Mechanism]) -> privacy.Plan:
    """The frozen plan of `p`: all questions of its method, the learner's last, calibrated to (epsilon, delta) together.

    Raises:
        privacy.BudgetError: the budget does not cover its own queries; ValueError: the stored plan was edited.
    """
    n_records = p.constants.n_records
    if p.epsilon == float("inf"):
        return calibration.make_plan(p.private, n_records, p.epsilon, p.delta, questions)
    stated = [statement(m) for m in questions]
    stored = _kept("plan", calibrate, p, {"questions": stated})
    try:
        mechanisms = [from_statement(each) for each in stored.mechanisms]
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{stored.artifact.path} is no plan ({error}); delete it and run again") from None
    like = [replace(questions[-1], noise_multiplier=m.noise_multiplier) for m in mechanisms[-1:]]
    if [statement(m) for m in mechanisms] != [*stated[:-1], *map(statement, like)]:
        raise ValueError(f"{stored.artifact.path} was edited: it plans other touches than it was asked for; delete it")
    return privacy.Plan(p.private, n_records, p.epsilon, p.delta, tuple(mechanisms))


def query_noise(p: Params, votes: int, learner: Mechanism) -> float:
    """The noise multiplier of a histogram of `votes` votes beside a learner, by `calibration.query_noise`."""
    return _kept("noise", by_rule, p, {"votes": votes, "learner": statement(learner)}).noise_multiplier


@work
def calibrate(work: Work, *, private: str, n_records: int, epsilon: float, delta: float, questions: list) -> Calibrated:
    """The learner's noise, so that all together cost at most (epsilon, delta)."""
    plan = calibration.make_plan(private, n_records, epsilon, delta, [from_statement(each) for each in questions])
    return Calibrated([statement(m) for m in plan.mechanisms])


@work
def by_rule(work: Work, *, epsilon: float, delta: float, votes: int, learner: dict) -> NoiseRule:
    """The least noise of a question of `votes` votes that costs the learner at most 5 percent more."""
    return NoiseRule(calibration.query_noise(votes, from_statement(learner), epsilon, delta))


def spent_along(plan: privacy.Plan) -> tuple[list[int], list[float]]:
    """Epsilon spent after so many releases of the learner, all before it included: numbers and epsilons."""
    steps = sorted({round(i * plan.mechanisms[-1].steps / 10) for i in range(11)})
    return steps, [plan.spent(step) for step in steps]


def kept(p: Params) -> list[Path]:
    """The artifacts that plans at the budget of `p` are kept in: with them another machine plans the same."""
    folder, names = project.root() / "build" / "artifacts", ("plan-*/meta.json", "noise-*/meta.json")
    metas = {file.parent: json.loads(file.read_text(encoding="utf-8")) for name in names for file in folder.glob(name)}
    budget = {"epsilon": p.epsilon, "delta": p.delta}
    return [path for path, meta in sorted(metas.items()) if meta["settings"].items() >= budget.items()]


def _kept(kind: str, function, p: Params, settings: dict) -> Stored:
    """A number of a plan lasts: a plan that moved by a hair, as an accountant is mended, would ask all questions anew.
    That it stays within the budget is checked by today's accountant at each touch."""
    public = {"private": p.private, "n_records": p.constants.n_records, "epsilon": p.epsilon, "delta": p.delta}
    return store.build(recipes.recipe(kind, function, public | settings, lasts=True), timed=p.constants.builtin)
