"""What epsilon means in words: bounds on an attacker, against closed forms and against each other."""

import math
from statistics import NormalDist

import pytest

from dpsynth.budget import risk
from dpsynth.budget.certificate import Certificate, certificate
from dpsynth.privacy import Counts, Ledger, Plan, Sums, accounting

PHI = NormalDist()
DELTA = 1e-5


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.0), (1.0, 1e-5), (3.0, 0.1), (800.0, 1e-5)])
def test_no_threshold_on_the_worst_mechanism_beats_the_bound(epsilon, delta):
    """Randomised response that fails with probability delta: an attacker who guesses by it is right so often."""
    right = delta + (1 - delta) * math.exp(min(epsilon, 700)) / (1 + math.exp(min(epsilon, 700)))
    assert risk.success(epsilon, delta) == pytest.approx(right)


@pytest.mark.parametrize("false_alarms", risk.FALSE_ALARMS)
def test_more_epsilon_or_delta_finds_more_and_none_finds_what_is_guessed(false_alarms):
    found = [risk.detection(epsilon, DELTA, false_alarms) for epsilon in (0.0, 0.5, 1.0, 4.0, 7.0, 10.0, 900.0)]
    assert found[0] == pytest.approx(false_alarms + DELTA) and found == sorted(found) and found[-1] <= 1.0
    assert risk.detection(1.0, 0.01, false_alarms) > found[2]


@pytest.mark.parametrize("noise", [0.5, 2.0, 20.0])
def test_the_exact_bounds_of_a_gaussian_sum_are_those_of_its_closed_form(noise):
    sums = [Sums("sum", 1.0, noise, 1.0)]
    for replace, shift in ((False, 1 / noise), (True, 2 / noise)):
        right = PHI.cdf(shift / 2)
        assert right <= risk.exact_success(sums, replace) <= right + 1.1e-3
    for false_alarms in risk.FALSE_ALARMS:
        found = PHI.cdf(1 / noise + PHI.inv_cdf(false_alarms))
        assert found <= risk.exact_detection(sums, DELTA, false_alarms) <= 1.25 * found


def test_what_is_known_of_the_releases_bounds_more_closely_than_epsilon():
    query = [Counts("query", 5, 1.0)]
    epsilon = accounting.epsilon(query, DELTA)
    assert risk.exact_success(query) < risk.success(epsilon, DELTA) - 0.2
    assert risk.exact_success(query) < risk.exact_success(query, replace=True) < 1


def stated(folder, noise, coins="seeded"):
    plan = Plan("mnist5k", 4000, 1e9, DELTA, (Counts("query", 5, noise),))
    ledger = Ledger(folder, "mnist5k", coins, 0)
    ledger.charge(plan, "query", "release", [])
    return certificate(plan, ledger, ("release",))


def test_the_sentences_have_both_relations_and_are_honest_about_a_large_epsilon(tmp_path):
    small = stated(tmp_path / "small", 4.0)
    first, found, alone, promise = risk.words(small)
    assert (
        "right, whether a given record was among them, at most 55.0 times of 100; which of two records was, 57."
        in first
    )
    assert (
        "1 in 1,000" in found
        and "says almost nothing" not in alone
        and promise.startswith("These are bounds for the same run with secret noise.")
    )
    assert "bound that says almost nothing" in risk.words(stated(tmp_path / "large", 0.5))[2]
    huge = risk.words(stated(tmp_path / "huge", 0.1))
    assert "at most 100.0 times of 100; which of two records was, 100.0" in huge[0] and len(huge) == 3


def test_bounds_are_called_a_promise_where_all_noise_is_secret_and_nowhere_else(tmp_path):
    secret = stated(tmp_path, 4.0, "secret")
    assert risk.words(secret)[-1].endswith("no promise; these bounds are.")
    mixed = secret | {"releases": [*secret["releases"], secret["releases"][0] | {"noise": "seeded"}]}
    assert risk.words(mixed)[-1] == risk.NOT_PROMISED


def test_a_certificate_as_text_ends_with_them_and_as_data_has_none_of_them(tmp_path):
    small = Certificate(stated(tmp_path, 4.0))
    assert str(small).splitlines()[4:] == risk.words(small) and not any("attacker" in str(v) for v in small.values())


def test_a_run_without_privacy_has_no_risk_in_words(tmp_path):
    twin = certificate(Plan("mnist5k", 4000, math.inf, DELTA, ()), Ledger(tmp_path, "mnist5k", "seeded", 0), ())
    assert risk.words(twin) == [] and len(str(Certificate(twin)).splitlines()) == 4


def test_the_table_rises_with_epsilon_and_a_gaussian_release_gives_away_less_than_the_worst():
    table = risk.table(DELTA).astype(float)
    assert all(column.is_monotonic_increasing for _, column in table.items())
    assert (table.iloc[:, 2] < table.iloc[:, 1]).all() and table.iloc[-1, 1] == 100
    shift = 2 * PHI.inv_cdf(risk._gaussian_success(3.0, DELTA))
    assert accounting.epsilon([Sums("sum", 1.0, 1 / shift, 1.0)], DELTA) == pytest.approx(3.0, rel=2e-3)
