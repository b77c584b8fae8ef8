"""Accounting against published or independently computed values (research notes, section 7 of dpsgd.md and 0.4 of
methods.md)."""

import math

import pytest

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


def test_epsilon_grows_with_the_steps_and_starts_with_the_query():
    plan = make_plan("set", 4000, 3.0, DELTA, [Counts("query", 5, 12.0), sgd(1.0, 0.25, 40)])
    path = [plan.spent(steps) for steps in (0, 10, 40)]
    assert path[0] == pytest.approx(accounting.epsilon([Counts("query", 5, 12.0)], DELTA))
    assert path[0] < path[1] < path[2] == plan.spent()


def test_a_query_that_costs_the_whole_budget_leaves_nothing_to_learn_with():
    query = Counts("query", 5, 6.0)
    with pytest.raises(BudgetError, match="alone costs"):
        make_plan("set", 4000, accounting.epsilon([query], DELTA), DELTA, [query, sgd(1.0)])


def test_a_query_that_leaves_too_little_to_learn_with_is_refused_with_both_prices():
    query = Counts("query", 5, 6.0)
    almost = accounting.epsilon([query], DELTA) * (1 + 1e-9)
    with pytest.raises(BudgetError, match=r"dp_sgd has no budget left beside query at noise multiplier 6 \(epsilon=0"):
        make_plan("set", 4000, almost, DELTA, [query, sgd(1.0)])


def test_the_non_private_twin_plans_no_mechanism():
    twin = make_plan("set", 4000, math.inf, DELTA, [Counts("query", 5, 6.0), sgd(1.0)])
    assert twin.mechanisms == () and not twin.is_private


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
