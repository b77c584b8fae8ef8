"""Leave to ask the private records one question of a plan."""

import json
from dataclasses import dataclass, replace
from typing import Any

from dpsynth import distributed, privacy
from dpsynth.checkpoints import Work
from dpsynth.privacy.mechanisms import Mechanism, statement


@dataclass(frozen=True)
class Permit:
    """Leave to ask the private set under one mechanism of a plan.

    Its identity is the mechanism and the coins alone, so that runs that ask the same question share one release;
    and the releases `earlier` in the plan that nothing else in the question's lineage names.
    """

    plan: privacy.Plan
    ledger: privacy.Ledger
    name: str
    earlier: tuple[Any, ...] = ()

    @property
    def mechanism(self) -> Mechanism:
        return self.plan.mechanism(self.name)

    @property
    def identity(self) -> str:
        releases = [release.identity for release in self.earlier]
        return json.dumps([statement(self.mechanism), self.ledger.identity, releases], sort_keys=True)

    @property
    def lineage(self) -> tuple[str, ...]:
        """Digests of the earlier releases and their ancestors."""
        return tuple(digest for release in self.earlier for digest in release.lineage)

    def charge(self, work: Work, private: privacy.Private) -> privacy.Charge:
        """Open the ledger's entry for the artifact in the making: the last thing before `private` is asked, as what is
        opened counts.

        Rank 0 does. Processes that joined the work get the same coins from it, in memory alone; they have no ledger.

        Raises:
            privacy.BudgetError: its lineage and this question would pass the plan's epsilon; nothing was touched.
        """
        charge = self._opened(work, private) if distributed.rank() == 0 else None
        charge = distributed.from_rank_0(charge)
        return replace(charge, joined=distributed.world() > 1)

    def _opened(self, work: Work, private: privacy.Private) -> privacy.Charge:
        return self.ledger.charge(self.plan, self.name, work.digest, work.lineage, private, attempt=work)
