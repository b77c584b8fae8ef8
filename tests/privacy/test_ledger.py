"""The ledger: written before the touch, once a draw, and it refuses what the plan does not cover."""

import json
import os

import pytest

from dpsynth.privacy import BudgetError, Counts, Gradients, Ledger, Plan, certificate, certificate_of_set, make_plan

DELTA = 1e-5


@pytest.fixture(scope="module")
def plan():
    sgd = Gradients("dp_sgd", 0.25, 40, 1.0, 1.0, 1, 1000.0)
    return make_plan("mnist5k", 4000, 3.0, DELTA, [Counts("query", 5, 6.0), sgd])


def secret(folder):
    return Ledger(folder, "mnist5k", "secret", 0)


def test_the_entry_stands_before_the_touch_and_a_resumed_run_adds_none(tmp_path, plan):
    first = secret(tmp_path).charge(plan, "query", "r1", [])
    entries = secret(tmp_path).entries()
    assert [e["open"] for e in entries] == ["r1"] and entries[0]["mechanism"]["noise_multiplier"] == 6.0
    again = secret(tmp_path).charge(plan, "query", "r1", [])
    assert again.coins.fingerprint == first.coins.fingerprint
    assert secret(tmp_path).entries() == entries


@pytest.fixture
def wide():
    """A plan with room for a second draw of everything."""
    return Plan("mnist5k", 4000, 30.0, DELTA, (Counts("query", 5, 6.0),))


def test_settling_closes_the_entry_and_destroys_the_key_and_a_new_draw_is_a_new_release(tmp_path, wide):
    plan = wide
    first = secret(tmp_path).charge(plan, "query", "r1", [])
    secret(tmp_path).settle("r1")
    secret(tmp_path).settle("r1")
    assert not list((tmp_path / "keys").iterdir())
    assert secret(tmp_path).entries()[1:] == [{"close": "r1", "coins": first.coins.fingerprint}]
    once = secret(tmp_path).epsilon(DELTA)
    second = secret(tmp_path).charge(plan, "query", "r1", [])
    assert second.coins.fingerprint != first.coins.fingerprint
    assert secret(tmp_path).epsilon(DELTA) > 1.3 * once


def test_seeded_coins_are_reproducible_and_counted_once(tmp_path, plan):
    a, b = (Ledger(tmp_path, "mnist5k", "seeded", 7).charge(plan, "query", "r1", []) for _ in range(2))
    assert a.coins.fingerprint == b.coins.fingerprint
    assert (
        Ledger(tmp_path / "8", "mnist5k", "seeded", 8).charge(plan, "query", "r1", []).coins.fingerprint
        != a.coins.fingerprint
    )
    assert not (tmp_path / "keys").exists()


def test_a_second_query_is_refused_when_training_could_not_be_paid_after_it(tmp_path, plan):
    ledger = secret(tmp_path)
    ledger.charge(plan, "query", "r1", [])
    ledger.settle("r1")
    before = ledger.path.read_text()
    with pytest.raises(BudgetError, match=r"with query this run would come to epsilon=\d.*its coins are gone; nothing"):
        ledger.charge(plan, "query", "r1", [])
    assert ledger.path.read_text() == before


def test_a_key_that_a_crash_left_beside_its_closed_entry_is_not_used_again(tmp_path, wide):
    ledger, key = secret(tmp_path), tmp_path / "keys" / "r1.key"
    first = ledger.charge(wide, "query", "r1", [])
    left = key.read_bytes()
    ledger.settle("r1")
    key.write_bytes(left)
    key.chmod(0o600)
    second = ledger.charge(wide, "query", "r1", [])
    assert second.coins.fingerprint != first.coins.fingerprint and key.read_bytes() != left
    assert [e.get("open") for e in ledger.entries()] == ["r1", None, "r1"]


def test_a_plan_of_another_set_is_refused(tmp_path, plan):
    ledger = Ledger(tmp_path, "fashion_mnist", "secret", 0)
    with pytest.raises(ValueError, match="is the ledger of fashion_mnist, the plan is for mnist5k"):
        ledger.charge(plan, "query", "r1", [])
    assert not ledger.path.exists()


def test_lineage_tells_seeded_coins_by_their_seed_and_secret_ones_by_none(tmp_path):
    identities = [Ledger(tmp_path, "mnist5k", *noise).identity for noise in (("seeded", 7), ("seeded", 8))]
    assert identities == ["seeded coins of seed 7", "seeded coins of seed 8"]
    assert {Ledger(tmp_path, "mnist5k", "secret", seed).identity for seed in (7, 8)} == {"secret coins"}


def test_a_ledger_makes_the_folders_it_lies_in(tmp_path, plan):
    secret(tmp_path / "a" / "b").charge(plan, "query", "r1", [])
    assert len(secret(tmp_path / "a" / "b").entries()) == 1


def test_the_key_file_is_its_owners_alone(tmp_path, plan):
    secret(tmp_path).charge(plan, "query", "r1", [])
    key = tmp_path / "keys" / "r1.key"
    assert key.stat().st_mode & 0o777 == 0o600 and len(key.read_bytes()) == 32
    assert key.parent.stat().st_mode & 0o777 == 0o700
    os.chmod(key, 0o644)
    with pytest.raises(PermissionError, match="can be read by others"):
        secret(tmp_path).charge(plan, "query", "r1", [])


def test_a_lineage_that_would_pass_the_budget_is_refused_before_anything_is_written(tmp_path, plan):
    ledger = secret(tmp_path)
    ledger.charge(plan, "query", "r1", [])
    ledger.charge(plan, "dp_sgd", "r2", ["r1"])
    before = ledger.path.read_text()
    with pytest.raises(BudgetError, match=r"with dp_sgd this run would come to epsilon=\d.*budget is epsilon=3;"):
        ledger.charge(plan, "dp_sgd", "r3", ["r1", "r2"])
    assert ledger.path.read_text() == before
    with pytest.raises(KeyError, match="no mechanism 'other'"):
        ledger.charge(plan, "other", "r4", [])


def test_what_stands_before_a_touch_in_the_plan_but_not_in_its_lineage_is_still_to_be_paid(tmp_path):
    """A prior comes first in the plan, and is asked after the query: a second query must not take its share."""
    sgd = Gradients("dp_sgd", 0.25, 40, 1.0, 1.0, 1, 1000.0)
    plan = make_plan("mnist5k", 4000, 3.0, DELTA, [Counts("prior", 1, 6.0), Counts("query", 5, 6.0), sgd])
    ledger = secret(tmp_path)
    ledger.charge(plan, "query", "r1", [])
    ledger.settle("r1")
    before = ledger.path.read_text()
    with pytest.raises(BudgetError, match="with query this run would come to"):
        ledger.charge(plan, "query", "r1", [])
    assert ledger.path.read_text() == before and not list((tmp_path / "keys").iterdir())


def test_a_refusal_leaves_the_key_of_a_release_that_another_plan_pays_for(tmp_path, wide):
    ledger = secret(tmp_path)
    first = ledger.charge(wide, "query", "r1", [])
    poor = Plan("mnist5k", 4000, 0.1, DELTA, wide.mechanisms)
    with pytest.raises(BudgetError):
        ledger.charge(poor, "query", "r1", [])
    assert ledger.charge(wide, "query", "r1", []).coins.fingerprint == first.coins.fingerprint


def test_a_line_torn_by_a_crash_was_never_acted_on(tmp_path, plan):
    ledger = secret(tmp_path)
    ledger.charge(plan, "query", "r1", [])
    whole = ledger.path.read_text()
    ledger.path.write_text(whole + '{"open": "r2", "coi')
    assert [e["open"] for e in ledger.entries()] == ["r1"]
    ledger.charge(plan, "dp_sgd", "r2", ["r1"])
    assert [json.loads(line)["open"] for line in ledger.path.read_text().splitlines()] == ["r1", "r2"]


def test_an_entry_that_lost_its_newline_alone_counts_and_stays(tmp_path, plan):
    ledger = secret(tmp_path)
    ledger.charge(plan, "query", "r1", [])
    ledger.path.write_text(ledger.path.read_text().rstrip("\n"))  # as an editor may leave it
    assert [e["open"] for e in ledger.entries()] == ["r1"]
    ledger.charge(plan, "dp_sgd", "r2", ["r1"])
    assert [json.loads(line)["open"] for line in ledger.path.read_text().splitlines()] == ["r1", "r2"]


def test_a_line_that_is_no_entry_is_an_error_that_names_it(tmp_path, plan):
    ledger = secret(tmp_path)
    ledger.charge(plan, "query", "r1", [])
    ledger.path.write_text("nonsense\n" + ledger.path.read_text())
    with pytest.raises(ValueError, match=r"mnist5k.jsonl:1 is not a ledger entry"):
        ledger.entries()


def _three_lines(folder, plan):
    ledger = secret(folder)
    ledger.charge(plan, "query", "r1", [])
    ledger.settle("r1")
    ledger.charge(plan, "dp_sgd", "r2", ["r1"])
    return ledger, ledger.path.read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda lines: [lines[0].replace('"noise_multiplier": 6.0', '"noise_multiplier": 60.0'), *lines[1:]], 1),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], lines[2]], 2),
        (lambda lines: [lines[1], lines[0], lines[2]], 1),
        (lambda lines: [*lines, lines[2]], 4),
    ],
)
def test_a_ledger_edited_by_hand_is_refused_and_nothing_is_spent(tmp_path, plan, edit, line):
    ledger, lines = _three_lines(tmp_path, plan)
    ledger.path.write_text(edited := "".join(edit(lines)))
    for touch in (ledger.entries, lambda: ledger.charge(plan, "query", "r9", []), lambda: ledger.settle("r2")):
        with pytest.raises(ValueError, match=rf"mnist5k.jsonl:{line} was edited by hand.*restore the file"):
            touch()
    assert ledger.path.read_text() == edited


def test_a_release_begun_under_another_mechanism_is_not_continued(tmp_path, plan):
    ledger = secret(tmp_path)
    ledger.charge(plan, "query", "r1", [])
    before = ledger.path.read_text()
    with pytest.raises(ValueError, match=r"begun under another mechanism than the plan's dp_sgd.*nothing was touched"):
        ledger.charge(plan, "dp_sgd", "r1", [])
    assert ledger.path.read_text() == before and (tmp_path / "keys" / "r1.key").exists()


def test_a_release_that_is_drawn_again_counts_again_and_may_pass_the_budget(tmp_path, plan):
    ledger = secret(tmp_path)
    ledger.charge(plan, "query", "r1", [])
    ledger.charge(plan, "dp_sgd", "r2", ["r1"])
    ledger.settle("r2")
    before = ledger.path.read_text()
    with pytest.raises(BudgetError, match="it was drawn before, and its coins are gone; nothing was touched"):
        ledger.charge(plan, "dp_sgd", "r2", ["r1"])
    assert ledger.path.read_text() == before
    assert [key.name for key in (tmp_path / "keys").iterdir()] == ["r1.key"]


def test_one_folder_has_one_ledger_however_it_is_spelt(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    spelt = ["folder:~/set", "folder:set", f"folder:{tmp_path}/set", "folder:./other/../set"]
    assert len({Ledger(tmp_path, name, "secret", 0).path for name in spelt}) == 1


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
    assert said["set_total"]["epsilon"] > said["epsilon"] and said["set_total"]["releases"] == 3
    assert said["adjacency"] == "add or remove one record"
    assert {m["name"] for m in said["mechanisms"]} == {"query", "dp_sgd"}
    assert all(m["sensitivity"] > 0 and m["sensitivity_replace"] > m["sensitivity"] for m in said["mechanisms"])
    json.dumps(said)


def test_a_sets_certificate_composes_all_that_was_released_of_it(tmp_path, plan):
    ledger = secret(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"mnist5k.jsonl: no ledger; nothing was released here of mnist5k"):
        certificate_of_set(ledger, DELTA)
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
