"""The certificate: what a run, or all runs, released of a private set, and what that costs, by every accountant."""

import math
from typing import Any

from dpsynth.privacy import accounting
from dpsynth.privacy.ledger import Ledger, opened
from dpsynth.privacy.mechanisms import from_statement, statement
from dpsynth.privacy.plan import Plan

REPRODUCTION = "a reproduction, not a release: the coins follow from a published seed"
RELEASE = "a release: coins of the operating system, destroyed; n_records of a folder is public, so quote replace-one"
NONE = "none: the private records were used without any privacy (the non-private twin of a public benchmark)"


def certificate(plan: Plan, ledger: Ledger, lineage: tuple[str, ...]) -> dict[str, Any]:
    """The privacy statement of a run, from the ledger's entries for its lineage, as plain data.

    `epsilon` is the accountant of record's; `also` holds the other accountants' figures; `set_total` composes all
    that was ever released from the private set, under this ledger.

    Raises:
        ValueError: the ledger lacks an entry for a mechanism of the plan: it is not the ledger of these artifacts.
    """
    if not plan.is_private:
        return plan.statement() | {"epsilon": "none", "status": NONE, "accountant": "none", "releases": []}
    entries = opened(ledger.entries(), lineage)
    stated = [entry["mechanism"] for entry in entries]
    if missing := [m.name for m in plan.mechanisms if statement(m) not in stated]:
        raise ValueError(
            f"{ledger.path} has no entry for {' and '.join(missing)}, which this run's artifacts were made with; "
            "restore the ledger, or delete build/ and run again"
        )
    return plan.statement() | _cost(entries, plan.delta) | {
        "status": REPRODUCTION if ledger.noise == "seeded" else RELEASE,
        "noise": ledger.noise, "releases": entries,
        "set_total": {
            "epsilon": _total(ledger, plan.delta, False), "delta": plan.delta,
            "epsilon, replace one record": _total(ledger, plan.delta, True),
            "releases": len(opened(ledger.entries(), None)),
        },
    }  # fmt: skip


def certificate_of_set(ledger: Ledger, delta: float) -> dict[str, Any]:
    """The composition of all that was ever released from a private set under this ledger, as plain data.

    Draws whose coins follow from a seed are no releases, and are counted all the same, each of those that share its
    coins too: that errs on the safe side.

    Raises:
        ValueError: delta outside (0, 1), or a ledger that was edited; FileNotFoundError: there is no such ledger.
    """
    if not 0 < delta < 1:
        raise ValueError(f"Expected 0 < delta={delta} < 1")
    entries = opened(ledger.entries(), None)
    if not ledger.path.exists():
        raise FileNotFoundError(f"{ledger.path}: no ledger; nothing was released here of {ledger.private}")
    constants = {"private": ledger.private, "adjacency": accounting.ADJACENCY, "delta": delta}
    return constants | _cost(entries, delta) | {"releases": entries}


def _total(ledger: Ledger, delta: float, replace: bool) -> float | str:
    """Of all releases of the set: they may be more than can be added up at this delta, which ends no run."""
    try:
        total = ledger.epsilon(delta, replace=replace)
    except ValueError as error:
        return str(error)
    return total if math.isfinite(total) else "none that is finite"


def _cost(entries: list[dict[str, Any]], delta: float) -> dict[str, Any]:
    mechanisms = [from_statement(entry["mechanism"]) for entry in entries]
    also = {"PLD, replace one record": accounting.epsilon(mechanisms, delta, replace=True)}
    also |= accounting.cross_checks(mechanisms, delta)
    return {
        "epsilon": accounting.epsilon(mechanisms, delta),
        "accountant": "PLD (dp-accounting), pessimistic",
        "also": {name: value for name, value in also.items() if math.isfinite(value)},
    }
