"""`dpsynth certificate PRIVATE_SET`: what was ever released of a set, for people and as JSON."""

import json

import pytest

from dpsynth import __main__ as command
from dpsynth.privacy import Counts, Ledger, Plan


@pytest.fixture
def ledger(root):
    plan = Plan("mnist5k", 4000, 10.0, 1e-5, (Counts("query", 5, 4.0),))
    ledger = Ledger(root / "ledger", "mnist5k", "secret", 0)
    for release in ("first", "second"):
        ledger.charge(plan, "query", release, [])
    return ledger


def test_all_releases_of_a_set_are_composed(ledger, capsys):
    assert command.main(["certificate", "mnist5k"]) == 0
    said = capsys.readouterr().out
    assert "mnist5k: 2 releases, epsilon 1.3" in said and "add or remove one record" in said
    assert "second" in said and "query: discrete Gaussian on counts, noise multiplier 4" in said
    assert command.main(["certificate", "mnist5k", "--delta", "1e-6", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["delta"] == 1e-6 and len(plain["releases"]) == 2 and plain["epsilon"] > 1.3


def test_a_mistake_is_one_sentence_and_exit_2(ledger, capsys):
    for arguments, said in (
        (["certificate", "nowhere"], "nowhere.jsonl: no ledger; nothing was released here of nowhere"),
        (["certificate", "mnist5k", "--delta", "2"], "Expected 0 < delta=2.0 < 1"),
    ):
        assert command.main(arguments) == 2
        assert said in capsys.readouterr().err
    ledger.path.write_text(ledger.path.read_text().replace("4.0", "40.0"))
    assert command.main(["certificate", "mnist5k"]) == 2
    assert "mnist5k.jsonl:1 was edited by hand" in capsys.readouterr().err
