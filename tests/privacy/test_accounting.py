"""Accounting against published or independently computed values (research notes, section 7 of dpsgd.md and 0.4 of
methods.md)."""

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, special

from dpsynth.privacy import Counts, Gradients, accounting

DELTA = 1e-5


def sgd(noise, rate=0.3, steps=150):
    return Gradients("dp_sgd", rate, steps, noise, 1.0, 1, 1.0)


@pytest.mark.parametrize(("noise", "epsilon"), [(2, 1.99), (5, 0.73), (10, 0.34), (20, 0.16)])
def test_a_query_alone_costs_what_the_design_measured(noise, epsilon):
    assert accounting.epsilon([Counts("query", 5, noise)], DELTA) == pytest.approx(epsilon, abs=6e-3)


def test_more_votes_at_one_multiplier_cost_the_same():
    one, five = (accounting.epsilon([Counts("query", k, 6.0)], DELTA) for k in (1, 5))
    assert five == pytest.approx(one, rel=5e-3)


def test_a_wholly_sampled_step_is_the_gaussian_mechanism():
    def analytic_delta(noise, epsilon):  # Balle and Wang 2018, Theorem 8
        def phi(t):
            return 0.5 * math.erfc(-t / math.sqrt(2))

        return phi(0.5 / noise - epsilon * noise) - math.exp(epsilon) * phi(-0.5 / noise - epsilon * noise)

    epsilon = accounting.epsilon([sgd(3.0, rate=1.0, steps=1)], DELTA)
    assert analytic_delta(3.0, epsilon) == pytest.approx(DELTA, rel=0.01)


@pytest.mark.parametrize("noise", [0.02, 0.3, 5.0, 1e3, 1e6])
@pytest.mark.parametrize("steps", [1, 20_000])
def test_whole_sampling_costs_what_the_gaussian_mechanism_does_at_any_scale(noise, steps):
    mu = math.sqrt(steps) / noise
    found = accounting.epsilon([sgd(noise, 1.0, steps)], DELTA)
    if found > 1e-9:
        exact = optimize.brentq(lambda e: _gaussian_delta(mu, e) - DELTA, 0, mu * mu / 2 + 40 * mu)
        assert exact * (1 - 1e-9) <= found <= exact * (1 + 2e-3)
    else:
        assert _gaussian_delta(mu, 0) <= DELTA


def _gaussian_delta(mu, epsilon):  # Balle and Wang 2018, Theorem 8
    below, above = (special.log_ndtr(sign * mu / 2 - epsilon / mu) for sign in (1, -1))
    return math.exp(below) - math.exp(epsilon + above)


@pytest.mark.parametrize(("votes", "noise"), [(1, 0.5), (1, 100.0), (5, 4.0), (400, 0.5), (400, 50.0), (3072, 4.0)])
def test_many_votes_cost_what_a_sum_of_them_does(votes, noise):
    """Against the exact composition: the sum of so many discrete Gaussians, convolved without buckets."""
    scale = noise * math.sqrt(votes)
    exact = _sum_of_counts(votes, scale)
    found = accounting.epsilon([Counts("query", votes, noise)], DELTA)
    assert exact * (1 - 1e-6) <= found <= exact * (1 + 2e-3) + 1e-3 / scale**2


def _sum_of_counts(votes, scale):
    """Epsilon at DELTA of `votes` counts moved by one each: losses are (2 S - votes) / 2 scale^2, S the sum of the
    noise; S has the law of the convolution, here by powers of its Fourier transform."""
    reach = int(12 * scale * math.sqrt(votes)) + votes + 50
    z = np.arange(-reach, reach + 1)
    one = np.exp(-((z / scale) ** 2) / 2)
    law = np.fft.fftshift(np.fft.ifft(np.fft.fft(np.fft.ifftshift(one / one.sum())) ** votes).real).clip(min=0)
    loss = (2 * z + votes) / (2 * scale**2)  # of a record added: S + votes against S

    def delta(epsilon):
        return np.sum(law * np.clip(-np.expm1(epsilon - loss), 0, None))

    return optimize.brentq(lambda e: delta(e) - DELTA, 0, loss.max())


def test_the_order_of_touches_does_not_move_epsilon():
    """A ledger lists them as they came, a plan as they were thought of."""
    touches = [Counts("prior", 1, 6.0), Counts("query", 5, 9.0), sgd(3.0)]
    assert len({accounting.epsilon(order, 1e-10) for order in itertools.permutations(touches)}) == 1


def test_replacing_a_record_moves_twice_as_many_votes():
    for votes in (1, 5):
        counts = Counts("query", votes, 1.0)
        assert counts.sensitivity**2 == pytest.approx(votes)
        assert counts.sensitivity_replace**2 == pytest.approx(2 * votes)


@pytest.mark.parametrize(
    "bad",
    [dict(noise=0.0), dict(noise=math.nan), dict(noise=math.inf), dict(rate=0.0), dict(rate=1.5), dict(steps=0)],
)
def test_senseless_mechanisms_cannot_be_made(bad):
    with pytest.raises(ValueError, match="Expected"):
        sgd(**{"noise": 1.0, **bad})


@pytest.mark.parametrize(("rate", "steps"), [(1e-6, 1000), (1e-6, 100_000), (1e-5, 1000)])
def test_a_tiny_rate_is_planned_in_few_buckets(rate, steps):
    mechanisms = [sgd(0.5, rate, steps)]
    assert accounting._buckets(mechanisms, False, accounting._width(mechanisms, False)) <= accounting.FINEST
    assert 0 <= accounting.epsilon(mechanisms, DELTA) < 30
