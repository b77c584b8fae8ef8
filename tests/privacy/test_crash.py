"""A run that is killed ends as if it had not been; `make crash` does the same 25 times, at random moments."""

import importlib.util
from pathlib import Path

import pytest
import torch

spec = importlib.util.spec_from_file_location("crash", Path(__file__).parents[1] / "crash.py")
crash = importlib.util.module_from_spec(spec)
spec.loader.exec_module(crash)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return crash.undisturbed(tmp_path_factory.mktemp("crash"))[0]


def steps(root):
    """DP-SGD steps that the checkpoint holds."""
    saved = list((root / "build/artifacts").glob("synthesiser-*.partial/checkpoint.pt"))
    try:
        return torch.load(saved[0], weights_only=True)["step"] if saved else 0
    except FileNotFoundError:  # it was just replaced by the artifact
        return 0


def test_a_run_killed_three_times_ends_with_the_same_ledger_and_the_same_bits(whole, tmp_path):
    root = crash.fresh(tmp_path / "killed", whole)
    assert crash.kill_when(root, "seeded", crash.ledger(root).exists)
    assert crash.kill_when(root, "seeded", lambda: steps(root) >= 2)
    assert crash.kill_when(root, "seeded", lambda: steps(root) >= 8)
    crash.finish(root, "seeded")
    crash.equal(root, whole)


def test_a_second_process_waits_for_the_first_and_takes_over_when_it_is_killed(whole, tmp_path):
    root = crash.fresh(tmp_path / "shared", whole)
    second = []

    def moment():
        if steps(root) >= 2 and not second:
            assert [key.suffix for key in (root / "ledger/keys").iterdir()] == [".key"]
            second.append(crash.start(root, "secret"))
        return steps(root) >= 6

    assert crash.kill_when(root, "secret", moment)
    assert second[0].wait(crash.PATIENCE) == 0
    crash.drawn_once(root, whole)
