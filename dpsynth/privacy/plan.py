"""The plan: everything private that a run will do, frozen before the first touch."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from dpsynth.privacy import accounting
from dpsynth.privacy.mechanisms import Counts, Gradients, Mechanism, statement


class BudgetError(ValueError):
    """Raised before a touch that the budget does not cover."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Public constants of a run: whose records, the budget, and each mechanism with its noise.

    Fields:
        private, n_records: the private set and its declared size, a public constant.
        epsilon, delta: the budget; epsilon inf means a non-private run, without any mechanism.
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

    def spent(self, steps: int | None = None, *, replace: bool = False) -> float:
        """Epsilon of the whole plan, or with only the first `steps` steps of its last touch, the learner's."""
        if not self.is_private:
            return math.inf
        *done, learner = self.mechanisms
        if steps != 0:
            done.append(learner if steps is None else dataclasses.replace(learner, steps=min(steps, learner.steps)))
        return accounting.epsilon(done, self.delta, replace=replace)

    def statement(self) -> dict[str, Any]:
        """The plan as plain data, as certificates print it."""
        said = {"private": self.private, "n_records": self.n_records, "delta": self.delta}
        said["epsilon_target"] = self.epsilon if self.is_private else "none: not private"
        return said | {"adjacency": accounting.ADJACENCY, "mechanisms": [statement(m) for m in self.mechanisms]}


def make_plan(private: str, n_records: int, epsilon: float, delta: float, touches: Sequence[Mechanism]) -> Plan:
    """Calibrate the noise of the last touch, the learner's, so that all together cost at most (epsilon, delta).

    The cost comes within 0.1 percent of epsilon and never above it. The touches before it keep their noise.

    Raises:
        BudgetError: the touches before the last cost epsilon or more, or leave nothing to learn with.
    """
    if not epsilon < math.inf:
        return Plan(private, n_records, epsilon, delta, ())
    *queries, learner = touches
    alone = accounting.epsilon(queries, delta)
    names = " and ".join(f"{m.name} at noise multiplier {m.noise_multiplier:g}" for m in queries)
    if alone >= epsilon:
        raise BudgetError(
            f"{names} alone costs epsilon={alone:.4g}, the whole budget is epsilon={epsilon:g} at delta={delta:g}: "
            "raise the query's noise or the budget"
        )
    try:
        calibrated = _calibrated(learner, queries, epsilon, delta)
    except ValueError as error:
        beside = f" beside {names} (epsilon={alone:.4g})" if queries else ""
        raise BudgetError(f"{learner.name} has no budget left{beside}: {error}; raise epsilon or the noise") from None
    return Plan(private, n_records, epsilon, delta, (*queries, calibrated))


def query_noise(votes: int, gradients: Gradients, epsilon: float, delta: float) -> float:
    """The noise multiplier of a histogram that costs DP-SGD at most 5 percent more noise, and no less than 4.

    With sigma0 calibrated without a query, the smallest s for which (s, 1.05 sigma0) stays within
    epsilon. A rule on public constants; the papers fix 484 (CIFAR-10) and 5,300 (CelebA) instead.
    """
    if math.isinf(epsilon):
        return 4.0
    least, coarse = Counts("query", votes, 4.0), accounting.COARSE
    roomier = accounting.with_noise(gradients, 1.05 * _enough(gradients, [], epsilon, delta, coarse, low=0.3))
    if accounting.epsilon([least, roomier], delta, interval=coarse) <= epsilon:
        return 4.0
    return _enough(least, [roomier], epsilon, delta, coarse, low=4.0, high=8.0)


def _calibrated(like: Mechanism, queries: list[Mechanism], epsilon: float, delta: float) -> Mechanism:
    guess = _enough(like, queries, epsilon, delta, accounting.COARSE, low=0.3)
    exact = _enough(like, queries, epsilon, delta, accounting.INTERVAL, low=0.95 * guess, high=guess)
    return accounting.with_noise(like, exact)


def _enough(like: Mechanism, beside: list[Mechanism], epsilon: float, delta: float, interval: float, **bounds) -> float:
    def cost(s: float) -> float:
        return accounting.epsilon([*beside, accounting.with_noise(like, s)], delta, interval=interval)

    return accounting.smallest_noise(cost, epsilon, **bounds)
