"""What a list of mechanisms costs: the accountant of record, and the others that must agree with it.

Of record: privacy loss distributions (`dp-accounting`), pessimistic, neighbouring by adding or removing one record.
Beside it: the replace-one figure, Opacus's PRV and RDP, and the classic RDP conversion that the papers print.
"""

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.pld.pld_pmf import DensePLDPmf
from dp_accounting.privacy_accountant import NeighboringRelation

from dpsynth.privacy.mechanisms import Counts, Mechanism

ADJACENCY = "add or remove one record"
ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64)) + list(range(64, 2048, 64))
LEAST, MOST = 0.01, 1e7  # noise multipliers that a calibration considers
SETTLED = 1e-2  # change of epsilon, from one width of the buckets to a quarter of it, at which the finer one stands:
# what is left is a fifteenth of that, as the error goes with the square of the width
FINEST = 2**20  # buckets that a composition may take, about: past that it stands as it is, on the safe side
PRV_EPSILON, PRV_STEPS = 300.0, 50_000  # beyond either, Opacus's PRV takes gigabytes
FAR = 500.0  # epsilon beyond which it is read from the losses themselves
ROUNDING = 1e-16  # what floating point may take from delta, for each release that is composed


def epsilon(
    mechanisms: Sequence[Mechanism], delta: float, *, replace: bool = False, rough: bool = False
) -> float:  # fmt: skip
    """Epsilon at `delta` of the composition of `mechanisms` by privacy loss distributions; 0 for none.

    Losses are counted in buckets, on the safe side, as wide as the composition's own scale allows, and finer until the
    figure settles. A function of its arguments alone.

    >>> round(epsilon([Counts("query", votes=5, noise_multiplier=4.0)], 1e-5), 2)  # what such a query costs alone
    0.93

    Args:
        replace: neighbouring by replacing one record instead of adding or removing one.
        rough: in the widest buckets, quickly: some percent above.
    Raises:
        ValueError: delta is finer than floating point can certify for so many releases.
    """
    if not mechanisms:
        return 0.0
    delta = certified(mechanisms, delta, replace)
    interval = _width(mechanisms, replace)
    spent, finer = math.inf, _composed(mechanisms, delta, replace, interval)
    while not rough and finer < spent * (1 - SETTLED) and _buckets(mechanisms, replace, interval / 4) < FINEST:
        interval /= 4
        spent, finer = finer, min(finer, _composed(mechanisms, delta, replace, interval))
    return finer


def certified(mechanisms: Sequence[Mechanism], delta: float, replace: bool = False) -> float:
    """`delta` less what floating point may take from it in so many compositions.

    Raises:
        ValueError: that is half of it or more.
    """
    left = delta - ROUNDING * sum(_repeats(m, replace) for m in mechanisms)
    if left < delta / 2:
        raise ValueError(f"delta={delta:g} is finer than floating point can certify over so many releases: raise it")
    return left


def _composed(mechanisms: Sequence[Mechanism], delta: float, replace: bool, interval: float) -> float:
    in_order = sorted(mechanisms, key=repr)  # sums in floating point depend on it
    losses = [_loss(mechanism, replace, interval) for mechanism in in_order]
    composed = functools.reduce(lambda a, b: a.compose(b), losses)
    with np.errstate(over="ignore"):
        spent = composed.get_epsilon_for_delta(delta)
    if spent < FAR:
        return spent
    # dp-accounting sums exp(-loss), which underflows near 745, and may answer infinity below that.
    return max(_far(pmf.to_dense_pmf(), delta) for pmf in (composed._pmf_remove, composed._pmf_add))


def _far(pmf: DensePLDPmf, delta: float) -> float:
    """The epsilon at which delta(epsilon) = P(infinity) + E[(1 - exp(epsilon - loss))_+] comes down to `delta`."""
    losses = (pmf._lower_loss + np.arange(len(pmf._probs))) * pmf._discretization
    low, high = 0.0, float(losses[-1])
    if pmf._infinity_mass > delta:
        return math.inf
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        first = np.searchsorted(losses, middle)
        left = pmf._infinity_mass - pmf._probs[first:] @ np.expm1(middle - losses[first:])
        low, high = (low, middle) if left <= delta else (middle, high)
    return high


def _repeats(mechanism: Mechanism, replace: bool) -> int:
    """How many independent losses a mechanism is: a count that moves by one is one, and so is a step of DP-SGD."""
    return mechanism.steps * (mechanism.votes * (2 if replace else 1) if isinstance(mechanism, Counts) else 1)


def _deviation(mechanism: Mechanism, replace: bool) -> float:
    """About the standard deviation of one such loss."""
    if isinstance(mechanism, Counts):
        return 1 / mechanism.scale
    noise = mechanism.noise_multiplier / (2 if replace else 1)
    rare = mechanism.sample_rate * math.sqrt(math.expm1(min(noise**-2, 700.0)))
    return min(rare, 1 / noise)


def _width(mechanisms: Sequence[Mechanism], replace: bool) -> float:
    """Width of a bucket to begin with: two fifths of the composed deviation, spread over the losses; a power of 2, so
    that what was computed at it is found again."""
    variance = sum(_repeats(m, replace) * _deviation(m, replace) ** 2 for m in mechanisms)
    width = 2.0 ** math.floor(math.log2(0.4 * math.sqrt(variance / sum(_repeats(m, replace) for m in mechanisms))))
    while _buckets(mechanisms, replace, width) > FINEST:
        width *= 2
    return width


def _buckets(mechanisms: Sequence[Mechanism], replace: bool, interval: float) -> float:
    """How many buckets the composition takes, about."""
    variance = sum(_repeats(m, replace) * _deviation(m, replace) ** 2 for m in mechanisms)
    one = (m.noise_multiplier**-1 * (2 if replace else 1) for m in mechanisms if not isinstance(m, Counts))
    return (20 * math.sqrt(variance) + max((x * x + 20 * x for x in one), default=0.0)) / interval


@functools.lru_cache(maxsize=64)
def _loss(mechanism: Mechanism, replace: bool, interval: float) -> pld.PrivacyLossDistribution:
    if isinstance(mechanism, Counts):
        # A count that moves by 1 under noise `scale` is one coordinate; draws are independent, so coordinates compose.
        return _count_moved(mechanism.scale, interval).self_compose(_repeats(mechanism, replace))
    step = _gaussian_step(mechanism.noise_multiplier, mechanism.sample_rate, replace, interval)
    return step.self_compose(mechanism.steps)


@functools.lru_cache(maxsize=16)
def _count_moved(scale: float, interval: float) -> pld.PrivacyLossDistribution:
    return pld.from_discrete_gaussian_mechanism(
        scale, 1, value_discretization_interval=interval, use_connect_dots=True
    )  # fmt: skip


@functools.lru_cache(maxsize=16)  # the costly part, the same for any number of steps
def _gaussian_step(noise: float, rate: float, replace: bool, interval: float) -> pld.PrivacyLossDistribution:
    # In units of the bound on one record's part. That part is what dp-accounting means by sensitivity, under
    # replace-one as well, where the sum moves by twice that.
    relation = NeighboringRelation.REPLACE_ONE if replace else NeighboringRelation.ADD_OR_REMOVE_ONE
    return pld.from_gaussian_mechanism(
        noise, sensitivity=1, value_discretization_interval=interval, sampling_prob=rate,
        neighboring_relation=relation,
    )  # fmt: skip


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


def with_noise(mechanism: Mechanism, noise_multiplier: float) -> Mechanism:
    """`mechanism` with another noise multiplier."""
    return dataclasses.replace(mechanism, noise_multiplier=noise_multiplier)
