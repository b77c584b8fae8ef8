"""The audit in one run: honest noise passes, noise turned down is noticed, and the bound is the theorem's."""

import numpy as np
import pytest
from scipy import stats

from dpsynth.report import audit, displays


def test_honest_noise_stands_and_a_tenth_of_it_is_refuted():
    honest, tenth = audit.run(canaries=1000), audit.run(noise=0.1, canaries=1000)
    assert honest.claim == tenth.claim == 1.0 and not honest.refutes and honest.bound < 1
    assert tenth.refutes and tenth.bound > 2 and tenth.correct / tenth.guesses > 0.9
    table = displays.audits([honest, tenth])
    assert list(table["verdict"]) == ["claim stands", "claim refuted"]
    assert list(table.index) == ["1 x planned", "0.1 x planned"]


@pytest.mark.parametrize("guesses,correct", [(10, 10), (100, 75), (500, 400)])
def test_without_delta_the_bound_is_where_the_binomial_tail_meets_the_confidence(guesses, correct):
    epsilon = audit.lower_bound(guesses, correct, canaries=1000, delta=0.0)
    right = 1 / (1 + np.exp(-epsilon))
    assert stats.binom.sf(correct - 1, guesses, right) == pytest.approx(0.05, rel=1e-6)
    assert audit.lower_bound(guesses, correct, canaries=1000, delta=1e-3) < epsilon


def test_guesses_no_better_than_chance_prove_nothing():
    assert audit.lower_bound(100, 50, canaries=100, delta=1e-5) == 0.0
    assert audit.lower_bound(0, 0, canaries=100, delta=1e-5) == 0.0


def test_attackers_who_guess_as_randomised_response_lets_them_are_rarely_above_epsilon():
    """The coverage of the bound, at the mechanism for which it is tight."""
    draws = np.random.default_rng(0)
    epsilon, trials = 1.0, 400
    correct = draws.binomial(200, 1 / (1 + np.exp(-epsilon)), trials)
    refuted = {c for c in set(correct.tolist()) if audit.lower_bound(200, c, canaries=200, delta=0.0) > epsilon}
    above = sum(c in refuted for c in correct.tolist())
    assert stats.binom.sf(above - 1, trials, 0.05) > 1e-3 and above > 0


def test_too_few_canaries_are_refused():
    with pytest.raises(ValueError, match="canaries=39 >= 40"):
        audit.run(canaries=39)
