"""Calibration: within a thousandth of the budget, never above, and refused with both numbers."""

import math

import pytest

from dpsynth.budget import calibration
from dpsynth.budget.calibration import make_plan, query_noise
from dpsynth.privacy import BudgetError, Counts, Gradients, accounting

DELTA = 1e-5


def sgd(noise, rate=0.3, steps=150):
    return Gradients("dp_sgd", rate, steps, noise, 1.0, 1, 1.0)


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
    monkeypatch.setattr(calibration, "MOST", 50.0)
    query = Counts("query", 5, 6.0)
    almost = accounting.epsilon([query, sgd(400.0)], DELTA)
    with pytest.raises(BudgetError, match=r"dp_sgd has no budget left beside query at noise multiplier 6 \(epsilon=0"):
        make_plan("set", 4000, almost, DELTA, [query, sgd(1.0)])


def test_the_non_private_twin_plans_no_mechanism_of_its_learner_and_asks_what_comes_before():
    twin = make_plan("set", 4000, math.inf, DELTA, [query := Counts("query", 5, 6.0), sgd(1.0)])
    assert twin.mechanisms == (query,) and not twin.is_private and twin.spent() == math.inf
    assert make_plan("set", 4000, math.inf, DELTA, [sgd(1.0)]).mechanisms == ()


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
