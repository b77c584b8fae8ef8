"""What epsilon means: how well an attacker can do who sees all that was released.

The attacker of the definition knows every other record and wants to know whether one given record was among the
private ones. Nobody in practice knows as much; what bounds this attacker bounds all.
"""

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dpsynth.privacy import accounting
from dpsynth.privacy.mechanisms import Mechanism, from_statement

FALSE_ALARMS = (0.001, 0.01)  # shares of absent records that an attacker may take for present ones
SAYS_NOTHING = 0.99  # a success from which its bound is no comfort
CLOSE = 2.0**-9  # how closely delta at epsilon 0 is sought: a tenth of a guess in 100
DELTAS = (1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5)  # beside its own, at which a composition is priced
PROMISED = "Attacks that were measured do far less, but that is no promise; these bounds are."
NOT_PROMISED = (
    "These are bounds for the same run with secret noise. This one's follows from a published seed: who draws it again "
    "is bound by none of them."
)
FAR = 50.0  # epsilon beyond which the exact figures say nothing either, and are not computed


def success(epsilon: float, delta: float) -> float:
    """Share of right guesses, at most, of whether a record was in, where it was with probability one half.

    That of the worst of all (epsilon, delta)-private mechanisms (Kairouz et al. 2015).

    >>> [round(success(epsilon, 1e-5), 4) for epsilon in (0.0, 1.0, 10.0)]
    [0.5, 0.7311, 1.0]
    """
    return (1 + delta * math.exp(-epsilon)) / (1 + math.exp(-epsilon))


def detection(epsilon: float, delta: float, false_alarms: float) -> float:
    """Share of present records that are found, at most, where so many absent ones are taken for present.

    The trade-off of all (epsilon, delta)-private mechanisms (Kairouz et al. 2015; Dong et al. 2022, Section 2).

    >>> round(detection(1.0, 1e-5, 0.01), 4)
    0.0272
    """
    exponent = min(epsilon, 700.0)
    return min(1.0, math.exp(exponent) * false_alarms + delta, 1 - math.exp(-exponent) * (1 - delta - false_alarms))


def exact_success(mechanisms: Sequence[Mechanism], replace: bool = False) -> float:
    """Share of right guesses, at most, against this very composition: (1 + TV) / 2.

    TV, the total variation between the two worlds, is delta at epsilon 0, sought by halves with the accountant of
    record and rounded up: at most a tenth of a guess in 100 too high.

    Args:
        replace: the attacker tells one record from another instead of present from absent.
    """
    return _exact_success(tuple(mechanisms), replace)


@functools.lru_cache(maxsize=64)
def _exact_success(mechanisms: tuple[Mechanism, ...], replace: bool) -> float:
    low, high = 0.0, 1.0
    while high - low > CLOSE:
        middle = (low + high) / 2
        low, high = (low, middle) if accounting.epsilon(mechanisms, middle, replace=replace) == 0 else (middle, high)
    return (1 + high) / 2


def exact_detection(mechanisms: Sequence[Mechanism], delta: float, false_alarms: float) -> float:
    """Share of present records that are found, at most, against this composition, priced at several deltas.

    Each of its pairs (epsilon, delta) bounds it, so the least does (Dong et al. 2022, Section 2).
    """
    pairs = _pairs(tuple(mechanisms), delta)
    return min(detection(epsilon, each, false_alarms) for epsilon, each in pairs)


@functools.lru_cache(maxsize=64)
def _pairs(mechanisms: tuple[Mechanism, ...], delta: float) -> list[tuple[float, float]]:
    return [(accounting.epsilon(mechanisms, each), each) for each in (delta, *DELTAS)]


def words(certificate: Mapping[str, Any]) -> list[str]:
    """What the epsilon of a certificate buys an attacker, in sentences; none for a run without privacy.

    They are computed when shown, from what the certificate lists: no file holds them.
    """
    if not certificate.get("releases"):
        return []
    mechanisms = [from_statement(entry["mechanism"]) for entry in certificate["releases"]]
    epsilon, delta = certificate["epsilon"], certificate["delta"]
    sentences = [brief(mechanisms, epsilon, delta)]
    if epsilon <= FAR:
        found = [_of_100(exact_detection(mechanisms, delta, share)) for share in FALSE_ALARMS]
        sentences.append(
            f"Of 100 records that were among them it finds at most {found[0]}, if it may take 1 in 1,000 others for "
            f"one of them; {found[1]}, if 1 in 100."
        )
    alone = success(epsilon, delta)
    sentences.append(
        f"By epsilon {epsilon:.4g} and delta alone, of whatever method, it would be {_of_100(alone)} times of 100"
        + (": a bound that says almost nothing." if alone > SAYS_NOTHING else ".")
    )
    secret = all(entry.get("noise") == "secret" for entry in certificate["releases"])
    sentences.append(PROMISED if secret else NOT_PROMISED)
    return sentences


def brief(mechanisms: Sequence[Mechanism], epsilon: float, delta: float) -> str:
    """The first of these sentences: the attacker's best success, by both relations."""
    bound, by_replacing = (right_guesses(mechanisms, epsilon, delta, replace) for replace in (False, True))
    return (
        "An attacker who knows all other records and sees all that was released guesses right, whether a given record "
        f"was among them, at most {bound} times of 100; which of two records was, {by_replacing}; by chance, 50."
    )


def right_guesses(mechanisms: Sequence[Mechanism], epsilon: float, delta: float, replace: bool = False) -> str:
    """Right guesses of 100, at most, as text: of this composition or, past `FAR`, by add-or-remove epsilon alone.

    >>> from dpsynth.privacy import Counts
    >>> right_guesses([Counts("query", votes=5, noise_multiplier=4.0)], 0.93, 1e-5)
    '55.0'
    """
    if epsilon > FAR:
        return _of_100(1.0 if replace else success(epsilon, delta))
    return _of_100(exact_success(mechanisms, replace))


def table(delta: float = 1e-5) -> pd.DataFrame:
    """Epsilon against an attacker's success, of 100: of any method, and of one that adds Gaussian noise once."""
    rows = [
        {
            "epsilon": f"{epsilon:g}", "right guesses, any method": _of_100(success(epsilon, delta)),
            "right guesses, one Gaussian release": _of_100(_gaussian_success(epsilon, delta)),
            "found at 1 false alarm in 1,000, any method": _of_100(detection(epsilon, delta, FALSE_ALARMS[0])),
        }
        for epsilon in (0.1, 0.5, 1, 2, 3, 5, 8, 10)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _gaussian_success(epsilon: float, delta: float) -> float:
    """Phi(shift / 2), where the worlds lie `shift` deviations apart, by Theorem 8 of Balle and Wang 2018."""
    cdf, low, high = statistics.NormalDist().cdf, 0.0, 50.0
    while high - low > 1e-9:
        shift = (low + high) / 2
        spent = cdf(shift / 2 - epsilon / shift) - math.exp(epsilon) * cdf(-shift / 2 - epsilon / shift)
        low, high = (low, shift) if spent > delta else (shift, high)
    return cdf(high / 2)


def _of_100(share: float) -> str:
    return f"{math.ceil(1000 * share - 1e-9) / 10:.1f}"
