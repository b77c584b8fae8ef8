"""The ledger: what was ever asked of a private set, written before it is asked.

One append-only file a private set, outside build/. An entry opens before the touch and is forced to disk; a run that
was killed finds its entry, redraws the same coins, and adds nothing. The key of the coins lies beside it until the
artifact stands, and is then destroyed. Each line carries a digest of all lines up to it, so that a line edited, added
or taken out by hand is noticed (lines cut off at the end are not: certificates then lack entries, and are refused).
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dpsynth.privacy import accounting
from dpsynth.privacy.coins import Coins
from dpsynth.privacy.mechanisms import Mechanism, from_statement, statement
from dpsynth.privacy.plan import BudgetError, Plan


@dataclasses.dataclass(frozen=True)
class Charge:
    """The ledger has an entry for one mechanism of the plan, all its steps: what a verb asks for."""

    mechanism: Mechanism
    plan: Plan
    release: str
    coins: Coins
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
    """A private set's name, however its path is spelt: one folder has one ledger, and one identity."""
    scheme, colon, path = name.partition(":")
    return f"folder:{Path(path).expanduser().resolve()}" if scheme == "folder" and colon else name


class Ledger:
    """The ledger of one private set.

    Args:
        folder: where ledgers lie.
        private: name of the private set; becomes the file's name.
        noise: "secret", or "seeded" with `seed`, which publishes the coins: a reproduction, not a release.
    """

    def __init__(self, folder: Path, private: str, noise: str, seed: int):
        if noise not in ("secret", "seeded"):
            raise ValueError(f"Expected noise={noise!r} to be 'secret' or 'seeded'")
        self.private, self.noise, self.seed = private, noise, seed
        digest = hashlib.sha256(canonical(private).encode()).hexdigest()[:12]
        name = private if private.isidentifier() else f"folder-{digest}"
        self.path, self._keys = folder / f"{name}.jsonl", folder / "keys"

    @property
    def identity(self) -> str:
        """For lineage: which coins a release gets."""
        return f"{self.noise} coins" + (f" of seed {self.seed}" if self.noise == "seeded" else "")

    def entries(self) -> list[dict[str, Any]]:
        """All entries, oldest first. A last line torn by a crash was never acted on, and is left out.

        Raises:
            ValueError: a line that is not an entry, or whose digest does not follow from the lines up to it.
        """
        return [entry for entry, _ in self._chain()]

    def charge(self, plan: Plan, name: str, release: str, lineage: Sequence[str]) -> Charge:
        """Open (or find open) the entry for `release` under the plan's mechanism `name`.

        Args:
            release: digest of the artifact that will hold the release.
            lineage: digests of the artifacts it is made from, whose releases count towards the same budget.
        Raises:
            BudgetError: the lineage, earlier draws of this release, this mechanism and those of the plan that are not
                in the lineage would together cost more than the plan's epsilon.
            ValueError: the release was begun under another mechanism, or the plan is for another private set.
        """
        mechanism = plan.mechanism(name)
        if canonical(plan.private) != canonical(self.private):
            raise ValueError(f"{self.path} is the ledger of {self.private}, the plan is for {plan.private}")
        with self._locked():
            entries, coins = self.entries(), Coins(self._key(release))
            if self.noise == "secret" and {"close": release, "coins": coins.fingerprint} in entries:
                self._destroy_key(release)  # a crash left it beside a closed entry; what is drawn now is a new draw
                coins = Coins(self._key(release))
            entry = dict(open=release, coins=coins.fingerprint, noise=self.noise, mechanism=statement(mechanism))
            earlier = [e for e in opened(entries, [release]) if e != entry]
            try:
                self._afford(plan, name, opened(entries, lineage), earlier, coins)
            except BudgetError:
                if entry not in entries:  # else it is the key of a release that another plan pays for
                    self._destroy_key(release)
                raise
            if entry not in entries:
                self._append(entry)
        return Charge(mechanism, plan, release, coins)

    def _afford(self, plan: Plan, name: str, lineage: list[dict], earlier: list[dict], coins: Coins) -> None:
        """Refuse a touch that the lineage's entries and this release's `earlier` ones leave no budget for."""
        if begun := [e for e in earlier if e["coins"] == coins.fingerprint]:
            raise ValueError(
                f"{self.path} says that this release was begun under another mechanism than the plan's {name} "
                f"({begun[0]['mechanism']}): it is not this run's to continue; nothing was touched"
            )
        before = [from_statement(e["mechanism"]) for e in (*lineage, *earlier)]
        stated = [e["mechanism"] for e in lineage]  # all else that the plan names, it still has to pay for
        ahead = [m for m in plan.mechanisms if m.name == name or statement(m) not in stated]
        total = accounting.epsilon([*before, *ahead], plan.delta)
        if total > plan.epsilon:
            again = "; it was drawn before, and its coins are gone" if earlier else ""
            raise BudgetError(
                f"with {name} this run would come to epsilon={total:.6g} at delta={plan.delta:g}, "
                f"its budget is epsilon={plan.epsilon:g}{again}; nothing was touched"
            )

    def settle(self, release: str) -> None:
        """The artifact stands: close the entry and destroy the key. Does nothing the second time."""
        with self._locked():
            entries = self.entries()
            for entry in opened(entries, [release]):
                closing = {"close": release, "coins": entry["coins"]}
                if closing not in entries:
                    self._append(closing)
            self._destroy_key(release)

    def epsilon(self, delta: float, lineage: Sequence[str] | None = None, *, replace: bool = False) -> float:
        """Composition of the releases in `lineage`, or of all that was ever released from the set."""
        entries = opened(self.entries(), lineage)
        return accounting.epsilon([from_statement(e["mechanism"]) for e in entries], delta, replace=replace)

    def _destroy_key(self, release: str) -> None:
        key, dead = self._keys / f"{release}.key", self._keys / f"{release}.dead"
        if key.exists():
            os.replace(key, dead)  # first, so that a crash never leaves an overwritten key in place
        if dead.exists():
            with open(dead, "r+b") as file:  # in place: a truncated file would get other blocks of the disk
                file.write(bytes(dead.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            dead.unlink()
            _sync(self._keys)

    def _key(self, release: str) -> bytes:
        if self.noise == "seeded":
            return hashlib.sha256(f"dpsynth seeded coins {self.seed} {release}".encode()).digest()
        self._keys.mkdir(exist_ok=True, mode=0o700)
        path = self._keys / f"{release}.key"
        if path.exists():
            if path.stat().st_mode & 0o077:
                raise PermissionError(f"{path} can be read by others: the coins of this release are not secret")
            return path.read_bytes()
        aside = path.with_suffix(".tmp")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        _sync(self._keys)
        return path.read_bytes()

    def _chain(self) -> list[tuple[dict[str, Any], str]]:
        """Each entry with its digest, verified."""
        *lines, torn = self.path.read_text().split("\n") if self.path.exists() else [""]
        chain, digest = [], ""
        with contextlib.suppress(ValueError):
            json.loads(torn)
            lines.append(torn)
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                stated = entry.pop("digest")
            except (ValueError, KeyError, AttributeError, TypeError):
                raise ValueError(f"{self.path}:{number} is not a ledger entry; restore the file") from None
            digest = _digest(digest, entry)
            if stated != digest:
                raise ValueError(
                    f"{self.path}:{number} was edited by hand: its digest does not follow from the lines up to it; "
                    "restore the file"
                )
            chain.append((entry, digest))
        return chain

    def _append(self, entry: dict[str, Any]) -> None:
        chain = self._chain()
        line = json.dumps({**entry, "digest": _digest(chain[-1][1] if chain else "", entry)}, sort_keys=True)
        whole = b"\n".join(self.path.read_bytes().split(b"\n")[: len(chain)]) if chain else b""
        with open(self.path, "ab") as file:
            file.truncate(len(whole))  # what a crash tore was never acted on
            file.write(b"\n" * bool(chain) + line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _sync(self.path.parent)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_suffix(".lock"), "w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _digest(before: str, entry: dict[str, Any]) -> str:
    return hashlib.sha256(f"{before} {json.dumps(entry, sort_keys=True)}".encode()).hexdigest()[:32]


def _sync(folder: Path) -> None:
    """Force a folder's entries to disk: a new file may else vanish with the power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def opened(entries: list[dict[str, Any]], lineage: Sequence[str] | None) -> list[dict[str, Any]]:
    """The opening entries of the releases in `lineage` (all if None), each draw once."""
    found = {(e["open"], e["coins"]): e for e in entries if "open" in e and (lineage is None or e["open"] in lineage)}
    return list(found.values())
