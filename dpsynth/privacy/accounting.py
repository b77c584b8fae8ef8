"""What a list of mechanisms costs: the accountant of record, and the others that must agree with it.

Of record: privacy loss distributions (`dp-accounting`), pessimistic, neighbouring by adding or removing one record.
Beside it: the replace-one figure, Opacus's PRV and RDP, and the classic RDP conversion that the papers print.
"""

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Sequence

from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.privacy_accountant import NeighboringRelation

from dpsynth.privacy.mechanisms import Counts, Mechanism

ADJACENCY = "add or remove one record"
INTERVAL, COARSE = 1e-4, 1e-3  # width of a privacy-loss bucket, of record and for a first guess; both pessimistic
ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64)) + list(range(64, 2048, 64))


def epsilon(
    mechanisms: Sequence[Mechanism], delta: float, *, replace: bool = False, interval: float = INTERVAL
) -> float:
    """Epsilon at `delta` of the composition of `mechanisms` by privacy loss distributions; 0 for none.

    Args:
        replace: neighbouring by replacing one record instead of adding or removing one.
        interval: width of a privacy-loss bucket; a wider one is quicker, and errs on the safe side.
    """
    if not mechanisms:
        return 0.0
    losses = [_loss(mechanism, replace, interval) for mechanism in mechanisms]
    return functools.reduce(lambda a, b: a.compose(b), losses).get_epsilon_for_delta(delta)


@functools.lru_cache(maxsize=64)
def _loss(mechanism: Mechanism, replace: bool, interval: float) -> pld.PrivacyLossDistribution:
    if isinstance(mechanism, Counts):
        # A count that moves by 1 under noise `scale` is one coordinate; draws are independent, so coordinates compose.
        coordinates = mechanism.votes * (2 if replace else 1)
        return _count_moved(mechanism.scale, interval).self_compose(mechanism.steps * coordinates)
    step = _gaussian_step(mechanism.noise_multiplier, mechanism.sample_rate, replace, interval)
    return step.self_compose(mechanism.steps)


@functools.lru_cache(maxsize=16)
def _count_moved(scale: float, interval: float) -> pld.PrivacyLossDistribution:
    return pld.from_discrete_gaussian_mechanism(scale, 1, value_discretization_interval=interval)


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
    E. The discrete Gaussian counts as the continuous one, whose RDP bounds it (Canonne et al. 2020, Prop. 5).
    """
    from opacus.accountants import PRVAccountant, analysis  # here: most notebooks need not wait for Opacus

    history = [(m.noise_multiplier, m.sample_rate, m.steps) for m in mechanisms]
    divergence = sum(analysis.rdp.compute_rdp(q=q, noise_multiplier=s, steps=n, orders=ORDERS) for s, q, n in history)
    tight, _ = analysis.rdp.get_privacy_spent(orders=ORDERS, rdp=divergence, delta=delta)
    classic = min(d + math.log(1 / delta) / (a - 1) for d, a in zip(divergence, ORDERS, strict=True))
    accountant = PRVAccountant()
    accountant.history = history
    return {"PRV": _prv(accountant, delta), "RDP": float(tight), "RDP, classic": float(classic)}


def _prv(accountant, delta: float) -> float:
    with warnings.catch_warnings():
        # Opacus's PRV sizes its grid by a coarse RDP bound, and may overflow in the grid's tail: it warns of both,
        # and the result is an upper bound all the same.
        warnings.filterwarnings("ignore", message="Optimal order is the largest", category=UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            return float(accountant.get_epsilon(delta))
        except (RuntimeError, ValueError, OverflowError):
            return math.nan


def smallest_noise(
    cost: Callable[[float], float], target: float, *, low: float = 0.02, high: float = 1.0, tolerance: float = 1e-3
) -> float:
    """The smallest noise multiplier s, to within what keeps epsilon in [target (1 - tolerance), target].

    Args:
        cost: epsilon as a decreasing function of s; low: too little noise, or the least to consider; high: a guess.
    Raises:
        ValueError: no s up to 10^5 stays within `target`.
    """
    high = max(high, low)
    while (spent := cost(high)) > target:
        low, high = high, 2 * high
        if high > 1e5:
            raise ValueError(f"no noise multiplier up to 1e5 stays within epsilon={target:g}")
    while spent < target * (1 - tolerance) and high - low > 1e-6 * high:
        middle = math.sqrt(low * high)
        value = cost(middle)
        low, high, spent = (low, middle, value) if value <= target else (middle, high, spent)
    return high


def with_noise(mechanism: Mechanism, noise_multiplier: float) -> Mechanism:
    """`mechanism` with another noise multiplier."""
    return dataclasses.replace(mechanism, noise_multiplier=noise_multiplier)
