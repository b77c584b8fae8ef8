"""Accounting against published or independently computed values (research notes, section 7 of dpsgd.md and 0.4 of
methods.md)."""

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, special

from dpsynth.privacy import BudgetError, Counts, Gradients, accounting, make_plan, query_noise

DELTA = 1e-5


def sgd(noise, rate=0.3, steps=150):
    return Gradients("dp_sgd", rate, steps, noise, 1.0, 1, 1.0)


@pytest.mark.parametrize(
    ("noise", "pld", "prv", "rdp", "replace"),
    [(13.821, 1.000, 1.010, 1.094, 2.134), (5.240, 3.000, 3.010, 3.261, 6.481), (2.001, 9.997, 10.008, 10.83, 21.12)],
)
def test_four_accountants_agree_with_the_fixtures(noise, pld, prv, rdp, replace):
    mechanism = [sgd(noise)]
    also = accounting.cross_checks(mechanism, DELTA)
    assert accounting.epsilon(mechanism, DELTA) == pytest.approx(pld, rel=1e-3)
    assert accounting.epsilon(mechanism, DELTA, replace=True) == pytest.approx(replace, rel=1e-3)
    assert also["PRV"] == pytest.approx(prv, abs=4e-3)
    assert also["RDP"] == pytest.approx(rdp, rel=1e-3)
    assert also["RDP, classic"] > also["RDP"]


@pytest.mark.parametrize(
    ("noise", "rate", "steps", "delta", "epsilon"),
    [
        (2.34, 1 / 3, 150, 1e-5, 10),
        (16.64, 1 / 3, 150, 1e-5, 1),
        (1.58, 1 / 9, 450, 1e-6, 10),
        (2.51, 1 / 15, 4500, 1e-5, 10),
    ],
)
def test_rdp_gives_the_noise_of_the_papers_settings(noise, rate, steps, delta, epsilon):
    found = accounting.cross_checks([sgd(noise, rate, steps)], delta)["RDP"]
    assert 0.985 * epsilon < found < epsilon  # the notes round the noise up to three digits


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


@pytest.mark.parametrize("epsilon", [1.0, 10.0, 30.0])  # noise above and below 1
def test_calibration_comes_within_a_thousandth_and_never_above(epsilon):
    plan = make_plan("set", 4000, epsilon, DELTA, [Counts("query", 5, 12.0), sgd(1.0, 0.25, 40)])
    assert epsilon * (1 - 1e-3) <= plan.spent() <= epsilon
    assert plan.mechanism("query").noise_multiplier == 12.0


@pytest.mark.parametrize(
    ("epsilon", "delta", "touches"),
    [
        (0.01, 1e-5, [sgd(1.0, 0.01, 20_000)]),
        (0.1, 1e-5, [sgd(1.0, 0.1, 1000)]),
        (0.05, 1e-10, [sgd(1.0, 0.013, 5000)]),
        (0.2, 1e-5, [sgd(1.0, 0.01, 5000)]),  # DPDM's own smallest budget
        (1000.0, 1e-5, [sgd(1.0, 0.1, 100)]),
        (50.0, 1e-6, [sgd(1.0, 1.0, 7)]),
        (1.0, 1e-6, [Counts("central", 196, 15.0), sgd(1.0, 0.1, 100)]),  # one vote a pixel
        (3.0, 1e-5, [Counts("central", 768, 6.0), sgd(1.0, 0.1, 100)]),
        (1.0, 1e-5, [Counts("nearest", 1, 1.0, 50)]),
    ],
)
def test_calibration_holds_far_from_the_usual_too(epsilon, delta, touches):
    spent = make_plan("set", 4000, epsilon, delta, touches).spent()
    assert epsilon * (1 - 1e-3) <= spent <= epsilon


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


@pytest.mark.parametrize(
    ("epsilon", "delta", "touches", "said"),
    [
        (1e6, 1e-5, [sgd(1.0, 0.1, 10)], r"epsilon=1e\+06 cannot be spent: .* 0.01, all touches .* cost epsilon=\d"),
        (10.0, 1e-3, [sgd(1.0, 1e-6, 10)], r"epsilon=10 cannot be spent: .* raise the sampling rate or the steps"),
        (1.0, 1e-13, [sgd(1.0, 0.1, 20_000)], r"^delta=1e-13 is finer than floating point can certify over"),
        (0.5, 1e-5, [Counts("query", 5, 1.0), sgd(1.0)], r"query at noise multiplier 1 alone costs epsilon=4\.\d"),
    ],
)
def test_what_cannot_be_planned_is_said_truly(epsilon, delta, touches, said):
    with pytest.raises(ValueError, match=said):
        make_plan("set", 4000, epsilon, delta, touches)


def test_epsilon_grows_with_the_steps_and_starts_with_the_query():
    plan = make_plan("set", 4000, 3.0, DELTA, [Counts("query", 5, 12.0), sgd(1.0, 0.25, 40)])
    path = [plan.spent(steps) for steps in (0, 10, 40)]
    assert path[0] == pytest.approx(accounting.epsilon([Counts("query", 5, 12.0)], DELTA))
    assert path[0] < path[1] < path[2] == plan.spent()


def test_a_query_that_costs_the_whole_budget_leaves_nothing_to_learn_with():
    query = Counts("query", 5, 6.0)
    with pytest.raises(BudgetError, match="alone costs"):
        make_plan("set", 4000, accounting.epsilon([query], DELTA), DELTA, [query, sgd(1.0)])


def test_a_query_that_leaves_too_little_to_learn_with_is_refused_with_both_prices(monkeypatch):
    monkeypatch.setattr(accounting, "MOST", 50.0)
    query = Counts("query", 5, 6.0)
    almost = accounting.epsilon([query, sgd(400.0)], DELTA)
    with pytest.raises(BudgetError, match=r"dp_sgd has no budget left beside query at noise multiplier 6 \(epsilon=0"):
        make_plan("set", 4000, almost, DELTA, [query, sgd(1.0)])


def test_the_order_of_touches_does_not_move_epsilon():
    """A ledger lists them as they came, a plan as they were thought of."""
    touches = [Counts("prior", 1, 6.0), Counts("query", 5, 9.0), sgd(3.0)]
    assert len({accounting.epsilon(order, 1e-10) for order in itertools.permutations(touches)}) == 1


@pytest.mark.parametrize(("rate", "steps"), [(1e-6, 1000), (1e-6, 100_000), (1e-5, 1000)])
def test_a_tiny_rate_is_planned_in_few_buckets(rate, steps):
    mechanisms = [sgd(0.5, rate, steps)]
    assert accounting._buckets(mechanisms, False, accounting._width(mechanisms, False)) <= accounting.FINEST
    assert 0 <= accounting.epsilon(mechanisms, DELTA) < 30


def test_the_cost_of_very_many_steps_leaves_prv_out():
    assert math.isnan(accounting.cross_checks([sgd(8.0, 0.05, 10**6)], 1e-8)["PRV"])


@pytest.mark.parametrize(("noise", "rate", "steps"), [(0.1, 0.1, 100), (0.02, 0.1, 100), (0.5, 1.0, 20_000)])
def test_an_accountant_that_cannot_compute_a_cost_is_left_out(noise, rate, steps):
    """Opacus's PRV would take gigabytes, after the release was paid; RDP holds."""
    also = accounting.cross_checks([sgd(noise, rate, steps)], DELTA)
    assert math.isnan(also["PRV"]) and also["RDP"] > accounting.epsilon([sgd(noise, rate, steps)], DELTA) > 300


def test_the_non_private_twin_plans_no_mechanism_of_its_learner_and_asks_what_comes_before():
    twin = make_plan("set", 4000, math.inf, DELTA, [query := Counts("query", 5, 6.0), sgd(1.0)])
    assert twin.mechanisms == (query,) and not twin.is_private and twin.spent() == math.inf
    assert make_plan("set", 4000, math.inf, DELTA, [sgd(1.0)]).mechanisms == ()


def test_replacing_a_record_moves_twice_as_many_votes():
    for votes in (1, 5):
        counts = Counts("query", votes, 1.0)
        assert counts.sensitivity**2 == pytest.approx(votes)
        assert counts.sensitivity_replace**2 == pytest.approx(2 * votes)


def test_the_query_rule_is_the_smallest_that_leaves_five_percent():
    like = sgd(1.0, 0.25, 40)
    assert query_noise(5, like, 10.0, DELTA) == 4.0
    noise = query_noise(5, like, 1.0, DELTA)
    alone = make_plan("set", 4000, 1.0, DELTA, [like]).mechanism("dp_sgd").noise_multiplier
    together = (
        make_plan("set", 4000, 1.0, DELTA, [Counts("query", 5, noise), like]).mechanism("dp_sgd").noise_multiplier
    )
    assert 10 < noise < 14
    assert together == pytest.approx(1.05 * alone, rel=5e-3)


def test_a_query_that_eats_the_budget_is_refused_with_both_numbers():
    with pytest.raises(BudgetError, match=r"query at noise multiplier 1 alone costs epsilon=4\.\d+.*epsilon=1"):
        make_plan("set", 4000, 1.0, DELTA, [Counts("query", 5, 1.0), sgd(1.0)])


@pytest.mark.parametrize(
    "bad",
    [dict(noise=0.0), dict(noise=math.nan), dict(noise=math.inf), dict(rate=0.0), dict(rate=1.5), dict(steps=0)],
)
def test_senseless_mechanisms_cannot_be_made(bad):
    with pytest.raises(ValueError, match="Expected"):
        sgd(**{"noise": 1.0, **bad})
