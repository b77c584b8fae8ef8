"""The plan: everything private that a run will do, frozen before the first touch."""

import dataclasses
import math
from typing import Any

from dpsynth.privacy import accounting
from dpsynth.privacy.mechanisms import Mechanism, statement


class BudgetError(ValueError):
    """Raised before a touch that the budget does not cover."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Public constants of a run: whose records, the budget, and each mechanism with its noise.

    Fields:
        private, n_records: the private set and its declared size, a public constant.
        epsilon, delta: the budget; epsilon inf means that the learner has no mechanism: the run is not private.
        mechanisms: in the order of the touches.
    """

    private: str
    n_records: int
    epsilon: float
    delta: float
    mechanisms: tuple[Mechanism, ...]

    @property
    def is_private(self) -> bool:
        """False for the non-private twin."""
        return math.isfinite(self.epsilon)

    def mechanism(self, name: str) -> Mechanism:
        """The mechanism of that name; KeyError names those there are."""
        for mechanism in self.mechanisms:
            if mechanism.name == name:
                return mechanism
        raise KeyError(f"the plan has no mechanism {name!r}; it has {[m.name for m in self.mechanisms]}")

    def spent(self, steps: int | None = None) -> float:
        """Epsilon of the whole plan, or with only the first `steps` steps of its last touch, the learner's."""
        if not self.is_private:
            return math.inf
        *done, learner = self.mechanisms
        if steps != 0:
            done.append(learner if steps is None else dataclasses.replace(learner, steps=min(steps, learner.steps)))
        return accounting.epsilon(done, self.delta)

    def statement(self) -> dict[str, Any]:
        """The plan as plain data, as certificates print it."""
        constants = {"private": self.private, "n_records": self.n_records, "delta": self.delta}
        constants["epsilon_target"] = self.epsilon if self.is_private else "none: not private"
        return constants | {"adjacency": accounting.ADJACENCY, "mechanisms": [statement(m) for m in self.mechanisms]}
