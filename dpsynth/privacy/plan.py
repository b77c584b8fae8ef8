"""The plan: everything private that a run will do, frozen before the first touch."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from dpsynth.privacy import accounting
from dpsynth.privacy.mechanisms import Counts, Mechanism, statement

TOLERANCE = 1e-3  # how far below epsilon a calibrated plan may end, as a share of it


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
        constants = {"private": self.private, "n_records": self.n_records, "delta": self.delta}
        constants["epsilon_target"] = self.epsilon if self.is_private else "none: not private"
        return constants | {"adjacency": accounting.ADJACENCY, "mechanisms": [statement(m) for m in self.mechanisms]}


def make_plan(private: str, n_records: int, epsilon: float, delta: float, touches: Sequence[Mechanism]) -> Plan:
    """Calibrate the noise of the last touch, the learner's, so that all together cost at most (epsilon, delta).

    The cost comes within 0.1 percent of epsilon and never above it. The touches before it keep their noise.

    Raises:
        BudgetError: the touches before the last cost epsilon or more, or leave nothing to learn with; or epsilon is
            more than all together can spend. ValueError: delta is finer than floating point can certify.
    """
    if not epsilon < math.inf:
        return Plan(private, n_records, epsilon, delta, tuple(touches[:-1]))  # what comes before the learner is noisy
    accounting.certified(touches, delta, replace=True)  # which its certificate will state too
    *queries, learner = touches
    alone = accounting.epsilon(queries, delta)
    names = " and ".join(f"{m.name} at noise multiplier {m.noise_multiplier:g}" for m in queries)
    if alone >= epsilon:
        raise BudgetError(
            f"{names} alone costs epsilon={alone:.4g}, the whole budget is epsilon={epsilon:g} at delta={delta:g}: "
            "raise the query's noise or the budget"
        )
    try:
        noise = _enough(learner, queries, epsilon, delta, accounting.LEAST)
    except ValueError as error:
        beside = f" beside {names} (epsilon={alone:.4g})" if queries else ""
        raise BudgetError(f"{learner.name} has no budget left{beside}: {error}; raise epsilon or the noise") from None
    plan = Plan(private, n_records, epsilon, delta, (*queries, accounting.with_noise(learner, noise)))
    if noise <= accounting.LEAST and (spent := plan.spent()) < epsilon * (1 - TOLERANCE):
        raise BudgetError(
            f"epsilon={epsilon:g} cannot be spent: at the least noise multiplier considered, {accounting.LEAST:g}, all "
            f"touches together cost epsilon={spent:.4g} at delta={delta:g}; ask for no more than that, or raise the "
            "sampling rate or the steps"
        )
    return plan


def query_noise(votes: int, gradients: Mechanism, epsilon: float, delta: float) -> float:
    """The noise multiplier of a histogram that costs the learner at most 5 percent more noise, and no less than 4.

    With sigma0 calibrated without a query, the smallest s for which (s, 1.05 sigma0) stays within
    epsilon. A rule on public constants; the papers fix 484 (CIFAR-10) and 5,300 (CelebA) instead.
    """
    if math.isinf(epsilon):
        return 4.0
    least = Counts("query", votes, 4.0)
    roomier = accounting.with_noise(gradients, 1.05 * _enough(gradients, [], epsilon, delta, accounting.LEAST))
    if accounting.epsilon([least, roomier], delta) <= epsilon:
        return 4.0
    return _enough(least, [roomier], epsilon, delta, 4.0)


def _enough(like: Mechanism, beside: list[Mechanism], epsilon: float, delta: float, low: float) -> float:
    def cost(s: float, rough: bool = False) -> float:
        return accounting.epsilon([*beside, accounting.with_noise(like, s)], delta, rough=rough)

    guess = accounting.smallest_noise(lambda s: cost(s, rough=True), epsilon, tolerance=10 * TOLERANCE, low=low)
    return accounting.smallest_noise(cost, epsilon, tolerance=TOLERANCE, low=low, start=guess, stride=1.02)
