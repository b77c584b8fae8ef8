"""How noisy each touch is to be, so that a plan costs what its user asks for.

Nothing here is trusted: a plan whose noise is too small costs more than its epsilon, and the ledger refuses the touch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from dpsynth.privacy import BudgetError, Counts, Plan, accounting
from dpsynth.privacy.mechanisms import Mechanism

LEAST, MOST = 0.01, 1e7  # noise multipliers that a calibration considers
TOLERANCE = 1e-3  # how far below epsilon a calibrated plan may end, as a share of it


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
        noise = _enough(learner, queries, epsilon, delta, LEAST)
    except ValueError as error:
        beside = f" beside {names} (epsilon={alone:.4g})" if queries else ""
        raise BudgetError(f"{learner.name} has no budget left{beside}: {error}; raise epsilon or the noise") from None
    plan = Plan(private, n_records, epsilon, delta, (*queries, replace(learner, noise_multiplier=noise)))
    if noise <= LEAST and (spent := plan.spent()) < epsilon * (1 - TOLERANCE):
        raise BudgetError(
            f"epsilon={epsilon:g} cannot be spent: at the least noise multiplier considered, {LEAST:g}, all "
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
    roomier = replace(gradients, noise_multiplier=1.05 * _enough(gradients, [], epsilon, delta, LEAST))
    if accounting.epsilon([least, roomier], delta) <= epsilon:
        return 4.0
    return _enough(least, [roomier], epsilon, delta, 4.0)


def _enough(like: Mechanism, beside: list[Mechanism], epsilon: float, delta: float, low: float) -> float:
    def cost(s: float, rough: bool = False) -> float:
        return accounting.epsilon([*beside, replace(like, noise_multiplier=s)], delta, rough=rough)

    guess = smallest_noise(lambda s: cost(s, rough=True), epsilon, tolerance=10 * TOLERANCE, low=low)
    return smallest_noise(cost, epsilon, tolerance=TOLERANCE, low=low, start=guess, stride=1.02)


def smallest_noise(
    cost: Callable[[float], float], target: float, *, tolerance: float, low: float = LEAST, start: float = 1.0,
    stride: float = 4.0,
) -> float:  # fmt: skip
    """The smallest noise multiplier s >= low, to within what keeps epsilon in [target (1 - tolerance), target].

    Where even `low` costs less than that, it is `low`.

    Args:
        cost: epsilon as a decreasing function of s; start: where to begin; stride: factor of the steps from there.
    Raises:
        ValueError: no s up to MOST stays within `target`.
    """
    costs, s = {}, max(low, start)
    while True:
        costs[s] = cost(s)
        enough = min((s for s, spent in costs.items() if spent <= target), default=math.inf)
        if enough < math.inf and (costs[enough] >= target * (1 - tolerance) or enough <= low):
            return enough
        little = max((s for s, spent in costs.items() if spent > target), default=0.0)
        if little > MOST:
            raise ValueError(f"no noise multiplier up to {MOST:g} stays within epsilon={target:g}")
        if enough <= little * (1 + 1e-9):  # the cost jumps here
            return enough
        if enough == math.inf:
            s = stride * little
        elif little == 0:
            s = max(low, enough / stride)
        else:
            s = little * (enough / little) ** _share(costs, little, enough, target * (1 - tolerance / 2))


def _share(costs: dict[float, float], little: float, enough: float, aim: float) -> float:
    """How far to go from the noise that is too little to the one that is enough: by turns to where a power law through
    both meets `aim`, and half."""
    if len(costs) % 2 or not 0 < costs[enough] < costs[little] < math.inf:
        return 0.5
    return math.log(costs[little] / aim) / math.log(costs[little] / costs[enough])
