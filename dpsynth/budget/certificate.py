"""The certificate: what a run, or all runs, released of a private set, and what that costs, by every accountant."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

from dpsynth.budget import risk
from dpsynth.privacy import Ledger, Plan, accounting
from dpsynth.privacy.ledger import opened
from dpsynth.privacy.mechanisms import Mechanism, from_statement, statement

REPRODUCTION = "a reproduction, not a release: the coins follow from a published seed"
RELEASE = "a release: coins of the operating system, destroyed; n_records of a folder is public, so quote replace-one"
REPLACE = "PLD, replace one record"  # among the other figures
NONE = "none: the private records were used without any privacy (the non-private twin of a public benchmark)"
ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64)) + list(range(64, 2048, 64))
PRV_EPSILON, PRV_STEPS = 300.0, 50_000  # beyond either, Opacus's PRV takes gigabytes


class Certificate(dict):
    """What a run cost, as plain data; as text, in four lines, and what that buys an attacker in the next."""

    def __str__(self) -> str:
        also = "; ".join(f"{name}: {value:.4f}" for name, value in self.get("also", {}).items())
        return "\n".join([
            f"{self['private']}: epsilon {self['epsilon']} at delta {self['delta']:g}, by {self['accountant']}",
            f"neighbours: {self['adjacency']}", also or "no other figure", self["status"], *risk.words(self),
        ])  # fmt: skip


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
        ValueError: delta outside (0, 1), or a ledger that was edited.
        FileNotFoundError: there is no such ledger, or nothing in it.
    """
    if not 0 < delta < 1:
        raise ValueError(f"Expected 0 < delta={delta} < 1")
    entries = opened(ledger.entries(), None)
    if not entries:
        raise FileNotFoundError(
            f"{ledger.path}: no ledger, or an empty one; nothing was released here of {ledger.private}"
        )
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
    also = {REPLACE: accounting.epsilon(mechanisms, delta, replace=True)}
    also |= cross_checks(mechanisms, delta)
    return {
        "epsilon": accounting.epsilon(mechanisms, delta),
        "accountant": "PLD (dp-accounting), pessimistic",
        "also": {name: value for name, value in also.items() if math.isfinite(value)},
    }


def cross_checks(mechanisms: Sequence[Mechanism], delta: float) -> dict[str, float]:
    """The same composition by other accountants, as {accountant: epsilon}.

    `PRV` is Opacus's upper bound (its stated error is 0.01). `RDP` is Opacus's conversion (Balle et al. 2020). `RDP,
    classic` is eps = RDP + log(1/delta) / (order - 1) (Mironov 2017, Prop. 3), the formula of PrivImage's Appendix
    E. The discrete Gaussian counts as the continuous one, whose RDP bounds it (Canonne et al. 2020, Prop. 5). What an
    accountant cannot compute is NaN.
    """
    from opacus.accountants import PRVAccountant, analysis  # here: most notebooks need not wait for Opacus

    history = [(m.noise_multiplier, m.sample_rate, m.steps) for m in mechanisms]
    divergence = sum(analysis.rdp.compute_rdp(q=q, noise_multiplier=s, steps=n, orders=ORDERS) for s, q, n in history)
    with warnings.catch_warnings():  # of an order at the end of the list: a bound all the same
        warnings.filterwarnings("ignore", message="Optimal order is the", category=UserWarning)
        tight, _ = analysis.rdp.get_privacy_spent(orders=ORDERS, rdp=divergence, delta=delta)
    classic = min(d + math.log(1 / delta) / (a - 1) for d, a in zip(divergence, ORDERS, strict=True))
    accountant = PRVAccountant()
    accountant.history = history
    small = tight < PRV_EPSILON and sum(steps for *_, steps in history) < PRV_STEPS
    prv = _prv(accountant, delta) if small else math.nan
    return {"PRV": prv, "RDP": float(tight), "RDP, classic": float(classic)}


def _prv(accountant, delta: float) -> float:
    with warnings.catch_warnings():
        # Opacus's PRV sizes its grid by a coarse RDP bound, and may overflow in the grid's tail: it warns of both,
        # and the result is an upper bound all the same.
        warnings.filterwarnings("ignore", message="Optimal order is the largest", category=UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            return float(accountant.get_epsilon(delta))
        except (RuntimeError, ValueError, OverflowError, MemoryError):
            return math.nan
