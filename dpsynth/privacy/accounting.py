"""What a list of mechanisms costs: the accountant of record.

Of record: privacy loss distributions (`dp-accounting`), pessimistic, neighbouring by adding or removing one record.
Beside it: the replace-one figure. Other accountants, which must agree with it, stand in `budget.certificate`.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.pld.pld_pmf import DensePLDPmf
from dp_accounting.privacy_accountant import NeighboringRelation

from dpsynth.privacy.mechanisms import Counts, Mechanism

ADJACENCY = "add or remove one record"
SETTLED = 1e-2  # change of epsilon, from one width of the buckets to a quarter of it, at which the finer one stands:
# what is left is a fifteenth of that, as the error goes with the square of the width
FINEST = 2**20  # buckets that a composition may take, about: past that it stands as it is, on the safe side
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
