"""The ledger: what was ever asked of a private set, written before it is asked.

One append-only file a private set, outside build/. An entry opens before the touch and is forced to disk; a run that
was killed finds its entry, redraws the same coins, and adds nothing. The key of secret coins lies beside it until the
artifact stands, with a seal that binds it to the records it was drawn for, and is then destroyed. Releases may share
seeded coins: entries and attempts are told apart by release and coins, and each counts.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dpsynth.privacy import accounting
from dpsynth.privacy.chain import Chain
from dpsynth.privacy.coins import Coins
from dpsynth.privacy.disk import forget_times, locked
from dpsynth.privacy.keys import Keys, seeded
from dpsynth.privacy.mechanisms import Mechanism, from_statement, statement
from dpsynth.privacy.plan import BudgetError, Plan

# Steps whose noise was drawn, by ledger, release and coins, and the attempt at the release that drew them.
_ATTEMPTS: dict[tuple[Path, str, str], tuple[object, set[int]]] = {}


@dataclasses.dataclass(frozen=True)
class Charge:
    """The ledger has an entry for one mechanism of the plan, all its steps: what a verb asks for.

    `seal` tells which records it was opened for, under the coins' key; empty for seeded coins. `joined`: each process
    of the run has it, draws the same by it, and computes its share of the one answer.
    """

    mechanism: Mechanism
    plan: Plan
    release: str
    coins: Coins
    seal: str = ""
    joined: bool = False
    _used: set = dataclasses.field(default_factory=set, repr=False)

    def use(self, step: int) -> None:
        """Mark the noise of `step` as drawn: two answers under one noise would tell their exact difference.

        Raises:
            ValueError: it was drawn already.
        """
        if step in self._used:
            raise ValueError(f"the noise of step {step} was drawn already under this charge; nothing was released")
        self._used.add(step)


def canonical(name: str) -> str:
    """A private set's name, however its path is spelt: one folder has one ledger, and one identity.

    Raises:
        ValueError: a path that leads nowhere, by links that end in themselves or by an unknown user.
    """
    scheme, colon, path = name.partition(":")
    if scheme != "folder" or not colon:
        return name
    try:
        return f"folder:{Path(path).expanduser().resolve()}"
    except (RuntimeError, OSError, ValueError) as error:
        raise ValueError(f"the path of {name[:200]!r} cannot be followed ({error}); check it") from None


class Ledger:
    """The ledger of one private set.

    Args:
        folder: where ledgers lie.
        private: name of the private set; becomes the file's name.
        noise: "secret", or "seeded" with `seed`, which publishes the coins: a reproduction, not a release.
    Raises:
        ValueError: seeded coins for a folder of somebody's own, or no such noise.
    """

    def __init__(self, folder: Path, private: str, noise: str, seed: int):
        if noise not in ("secret", "seeded"):
            raise ValueError(f"Expected noise={noise!r} to be 'secret' or 'seeded'")
        self.private, self.noise, self.seed = private, noise, seed
        self._set = canonical(private)
        if noise == "seeded" and self._set.startswith("folder:"):
            raise ValueError(f"seeded coins are public: they would undo the noise on {private}; use noise: secret")
        digest = hashlib.sha256(self._set.encode()).hexdigest()[:12]
        name = private if private.isidentifier() else f"folder-{digest}"
        self.path, self._keys = folder / f"{name}.jsonl", Keys(folder / "keys")
        self._chain = Chain(self.path, folder / "heads", self._set)

    @property
    def identity(self) -> str:
        """For lineage: which coins a release gets."""
        return f"{self.noise} coins" + (f" of seed {self.seed}" if self.noise == "seeded" else "")

    def entries(self) -> list[dict[str, Any]]:
        """All entries, oldest first. A last line torn by a crash was never acted on, and is left out.

        Raises:
            ValueError: a line that is not an entry, or whose digest does not follow from the lines up to it; entries
                that were there are gone; or the set has a ledger under another name.
        """
        return self._chain.entries()

    def check(self, plan: Plan, name: str, release: str, lineage: Sequence[str]) -> None:
        """Raise what `charge` with these arguments would, and write nothing."""
        entries = self.entries()
        self._afford(plan, name, entries, release, lineage, self._coins(name, release, entries))

    def charge(
        self, plan: Plan, name: str, release: str, lineage: Sequence[str], private: Any = None, attempt: object = None
    ) -> Charge:
        """Open (or find open) the entry for `release` under the plan's mechanism `name`.

        Args:
            release: digest of the artifact that will hold the release.
            lineage: digests of the artifacts it is made from, whose releases count towards the same budget.
            private: the `Private` that will be asked: secret coins are sealed to its records.
            attempt: at the release: an object, the `Work` in progress. A new one, after an earlier one died, may draw
                the same noise again, for the same answers, if the code, machine and inputs that its `made_by` names are
                the same; one and the same draws each step's noise once.
        Raises:
            BudgetError: the lineage, earlier draws of this release, this mechanism and those of the plan that are not
                in the lineage would together cost more than the plan's epsilon.
            ValueError: the release was begun under another mechanism, on other records or by other code, or the plan or
                the records are of another private set; and as `entries`.
        """
        if private is not None and canonical(private.name) != self._set:
            raise ValueError(f"{self.path} is the ledger of {self.private}, not of {private.name}; nothing was touched")
        made_by = getattr(attempt, "made_by", "")
        with self._locked():
            entries = self.entries()
            coins = self._coins(name, release, entries)
            mechanism = self._afford(plan, name, entries, release, lineage, coins)
            if coins is None:
                self._keys.destroy(release)  # what a crash may have left
                coins = self._keys.draw(release, private, made_by)
            seal = self._sealed(release, coins, private, made_by)
            entry = dict(open=release, coins=coins.fingerprint, noise=self.noise, mechanism=statement(mechanism))
            if entry not in entries:
                self._chain.append(entry)
            else:
                self._chain.confirm()
        return Charge(mechanism, plan, release, coins, seal, _used=self._used(release, coins, attempt))

    def _used(self, release: str, coins: Coins, attempt: object) -> set[int]:
        place = (self.path.resolve(), release, coins.fingerprint)
        if place not in _ATTEMPTS or _ATTEMPTS[place][0] is not attempt:
            _ATTEMPTS[place] = (attempt, set())
        return _ATTEMPTS[place][1]

    def _afford(
        self, plan: Plan, name: str, entries: list[dict], release: str, lineage: Sequence[str], coins: Coins | None
    ) -> Mechanism:
        """The plan's mechanism, if what stands in the ledger leaves budget for it; refusals as of `charge`."""
        mechanism = plan.mechanism(name)
        if canonical(plan.private) != self._set:
            raise ValueError(f"{self.path} is the ledger of {self.private}, the plan is for {plan.private}")
        stated = statement(mechanism)
        drawn = opened(entries, [release])
        under = [e for e in drawn if coins and e["coins"] == coins.fingerprint]
        if under and under[0]["mechanism"] != stated:
            raise ValueError(
                f"{self.path} says that this release was begun under another mechanism than the plan's {name} "
                f"({under[0]['mechanism']}): it is not this run's to continue; nothing was touched"
            )
        earlier = [e for e in drawn if e not in under]
        before = opened(entries, lineage)
        paid = [e["mechanism"] for e in before]  # all else that the plan names, it still has to pay for
        ahead = [m for m in plan.mechanisms if m.name == name or statement(m) not in paid]
        total = accounting.epsilon([*(from_statement(e["mechanism"]) for e in (*before, *earlier)), *ahead], plan.delta)
        if total > plan.epsilon:
            again = "; it was drawn before, and its coins are gone"
            raise BudgetError(
                f"with {name} this run would come to epsilon={total:.6g} at delta={plan.delta:g}, "
                f"its budget is epsilon={plan.epsilon:g}{again if earlier else ''}; nothing was touched"
            )
        return mechanism

    def settle(self, release: str) -> None:
        """The artifact stands: close the entry and destroy the key. Does nothing the second time."""
        with self._locked():
            entries = self.entries()
            for entry in opened(entries, [release]):
                closing = {"close": release, "coins": entry["coins"]}
                if closing not in entries:
                    self._chain.append(closing)
                _ATTEMPTS.pop((self.path.resolve(), release, entry["coins"]), None)
            self._keys.destroy(release)

    def epsilon(self, delta: float, lineage: Sequence[str] | None = None, *, replace: bool = False) -> float:
        """Composition of the releases in `lineage`, or of all that was ever released from the set."""
        entries = opened(self.entries(), lineage)
        return accounting.epsilon([from_statement(e["mechanism"]) for e in entries], delta, replace=replace)

    def missing(self, copy: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What a copy of this ledger, taken to another machine and back, has after the last entry here.

        Raises:
            ValueError: each has entries that the other has not; and as `entries`.
        """
        shared = min(len(entries := self.entries()), len(copy))
        if entries[:shared] != copy[:shared]:
            raise ValueError(
                f"{self.path} and the copy both have entries that the other has not: the set was asked in two places, "
                "and one order of both is nowhere written down; keep them apart, each in a DPSYNTH_ROOT of its own"
            )
        return copy[shared:]

    def extend(self, copy: list[dict[str, Any]]) -> int:
        """Add what a copy has after the last entry here, and say how many entries these are; raises as `missing`."""
        with self._locked():
            for each in (added := self.missing(copy)):
                self._chain.append(each)
        return len(added)

    def _coins(self, name: str, release: str, entries: list[dict]) -> Coins | None:
        """The coins that the release was begun with, or is to have; None if new ones are to be drawn."""
        if self.noise == "seeded":
            return seeded(self.seed, self._set, name)
        coins, *_ = self._keys.read(release)
        drawn = coins and any(e["coins"] == coins.fingerprint for e in opened(entries, [release]))
        # Of a key that no entry of this release names, nothing was drawn yet; of a closed entry's, nothing may be drawn
        # any more.
        return coins if drawn and {"close": release, "coins": coins.fingerprint} not in entries else None

    def _sealed(self, release: str, coins: Coins, private: Any, made_by: str) -> str:
        """The seal, if records and code are those it was begun with: one noise on two answers tells them apart."""
        if self.noise == "seeded" or private is None:
            return ""
        _, seal, begun_by = self._keys.read(release)
        if begun_by != coins.seal(made_by.encode()):
            raise ValueError(
                f"a release of {self.private} was begun by other code, from other inputs or on another machine, and "
                "killed: under its noise this one's answer would tell the difference. Finish it with what it was begun "
                "by, or give it up, which counts: another seed and one more in releases:; nothing was touched"
            )
        if seal != private.seal(coins):
            raise ValueError(
                f"the records of {self.private} are not those that this release was begun with; put them back, or give "
                "the changed set a path of its own, with a ledger of its own; nothing was touched"
            )
        return seal.hex()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_suffix(".lock")
        with locked(lock):
            try:
                yield
            finally:
                if self.noise == "secret":
                    head, keys = self._chain.head, self._keys.folder
                    written = (lock, self.path, head, self.path.parent, keys, head.parent)
                    forget_times(*(path for path in written if path.exists()))


def opened(entries: list[dict[str, Any]], lineage: Sequence[str] | None) -> list[dict[str, Any]]:
    """The opening entries of the releases in `lineage` (all if None), each draw once."""
    mine = [e for e in entries if "open" in e and (lineage is None or e["open"] in lineage)]
    return list({(e["open"], e["coins"]): e for e in mine[::-1]}.values())[::-1]  # the first: none later lowers it
