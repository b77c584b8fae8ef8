"""The certificate: the ledger's entries, composed by every accountant, against published or independent values
(research notes, section 7 of dpsgd.md and 0.4 of methods.md)."""

import json
import math

import pytest

from dpsynth.budget.calibration import make_plan
from dpsynth.budget.certificate import certificate, certificate_of_set, cross_checks
from dpsynth.privacy import Counts, Gradients, Ledger, Plan, accounting

DELTA = 1e-5


def sgd(noise, rate=0.3, steps=150):
    return Gradients("dp_sgd", rate, steps, noise, 1.0, 1, 1.0)


@pytest.fixture(scope="module")
def plan():
    return make_plan("mnist5k", 4000, 3.0, DELTA, [Counts("query", 5, 6.0), sgd(1.0, 0.25, 40)])


def secret(folder):
    return Ledger(folder, "mnist5k", "secret", 0)


@pytest.mark.parametrize(
    ("noise", "pld", "prv", "rdp", "replace"),
    [(13.821, 1.000, 1.010, 1.094, 2.134), (5.240, 3.000, 3.010, 3.261, 6.481), (2.001, 9.997, 10.008, 10.83, 21.12)],
)
def test_four_accountants_agree_with_the_fixtures(noise, pld, prv, rdp, replace):
    mechanism = [sgd(noise)]
    also = cross_checks(mechanism, DELTA)
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
    found = cross_checks([sgd(noise, rate, steps)], delta)["RDP"]
    assert 0.985 * epsilon < found < epsilon  # the notes round the noise up to three digits


def test_the_cost_of_very_many_steps_leaves_prv_out():
    assert math.isnan(cross_checks([sgd(8.0, 0.05, 10**6)], 1e-8)["PRV"])


@pytest.mark.parametrize(("noise", "rate", "steps"), [(0.1, 0.1, 100), (0.02, 0.1, 100), (0.5, 1.0, 20_000)])
def test_an_accountant_that_cannot_compute_a_cost_is_left_out(noise, rate, steps):
    """Opacus's PRV would take gigabytes, after the release was paid; RDP holds."""
    also = cross_checks([sgd(noise, rate, steps)], DELTA)
    assert math.isnan(also["PRV"]) and also["RDP"] > accounting.epsilon([sgd(noise, rate, steps)], DELTA) > 300


def test_a_certificate_without_the_ledgers_entries_is_refused(tmp_path, plan):
    ledger = secret(tmp_path)
    ledger.charge(plan, "query", "r1", [])
    with pytest.raises(ValueError, match="has no entry for dp_sgd, which this run's artifacts were made with"):
        certificate(plan, ledger, ("r1", "r2"))


def test_the_certificate_composes_the_lineage_and_states_the_rest(tmp_path, plan):
    ledger = secret(tmp_path)
    ledger.charge(plan, "query", "r1", [])
    ledger.charge(plan, "dp_sgd", "r2", ["r1"])
    ledger.charge(plan, "query", "elsewhere", [])
    said = certificate(plan, ledger, ("r1", "r2"))
    assert said["epsilon"] == pytest.approx(plan.spent()) and said["epsilon"] <= 3.0
    assert said["also"]["PLD, replace one record"] > 1.8 * said["epsilon"]
    total = said["set_total"]
    assert total["epsilon"] > said["epsilon"] and total["releases"] == 3
    assert total["epsilon, replace one record"] == ledger.epsilon(DELTA, replace=True) > 1.4 * total["epsilon"]
    assert said["adjacency"] == "add or remove one record"
    assert {m["name"] for m in said["mechanisms"]} == {"query", "dp_sgd"}
    assert all(m["sensitivity"] > 0 and m["sensitivity_replace"] > m["sensitivity"] for m in said["mechanisms"])
    json.dumps(said)


def test_a_total_that_cannot_be_added_up_says_so_and_ends_no_run(tmp_path):
    plan = Plan("mnist5k", 4000, 30.0, 1e-12, (Gradients("dp_sgd", 0.01, 4000, 4.0, 1.0, 1, 1.0),))
    ledger = secret(tmp_path)
    for release in ("r1", "r2", "r3"):
        ledger.charge(plan, "dp_sgd", release, [])
    said = certificate(plan, ledger, ("r1",))
    assert said["epsilon"] < 30 and "finer than floating point can certify" in said["set_total"]["epsilon"]
    json.dumps(said, allow_nan=False)


def test_a_sets_certificate_composes_all_that_was_released_of_it(tmp_path, plan):
    ledger = secret(tmp_path)
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match=r"mnist5k.jsonl: no ledger, .*; nothing was released here of mnis"):
            certificate_of_set(ledger, DELTA)
        ledger.path.touch()  # as a kill may leave it before the first line
    ledger.charge(plan, "query", "r1", [])
    once = certificate_of_set(ledger, DELTA)
    ledger.charge(plan, "dp_sgd", "r2", ["r1"])
    said = certificate_of_set(ledger, DELTA)
    assert len(once["releases"]) == 1 and len(said["releases"]) == 2
    assert once["epsilon"] < said["epsilon"] == pytest.approx(plan.spent())
    assert said["also"]["RDP"] > said["epsilon"] and said["adjacency"] == "add or remove one record"
    for delta in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"Expected 0 < delta=.* < 1"):
            certificate_of_set(ledger, delta)


def test_the_twin_has_a_certificate_that_says_none(tmp_path):
    plan = Plan("mnist5k", 4000, float("inf"), DELTA, ())
    said = certificate(plan, secret(tmp_path), ())
    assert said["epsilon"] == "none" and said["status"].startswith("none") and said["releases"] == []
