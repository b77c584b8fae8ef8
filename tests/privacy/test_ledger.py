"""The ledger: written before the touch, once a draw, and it refuses what the plan does not cover."""

import hashlib
import json
import os
import subprocess
from types import SimpleNamespace

import pytest
import torch

from dpsynth.budget.calibration import make_plan
from dpsynth.budget.certificate import certificate, certificate_of_set
from dpsynth.privacy import (
    BudgetError,
    Counts,
    Gradients,
    Ledger,
    Plan,
    Private,
    Sums,
    accounting,
    disk,
)
from dpsynth.privacy.chain import Chain
from dpsynth.privacy.disk import EARLIEST
from dpsynth.privacy.ledger import canonical
from dpsynth.privacy.mechanisms import from_statement, statement

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


def seeded(folder, seed=7, private="mnist5k"):
    return Ledger(folder, private, "seeded", seed)


def noise_of(charge):
    """What the verbs draw under a charge, at any step: words, and the noise made of them."""
    coins = charge.coins
    return [coins.words(("noise", step), 8).tolist() for step in (0, 3)] + coins.normals(("noise", 0, 1), 5).tolist()


def test_one_seed_is_one_noise_in_two_releases_whatever_they_are_digests_of(tmp_path, plan, wide):
    """So methods compared at one seed share it, and an edit of the code, which renames a release, redraws none."""
    first, second = seeded(tmp_path).charge(plan, "query", "r1", []), seeded(tmp_path).charge(wide, "query", "r2", [])
    assert noise_of(first) == noise_of(second)
    assert noise_of(first) == noise_of(seeded(tmp_path / "elsewhere").charge(wide, "query", "r3", []))
    assert first.coins.fingerprint == "951ba776d3fb0017"  # whatever is edited, in whatever version


def test_another_seed_set_or_mechanism_is_other_noise(tmp_path, plan):
    other_set = Plan("fashion_mnist", 4000, 3.0, DELTA, plan.mechanisms)
    charges = [
        seeded(tmp_path / "0").charge(plan, "query", "r1", []),
        seeded(tmp_path / "1", seed=8).charge(plan, "query", "r1", []),
        seeded(tmp_path / "2", private="fashion_mnist").charge(other_set, "query", "r1", []),
        seeded(tmp_path / "3").charge(plan, "dp_sgd", "r1", []),
        secret(tmp_path / "4").charge(plan, "query", "r1", []),
    ]
    drawn = [value for charge in charges for value in map(str, noise_of(charge))]
    assert len(set(drawn)) == len(drawn) == 5 * 7


def test_the_noise_on_two_histograms_of_one_seed_is_the_same(tmp_path):
    plan, private = Plan("mnist5k", 4, 30.0, DELTA, (Counts("query", 1, 6.0),)), toy()

    def answer(release, bin):
        charge = seeded(tmp_path).charge(plan, "query", release, [], private)
        return private.count(lambda x, labels, draws: torch.full((len(x), 1), bin), 2, charge)

    assert (answer("r1", 0) - answer("r2", 1)).tolist() == [[2, -2], [2, -2]]  # their exact difference: no releases


def test_releases_that_share_seeded_coins_are_counted_each(tmp_path, plan, wide):
    for release in ("r1", "r2"):
        seeded(tmp_path).charge(wide, "query", release, [])
        seeded(tmp_path).settle(release)
    ledger, both = seeded(tmp_path), accounting.epsilon([Counts("query", 5, 6.0)] * 2, DELTA)
    assert [e.get("open") or e["close"] for e in ledger.entries()] == ["r1", "r1", "r2", "r2"]
    assert len({e["coins"] for e in ledger.entries()}) == 1
    for said in (certificate(wide, ledger, ("r1", "r2")), certificate_of_set(ledger, DELTA)):
        assert len(said["releases"]) == 2 and said["epsilon"] == pytest.approx(both)
    assert certificate(wide, ledger, ("r1",))["set_total"]["releases"] == 2
    with pytest.raises(BudgetError):  # a lineage with both pays for both
        seeded(tmp_path).charge(plan, "dp_sgd", "r3", ["r1", "r2"])


def test_settling_a_release_lets_no_other_of_its_coins_draw_a_noise_twice(tmp_path):
    plan, private, attempt = Plan("mnist5k", 4, 30.0, DELTA, (Counts("query", 1, 6.0),)), toy(), object()
    for release in ("r1", "r2"):
        charge = seeded(tmp_path).charge(plan, "query", release, [], private, attempt)
        private.count(first_pixel, 2, charge)  # what r1 drew is no matter of r2
    seeded(tmp_path).settle("r1")
    with pytest.raises(ValueError, match="the noise of step 0 was drawn already"):
        private.count(first_pixel, 2, seeded(tmp_path).charge(plan, "query", "r2", [], private, attempt))


def test_the_key_of_one_release_is_never_the_secret_of_another(tmp_path, wide):
    """Such as by a copy of its file: two answers under one secret noise would tell their difference."""
    first = secret(tmp_path).charge(wide, "query", "r1", [], toy())
    key, copy = (tmp_path / "keys" / f"{release}.key" for release in ("r1", "r2"))
    copy.write_bytes(key.read_bytes())
    copy.chmod(0o600)
    second = secret(tmp_path).charge(wide, "query", "r2", [], toy())
    assert second.coins.fingerprint != first.coins.fingerprint and copy.read_bytes() != key.read_bytes()
    assert [e["open"] for e in secret(tmp_path).entries()] == ["r1", "r2"]


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
    assert key.stat().st_mode & 0o777 == 0o600 and len(key.read_bytes()) == 96
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
    with pytest.raises(BudgetError, match=r"it was drawn before, and its coins are gone; nothing was touched"):
        ledger.charge(plan, "dp_sgd", "r2", ["r1"])
    assert ledger.path.read_text() == before
    assert [key.name for key in (tmp_path / "keys").iterdir()] == ["r1.key"]


def test_one_folder_has_one_ledger_however_it_is_spelt(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    spelt = ["folder:~/set", "folder:set", f"folder:{tmp_path}/set", "folder:./other/../set"]
    assert len({Ledger(tmp_path, name, "secret", 0).path for name in spelt}) == 1


def toy(name="mnist5k", light=0, labels=(0, 1, 0, 1)):
    images = torch.full((4, 1, 8, 8), 100, dtype=torch.uint8)
    images[0] += light
    builtin = not name.startswith("folder:")
    labels = torch.tensor(labels)
    return Private(name=name, images=images, labels=labels, classes=("a", "b"), n_records=4, builtin=builtin)


def first_pixel(x, y, draws):
    return (x.flatten(1)[:, :1] > 0).long()


ASKS = {  # each verb, asked twice under one release, of two different questions
    Counts("query", 1, 6.0): lambda private, charge: private.count(first_pixel, 2, charge),
    Sums("sum", 1.0, 6.0, 4.0): lambda private, charge: private.total(lambda x, y, d: x.flatten(1), 64, charge),
}


@pytest.mark.parametrize("mechanism", ASKS, ids=lambda mechanism: mechanism.name)
def test_one_attempt_draws_each_noise_once_however_often_it_is_charged(tmp_path, mechanism):
    plan, ask, private = Plan("mnist5k", 4, 30.0, DELTA, (mechanism,)), ASKS[mechanism], toy()
    for attempt in (None, object(), object()):  # one that died, and was begun again, gets the same answer
        charges = [secret(tmp_path).charge(plan, mechanism.name, "r1", [], private, attempt) for _ in range(2)]
        ask(private, charges[0])
        for charge in charges:
            with pytest.raises(ValueError, match="the noise of step 0 was drawn already"):
                ask(private, charge)
    secret(tmp_path).settle("r1")
    ask(private, secret(tmp_path).charge(plan, mechanism.name, "r1", [], private))  # other coins, paid for


@pytest.mark.parametrize("other", [toy(light=1), toy(labels=(1, 0, 0, 1))], ids=["image", "label"])
def test_the_coins_of_a_release_are_not_used_on_other_records(tmp_path, wide, other):
    first = secret(tmp_path).charge(wide, "query", "r1", [], toy())
    before = secret(tmp_path).path.read_text()
    with pytest.raises(
        ValueError, match=r"records of mnist5k are not those that this release was begun with; put them"
    ):
        secret(tmp_path).charge(wide, "query", "r1", [], other)
    assert secret(tmp_path).path.read_text() == before
    again = secret(tmp_path).charge(wide, "query", "r1", [], toy())
    assert again.coins.fingerprint == first.coins.fingerprint
    with pytest.raises(ValueError, match="the charge was not opened for these records of mnist5k; nothing was touched"):
        other.count(lambda x, y, draws: torch.arange(5).repeat(len(x), 1), 5, again)


def test_a_folder_is_asked_under_a_charge_for_its_own_records_alone(tmp_path):
    plan, private = Plan("folder:x", 4, 30.0, DELTA, (Counts("query", 1, 6.0),)), toy("folder:x")
    ledger = Ledger(tmp_path, "folder:x", "secret", 0)
    with pytest.raises(ValueError, match="not opened for these records of folder:x"):
        private.count(first_pixel, 2, ledger.charge(plan, "query", "r1", []))
    assert private.count(first_pixel, 2, ledger.charge(plan, "query", "r2", [], private)).shape == (2, 2)


def test_the_seal_lies_with_the_key_alone_and_does_not_confirm_a_guess(tmp_path, wide):
    charge = secret(tmp_path).charge(wide, "query", "r1", [], toy())
    content = (tmp_path / "keys" / "r1.key").read_bytes()
    assert content[32:64] == toy().seal(charge.coins) != toy(light=1).seal(charge.coins)
    assert content[32:64].hex() not in secret(tmp_path).path.read_text()
    secret(tmp_path).settle("r1")
    assert not list((tmp_path / "keys").iterdir())
    other = secret(tmp_path / "other").charge(wide, "query", "r1", [], toy())
    assert toy().seal(other.coins) != content[32:64]


def test_a_release_that_was_begun_by_other_code_is_not_finished_under_its_noise(tmp_path, wide):
    older, newer = (SimpleNamespace(made_by=code) for code in ("old cpu float32", "new cpu float32"))
    begun = secret(tmp_path).charge(wide, "query", "r1", [], toy(), attempt=older)
    entries = secret(tmp_path).entries()
    with pytest.raises(ValueError, match="begun by other code, from other inputs or on another machine, and killed"):
        secret(tmp_path).charge(wide, "query", "r1", [], toy(), attempt=newer)
    assert secret(tmp_path).entries() == entries
    same = secret(tmp_path).charge(wide, "query", "r1", [], toy(), attempt=SimpleNamespace(made_by=older.made_by))
    assert same.coins.fingerprint == begun.coins.fingerprint


@pytest.mark.parametrize("lost", ["nothing", "head", "newline"])
def test_an_entry_that_a_kill_left_is_forced_to_disk_and_known_to_the_head_before_its_release_goes_on(
    tmp_path, wide, monkeypatch, lost
):
    ledger = secret(tmp_path)
    ledger.charge(wide, "query", "r1", [], toy())
    head = tmp_path / "heads" / "mnist5k.json"
    if lost == "head":
        head.unlink()
    elif lost == "newline":
        ledger.path.write_bytes(ledger.path.read_bytes().rstrip())
    forced = []
    monkeypatch.setattr(disk.os, "fsync", lambda fd: forced.append(os.readlink(f"/proc/self/fd/{fd}")))
    secret(tmp_path).charge(wide, "query", "r1", [], toy())
    assert str(ledger.path) in forced and json.loads(head.read_text())["entries"] == 1
    ledger.path.unlink()
    with pytest.raises(ValueError, match="held 1 entries that are not all there any more"):
        ledger.entries()


def test_records_of_another_set_open_no_entry(tmp_path, wide):
    with pytest.raises(ValueError, match=r"is the ledger of .*, not of elsewhere; nothing was touched"):
        secret(tmp_path).charge(wide, "query", "r1", [], SimpleNamespace(name="elsewhere"))
    assert not secret(tmp_path).entries()


@pytest.mark.parametrize("name", ["folder:photos", "folder:/a/b", "folder:~/c"])
def test_seeded_coins_are_refused_for_a_folder(tmp_path, name):
    with pytest.raises(ValueError, match=r"seeded coins are public: .* use noise: secret"):
        Ledger(tmp_path, name, "seeded", 0)


def test_a_check_raises_what_a_charge_would_and_writes_nothing(tmp_path, plan, wide):
    secret(tmp_path).check(plan, "query", "r1", [])
    assert not list(tmp_path.iterdir())
    secret(tmp_path).charge(plan, "query", "r1", [])
    secret(tmp_path).check(plan, "query", "r1", [])  # its key is there: it would be resumed
    with pytest.raises(ValueError, match="begun under another mechanism"):
        secret(tmp_path).check(plan, "dp_sgd", "r1", [])
    secret(tmp_path).settle("r1")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for touch in (secret(tmp_path).check, secret(tmp_path).charge):
        with pytest.raises(BudgetError, match=r"its coins are gone; nothing"):
            touch(plan, "query", "r1", [])
    secret(tmp_path).check(wide, "query", "r1", [])
    with pytest.raises(KeyError, match="no mechanism 'other'"):
        secret(tmp_path).check(plan, "other", "r2", [])
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def _rechained(lines):
    """The ledger as somebody would write it anew who knows how, with another noise."""
    chain, digest = [], ""
    for line in lines:
        entry = json.loads(line.replace('"noise_multiplier": 6.0', '"noise_multiplier": 60.0'))
        entry.pop("digest")
        digest = hashlib.sha256(f"{digest} {json.dumps(entry, sort_keys=True)}".encode()).hexdigest()[:32]
        chain.append(json.dumps({**entry, "digest": digest}, sort_keys=True) + "\n")
    return chain


@pytest.mark.parametrize("lost", [lambda lines: lines[:2], lambda lines: [], lambda lines: None, _rechained])
def test_a_ledger_that_lost_entries_is_refused_and_nothing_is_spent(tmp_path, plan, lost):
    ledger, lines = _three_lines(tmp_path, plan)
    left = lost(lines)
    ledger.path.unlink() if left is None else ledger.path.write_text("".join(left))
    before = ledger.path.exists() and ledger.path.read_text()
    for touch in (ledger.entries, lambda: ledger.charge(plan, "query", "r9", []), lambda: ledger.settle("r2")):
        with pytest.raises(
            ValueError, match=r"mnist5k.jsonl held 3 entries that are not all there any more.*restore it"
        ):
            touch()
    assert (ledger.path.exists() and ledger.path.read_text()) == before


# As it was written at commit 3579d35, under coins that followed from the release.
OLDER = """\
{"coins": "e1487eae9906be8e", "digest": "1f02067fc0e9a58a6043cf13f534ea5d", "mechanism": {"kind": "discrete Gaussian \
on counts", "name": "query", "noise_multiplier": 6.0, "sample_rate": 1.0, "scale": 13.416407864998739, "sensitivity": \
2.23606797749979, "sensitivity_replace": 3.1622776601683795, "steps": 1, "votes": 5}, "noise": "seeded", "open": "r1"}
{"close": "r1", "coins": "e1487eae9906be8e", "digest": "4a558193ce62666512843e7bbe4fffa9"}
{"coins": "5df5d63a1309acb1", "digest": "d1982f81c3c1fd3dce6b38be482ae412", "mechanism": {"divisor": 1000.0, "kind": \
"Poisson-subsampled Gaussian on clipped gradients", "max_grad_norm": 1.0, "name": "dp_sgd", "noise_multiplicity": 1, \
"noise_multiplier": 1.0, "sample_rate": 0.25, "scale": 1.0, "sensitivity": 1.0, "sensitivity_replace": 2.0, "steps": \
40}, "noise": "seeded", "open": "r2"}
"""


@pytest.mark.parametrize("begin", [secret, seeded], ids=["secret", "seeded"])
def test_a_ledger_of_an_older_version_is_read_counted_and_gone_on_with(tmp_path, wide, begin):
    begin(tmp_path).path.write_text(OLDER)
    spent = begin(tmp_path).epsilon(DELTA)
    sgd = Gradients("dp_sgd", 0.25, 40, 1.0, 1.0, 1, 1000.0)
    assert spent == pytest.approx(accounting.epsilon([*wide.mechanisms, sgd], DELTA))
    begin(tmp_path).charge(wide, "query", "r3", [])
    assert begin(tmp_path).path.read_text().startswith(OLDER) and begin(tmp_path).epsilon(DELTA) > spent
    for release in ("r1", "r3"):  # the older draw had other coins: it counts beside a new one
        begin(tmp_path).charge(wide, "query", release, [])
    assert len(certificate_of_set(begin(tmp_path), DELTA)["releases"]) == 4


def test_what_an_older_version_did_not_state_is_what_it_did():
    stated = statement(Counts("query", 5, 6.0))
    del stated["steps"]
    assert from_statement(stated) == Counts("query", 5, 6.0)
    del stated["votes"]
    with pytest.raises(ValueError, match="discrete Gaussian on counts' without votes"):
        from_statement(stated)


def test_an_entry_of_a_later_version_is_refused_and_stays(tmp_path, wide):
    ledger, entry = secret(tmp_path), {"open": "r1", "coins": "c", "noise": "secret", "mechanism": {}, "format": 2}
    ledger.charge(wide, "query", "r0", [])
    ledger.path.write_text(later := ledger.path.read_text() + json.dumps({**entry, "digest": "d"}) + "\n")
    for touch in (ledger.entries, lambda: ledger.charge(wide, "query", "r2", []), lambda: ledger.settle("r0")):
        with pytest.raises(ValueError, match=r"mnist5k.jsonl:2 is not a ledger entry; restore the file"):
            touch()
    assert ledger.path.read_text() == later


def test_an_entry_whose_head_a_crash_kept_from_disk_counts(tmp_path, plan):
    ledger, head = secret(tmp_path), tmp_path / "heads" / "mnist5k.json"
    ledger.charge(plan, "query", "r1", [])
    behind = head.read_bytes()
    ledger.charge(plan, "dp_sgd", "r2", ["r1"])
    head.write_bytes(behind)
    assert [e["open"] for e in ledger.entries()] == ["r1", "r2"]
    head.unlink()  # of a ledger that was begun by an older version there is none
    assert len(ledger.entries()) == 2
    head.write_text("[")
    with pytest.raises(ValueError, match=r"heads/mnist5k.json is damaged"):
        ledger.entries()


@pytest.fixture
def twice(tmp_path):
    """A folder, and the same folder mounted at another place, where mounting is allowed."""
    for name in ("set", "mounted"):
        (tmp_path / name).mkdir()
    if subprocess.run(["mount", "--bind", "set", "mounted"], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("no right to mount here")
    yield tmp_path / "set", tmp_path / "mounted"
    subprocess.run(["umount", tmp_path / "mounted"], check=True)


def _second_name(tmp_path, one, other):
    plan = Plan(f"folder:{one}", 4, 30.0, DELTA, (Counts("query", 1, 6.0),))
    Ledger(tmp_path, f"folder:{one}", "secret", 0).charge(plan, "query", "r1", [])
    second = Ledger(tmp_path, f"folder:{other}", "secret", 0)
    for touch in (second.entries, lambda: certificate_of_set(second, DELTA)):
        with pytest.raises(ValueError, match=rf"is the folder that was asked as folder:{one}: use that name"):
            touch()
    assert len(Ledger(tmp_path, f"folder:{one}", "secret", 0).entries()) == 1


def test_a_folder_mounted_twice_has_one_ledger(tmp_path, twice):
    _second_name(tmp_path, *twice)
    assert len(list(tmp_path.glob("folder-*.jsonl"))) == 1


def test_a_folder_with_a_second_name_is_told_the_first(tmp_path, monkeypatch):
    """As where a file system takes upper case for lower."""
    monkeypatch.setattr(os.path, "samefile", lambda a, b: a.lower() == b.lower())
    _second_name(tmp_path, tmp_path / "set", tmp_path / "SET")
    (tmp_path / "other").mkdir()
    assert Ledger(tmp_path, f"folder:{tmp_path / 'other'}", "secret", 0).entries() == []


def test_only_a_folders_name_is_a_path():
    names = ["mnist5k", "folder", "other:set", ""]
    assert [canonical(name) for name in names] == names and canonical("folder:.") == f"folder:{os.getcwd()}"


def test_a_link_to_a_folder_is_that_folder(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "set")
    assert len({Ledger(tmp_path, f"folder:{tmp_path / name}", "secret", 0).path for name in ("set", "link")}) == 1


@pytest.mark.parametrize("name", ["folder:loop", "folder:~nobody-of-this-name/x", "folder:a\0b"])
def test_a_path_that_leads_nowhere_is_one_sentence(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ValueError, match=r"the path of 'folder:.*' cannot be followed") as error:
        Ledger(tmp_path, name, "secret", 0).entries()
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(32), bytes(65)])
def test_a_damaged_key_is_named_with_the_way_out(tmp_path, plan, content):
    secret(tmp_path).charge(plan, "query", "r1", [])
    (tmp_path / "keys" / "r1.key").write_bytes(content)
    for touch in (secret(tmp_path).check, secret(tmp_path).charge):
        with pytest.raises(ValueError, match=r"keys/r1.key is damaged: .*restore the file, or delete it to give that"):
            touch(plan, "query", "r1", [])


@pytest.mark.parametrize(
    "line",
    [
        b"5",
        b"[]",
        b'{"digest": "0", "open": "r1"}',
        b'{"digest": "0", "close": "r1", "coins": "c", "more": 1}',
        b'{"digest": "0", "open": "r", "coins": "c", "noise": "secret", "mechanism": {"kind": "other"}}',
        b'{"digest": "0", "open": "r", "coins": "c", "noise": "secret", "mechanism": 3}',
    ],
)
def test_what_is_no_entry_is_named_by_its_line(tmp_path, plan, line):
    ledger, lines = _three_lines(tmp_path, plan)
    ledger.path.write_bytes(lines[0].encode() + line + b"\n")
    with pytest.raises(ValueError, match=r"mnist5k.jsonl:2 is not a ledger entry; restore the file"):
        ledger.entries()


def test_a_ledger_that_is_no_text_is_named(tmp_path, plan):
    ledger, _ = _three_lines(tmp_path, plan)
    ledger.path.write_bytes(b"\xff\xfe\0" + ledger.path.read_bytes())
    with pytest.raises(ValueError, match=r"mnist5k.jsonl is no text, so not a ledger; restore the file"):
        ledger.entries()


def test_the_files_of_secret_coins_tell_no_time(tmp_path, plan):
    _three_lines(tmp_path / "ledger", plan)
    assert {path.stat().st_mtime for path in (tmp_path / "ledger", *(tmp_path / "ledger").rglob("*"))} == {EARLIEST}


def test_an_entry_that_another_process_writes_while_one_reads_is_no_loss(tmp_path, wide, monkeypatch):
    ledger, text = secret(tmp_path), Chain._text
    ledger.charge(wide, "query", "r1", [])

    def overtaken(self):
        before = text(self)
        monkeypatch.setattr(Chain, "_text", text)
        secret(tmp_path).charge(wide, "query", "r2", [])
        return before

    monkeypatch.setattr(Chain, "_text", overtaken)
    assert [e["open"] for e in ledger.entries()] == ["r1"]
    assert [e["open"] for e in ledger.entries()] == ["r1", "r2"]


def test_a_key_that_no_entry_names_was_never_used_and_binds_nothing(tmp_path, wide, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Chain, "append", lambda self, entry: (_ for _ in ()).throw(KeyboardInterrupt))
        secret(tmp_path).charge(wide, "query", "r1", [], toy())
    left = (tmp_path / "keys" / "r1.key").read_bytes()
    charge = secret(tmp_path).charge(wide, "query", "r1", [], toy(light=1))
    assert (tmp_path / "keys" / "r1.key").read_bytes() != left and len(secret(tmp_path).entries()) == 1
    assert charge.seal == toy(light=1).seal(charge.coins).hex()


@pytest.mark.parametrize(
    "head", [{"entries": 0, "digest": ""}, {"entries": -1, "digest": ""}, {"digest": "x"}, [], None]
)
def test_a_head_that_says_nothing_is_damaged(tmp_path, plan, head):
    secret(tmp_path).charge(plan, "query", "r1", [])
    (tmp_path / "heads" / "mnist5k.json").write_text(json.dumps(head))
    with pytest.raises(ValueError, match=r"heads/mnist5k.json is damaged"):
        secret(tmp_path).entries()


def test_a_ledger_takes_what_its_copy_has_after_it_and_nothing_of_one_that_went_apart(tmp_path, wide):
    here, there, apart = (seeded(tmp_path / name) for name in ("here", "there", "apart"))
    for ledger in (here, there):
        ledger.charge(wide, "query", "r1", [])
    for release in ("r2", "r3"):
        there.charge(wide, "query", release, [])
    apart.charge(wide, "query", "r4", [])
    assert here.extend(there.entries()) == 2 and here.entries() == there.entries()
    assert here.path.read_bytes() == there.path.read_bytes() and here.extend(there.entries()[:1]) == 0
    before = here.path.read_bytes()
    for ledger, copy in ((here, apart.entries()), (apart, here.entries())):
        with pytest.raises(ValueError, match="and the copy both have entries that the other has not"):
            ledger.extend(copy)
    assert here.path.read_bytes() == before and len(apart.entries()) == 1
    assert seeded(tmp_path / "fresh").extend(there.entries()) == 3


def test_a_copy_that_repeats_an_opening_with_more_noise_lowers_nothing(tmp_path, wide):
    here = seeded(tmp_path / "here")
    here.charge(wide, "query", "r1", [])
    spent, first = here.epsilon(DELTA), here.entries()
    crafted = [*first, first[0] | {"mechanism": first[0]["mechanism"] | {"noise_multiplier": 600.0}}]
    here.extend(crafted)
    assert here.epsilon(DELTA) == spent
