"""Before notebook 01: the plan of a run, and the ledger it spends from."""

import importlib
import itertools
import json
from dataclasses import dataclass
from typing import Any

from dpsynth import privacy, store
from dpsynth.data import catalog
from dpsynth.privacy.mechanisms import from_statement, statement


@dataclass(frozen=True)
class Frozen(store.Stored):
    """A calibrated plan's mechanisms, as stored."""

    mechanisms: list[dict]


@dataclass(frozen=True)
class Allowance:
    """Leave to touch the private set under one mechanism of a plan.

    Its identity is the mechanism and the coins alone, so that runs that ask the same question share one release;
    and the releases `earlier` in the plan that nothing else in the touch's lineage names.
    """

    plan: privacy.Plan
    ledger: privacy.Ledger
    name: str
    earlier: tuple[store.Stored, ...] = ()

    @property
    def mechanism(self) -> privacy.mechanisms.Mechanism:
        """What the plan says of the touch."""
        return self.plan.mechanism(self.name)

    @property
    def identity(self) -> str:
        """For lineage."""
        before = [one.artifact.digest for one in self.earlier]
        return json.dumps([statement(self.mechanism), self.ledger.identity, before], sort_keys=True)

    @property
    def lineage(self) -> tuple[str, ...]:
        """Digests of the earlier releases and their ancestors."""
        return tuple(digest for one in self.earlier for digest in one.artifact.lineage)

    def charge(self, work: store.Work, private: privacy.Private) -> privacy.Charge:
        """Open the ledger's entry for the artifact in the making: the last thing before `private` is asked, as what is
        opened counts.

        Raises:
            privacy.BudgetError: its lineage and this touch would pass the plan's epsilon; nothing was touched.
        """
        return self.ledger.charge(self.plan, self.name, work.digest, work.lineage, private, attempt=work)


def allow(p, touch, *earlier: store.Stored) -> Allowance:
    """The allowance of `p`'s plan for one private column of its row."""
    return Allowance(run(p), ledger(p), touch.name, earlier)


def ask(kind: str, touch, p, *earlier: store.Stored, **available: Any) -> Any:
    """What a private column of `p`'s row yields, asked now if it was not before; its ledger entry is settled.

    Args:
        kind: of the artifact; earlier: releases of the plan that are not inputs of this one.
        available: inputs by name; `touch.ask` gets those that it has arguments for, and its `allowance`.
    Raises:
        ValueError, FileNotFoundError, PermissionError: as `preflight.check`, and nothing was asked.
    """
    available |= {"private": private(p), "allowance": allow(p, touch, *earlier)}
    inputs = store.named(touch.ask, available)
    if not store.folder(kind, store.digest_of(kind, touch.ask, store.settings_of(touch.ask, p), inputs)).exists():
        # By name: an import would make the whole table of methods part of what each artifact depends on.
        importlib.import_module("dpsynth.preflight").ready(p, available["private"])
    release = store.build(kind, touch.ask, p, **inputs)
    available["allowance"].ledger.settle(release.artifact.digest)
    return release


def run(p) -> privacy.Plan:
    """The frozen plan of `p`: every private touch of its method, calibrated to (epsilon, delta) together.

    Raises:
        privacy.BudgetError: the budget does not cover its own query; ValueError: the stored plan was edited.
    """
    n_records = p.constants.n_records
    if p.epsilon == float("inf"):
        return privacy.make_plan(p.private, n_records, p.epsilon, p.delta, [])
    learn = p.row.learn.price(p)
    before = [touch.price(p, learn) for touch in (p.row.prior, p.row.release, p.row.probe) if touch]
    touches = [statement(m) for m in (*itertools.chain(*before), *learn)]
    frozen = store.build("plan", _calibrate, {**_settings(p), "touches": touches}, timed=p.constants.builtin)
    mechanisms = _mechanisms(frozen)
    like = [privacy.accounting.with_noise(from_statement(touches[-1]), m.noise_multiplier) for m in mechanisms[-1:]]
    if [statement(m) for m in mechanisms] != [*touches[:-1], *map(statement, like)]:
        raise ValueError(f"{frozen.artifact.path} was edited: it plans other touches than it was asked for; delete it")
    return privacy.Plan(p.private, n_records, p.epsilon, p.delta, tuple(mechanisms))


def path(plan: privacy.Plan, points: int = 11) -> tuple[list[int], list[float]]:
    """Epsilon spent after so many releases of the learner, all before it included: numbers and epsilons."""
    steps = sorted({round(i * plan.mechanisms[-1].steps / (points - 1)) for i in range(points)})
    return steps, [plan.spent(step) for step in steps]


def ledger(p) -> privacy.Ledger:
    """The ledger of the private set of `p`, outside build/."""
    return privacy.Ledger(store.root() / "ledger", p.private, p.noise, p.seed)


def private(p, split: str = "train") -> privacy.Private:
    """The private set of `p`, sealed."""
    declared = {"n_records": p.n_records, "labels": p.labels, "size": p.size, "background": p.background}
    return catalog.private(p.private, split, **declared)


def query_noise(p, votes: int, learn: list[privacy.mechanisms.Mechanism]) -> float:
    """The noise multiplier of a histogram of `votes` votes, by `privacy.query_noise`; cached."""
    settings = {**_settings(p), "votes": votes, "learn": [statement(m) for m in learn]}
    return _mechanisms(store.build("noise", _rule, settings, timed=p.constants.builtin))[0].noise_multiplier


def _mechanisms(frozen: Frozen) -> list[privacy.mechanisms.Mechanism]:
    try:
        return [from_statement(said) for said in frozen.mechanisms]
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{frozen.artifact.path} is no plan ({error}); delete it and run again") from None


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
