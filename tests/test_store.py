"""Artifacts: equal work once, whole or not at all, named by what they depend on."""

import json
from dataclasses import dataclass

import pytest
import torch

from dpsynth import store
from dpsynth.store import Stored, Work


@dataclass(frozen=True)
class Thing(Stored):
    table: torch.Tensor
    weights: dict
    note: str


CALLS = []


def make(work: Work, *, n: int, note: str = "default") -> Thing:
    CALLS.append(n)
    return Thing(torch.arange(n), {"a.b": torch.ones(2), "c": torch.zeros(1)}, note)


def derive(work: Work, thing: Thing, *, factor: float) -> Thing:
    CALLS.append(factor)
    return Thing(thing.table * factor, {"a": torch.ones(1)}, thing.note)


@pytest.fixture(autouse=True)
def _fresh(root):
    CALLS.clear()


def test_equal_work_is_done_once_and_comes_back_as_it_was():
    first, again = (store.build("thing", make, {"n": 3, "unused": 9}) for _ in range(2))
    assert CALLS == [3]
    assert torch.equal(first.table, torch.arange(3)) and torch.equal(again.weights["a.b"], torch.ones(2))
    assert again.note == "default" and first.artifact.digest == again.artifact.digest
    assert {"settings", "versions", "commit", "seconds", "peak_MiB", "device"} <= set(again.artifact.meta)


def test_settings_upstreams_and_nothing_else_name_an_artifact():
    a = store.build("thing", make, {"n": 3})
    b = store.build("thing", make, {"n": 3, "note": "other"})
    derived = [store.build("derived", derive, {"factor": 2.0}, thing=t) for t in (a, b, a)]
    assert len({d.artifact.digest for d in derived}) == 2
    assert CALLS == [3, 3, 2.0, 2.0]
    assert derived[0].artifact.lineage == (a.artifact.digest, derived[0].artifact.digest)


def test_a_missing_setting_is_named():
    with pytest.raises(ValueError, match="make needs the setting 'n'"):
        store.build("thing", make, {})


def interrupted(work: Work, *, n: int) -> Thing:
    state = work.resume() or {"step": 0}
    for step in range(state["step"], n):
        CALLS.append(step)
        work.save(step=step + 1)
        if len(CALLS) == 2:
            raise KeyboardInterrupt
    return Thing(torch.arange(n), {"a": torch.ones(1)}, "whole")


def test_a_kill_leaves_no_artifact_and_the_next_run_goes_on_from_the_checkpoint(root):
    with pytest.raises(KeyboardInterrupt):
        store.build("slow", interrupted, {"n": 4})
    artifacts = root / "build" / "artifacts"
    assert [p.suffix for p in artifacts.iterdir() if p.is_dir()] == [".partial"]
    whole = store.build("slow", interrupted, {"n": 4})
    assert CALLS == [0, 1, 2, 3] and whole.note == "whole"
    assert [p.suffix for p in artifacts.iterdir() if p.is_dir()] == [""]
    assert not list(whole.artifact.path.glob("checkpoint*"))


def test_a_checkpoint_of_another_run_is_refused_with_its_path(root):
    with pytest.raises(KeyboardInterrupt):
        store.build("slow", interrupted, {"n": 4})
    (partial,) = (root / "build" / "artifacts").glob("slow-*.partial")
    other = store.folder("slow", store.digest_of("slow", interrupted, {"n": 5}, {}))
    partial.rename(other.with_name(other.name + ".partial"))
    with pytest.raises(ValueError, match=r"checkpoint.pt was saved by another run than slow-.*; delete that folder"):
        store.build("slow", interrupted, {"n": 5})


def test_an_artifact_of_another_format_or_a_broken_one_is_refused_with_its_path():
    built = store.build("thing", make, {"n": 3})
    meta = built.artifact.path / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": 0}))
    with pytest.raises(ValueError, match=r"thing-.* was written in artifact format 0, this version reads 1; delete"):
        store.build("thing", make, {"n": 3})
    meta.unlink()
    with pytest.raises(ValueError, match=r"thing-.* is not a whole artifact"):
        store.build("thing", make, {"n": 3})


def test_code_counts_docstrings_and_comments_do_not(tmp_path, monkeypatch):
    package = tmp_path / "toypackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "low.py").write_text("def f():\n    return 1\n")
    (package / "high.py").write_text('"""Doc."""\nfrom toypackage import low\nx = low.f()\n')
    monkeypatch.syspath_prepend(str(tmp_path))

    def digest():
        store.code_digest.cache_clear()
        return store.code_digest("toypackage.high")

    before = digest()
    (package / "high.py").write_text('"""Another."""\nfrom toypackage import low  # why\nx = low.f()\n')
    assert digest() == before
    (package / "low.py").write_text("def f():\n    return 2\n")
    assert digest() != before


def test_timings_of_private_stages_can_be_left_out():
    assert "seconds" not in store.build("quiet", make, {"n": 5}, timed=False).artifact.meta


def test_named_seeds_differ_by_name():
    assert store.seed_of(0, "a") == store.seed_of(0, "a") != store.seed_of(0, "b") != store.seed_of(1, "b")
