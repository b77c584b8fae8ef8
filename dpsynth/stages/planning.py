"""Before notebook 01: the plan of a run, and the ledger it spends from."""

import json
from dataclasses import dataclass

from dpsynth import data, privacy, store
from dpsynth.privacy.mechanisms import from_statement, statement


@dataclass(frozen=True)
class Frozen(store.Stored):
    """A calibrated plan's mechanisms, as stored."""

    mechanisms: list[dict]


@dataclass(frozen=True)
class Allowance:
    """Leave to touch the private set under one mechanism of a plan.

    Its identity is the mechanism and the coins alone, so that runs that ask the same question share one release.
    """

    plan: privacy.Plan
    ledger: privacy.Ledger
    name: str

    @property
    def mechanism(self) -> privacy.Counts | privacy.Gradients:
        """What the plan says of the touch."""
        return self.plan.mechanism(self.name)

    @property
    def identity(self) -> str:
        """For lineage."""
        return json.dumps([statement(self.mechanism), self.ledger.identity], sort_keys=True)

    def charge(self, work: store.Work) -> privacy.Charge:
        """Open the ledger's entry for the artifact in the making.

        Raises:
            privacy.BudgetError: its lineage and this touch would pass the plan's epsilon; nothing was touched.
        """
        return self.ledger.charge(self.plan, self.name, work.digest, work.lineage)


def allow(p, name: str) -> Allowance:
    """The allowance of `p`'s plan for the mechanism `name`."""
    return Allowance(run(p), ledger(p), name)


def run(p) -> privacy.Plan:
    """The frozen plan of `p`: every private touch of its method, calibrated to (epsilon, delta) together.

    Raises:
        privacy.BudgetError: the budget does not cover its own query.
    """
    n_records = p.constants.n_records
    if p.epsilon == float("inf"):
        return privacy.make_plan(p.private, n_records, p.epsilon, p.delta, [])
    learn = p.row.learn.price(p)
    release = p.row.release.price(p, learn) if p.row.release else []
    touches = [statement(m) for m in (*release, *learn)]
    frozen = store.build("plan", _calibrate, {**_settings(p), "touches": touches})
    mechanisms = tuple(from_statement(said) for said in frozen.mechanisms)
    return privacy.Plan(p.private, n_records, p.epsilon, p.delta, mechanisms)


def path(plan: privacy.Plan, points: int = 11) -> tuple[list[int], list[float]]:
    """Epsilon spent after so many steps of DP-SGD, the query included: steps and epsilons, for a figure."""
    steps = [round(i * plan.mechanism("dp_sgd").steps / (points - 1)) for i in range(points)]
    return steps, [plan.spent(step) for step in steps]


def ledger(p) -> privacy.Ledger:
    """The ledger of the private set of `p`, outside build/."""
    return privacy.Ledger(store.root() / "ledger", p.private, p.noise, p.seed)


def private(p, split: str = "train") -> privacy.Private:
    """The private set of `p`, sealed."""
    return data.private(p.private, split, n_records=p.n_records, labels=p.labels, size=p.size)


def query_noise(p, votes: int, learn: list[privacy.Gradients]) -> float:
    """The noise multiplier of a histogram of `votes` votes, by `privacy.query_noise`; cached."""
    settings = {**_settings(p), "votes": votes, "learn": [statement(m) for m in learn]}
    return store.build("noise", _rule, settings).mechanisms[0]["noise_multiplier"]


def _settings(p) -> dict:
    return {"private": p.private, "n_records": p.constants.n_records, "epsilon": p.epsilon, "delta": p.delta}


def _calibrate(
    work: store.Work, *, private: str, n_records: int, epsilon: float, delta: float, touches: list
) -> Frozen:
    plan = privacy.make_plan(private, n_records, epsilon, delta, [from_statement(said) for said in touches])
    return Frozen([statement(m) for m in plan.mechanisms])


def _rule(work: store.Work, *, epsilon: float, delta: float, votes: int, learn: list) -> Frozen:
    noise = privacy.query_noise(votes, from_statement(learn[0]), epsilon, delta)
    return Frozen([statement(privacy.Counts("query", votes, noise))])
