"""Artifacts: equal work once, whole or not at all, named by what they depend on."""

import errno
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dpsynth import sources, store
from dpsynth.privacy.disk import EARLIEST
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
    with pytest.raises(ValueError, match=r"thing-.* was written in artifact format 0, this version reads 1; restore"):
        store.build("thing", make, {"n": 3})
    meta.unlink()
    with pytest.raises(ValueError, match=r"thing-.* is not a whole artifact"):
        store.build("thing", make, {"n": 3})


def _damage(name, change):
    """Change a file of the one artifact by `change(path)`."""
    return pytest.param(lambda folder: change(folder / name), id=f"{name.partition('.')[0]}: {change.__name__}")


def absent(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def empty(path):
    path.write_bytes(b"")


def garbage(path):
    path.write_bytes(b"\xff\x00garbage" * 9)


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_list(path):
    path.write_text("[1, 2]")


def nested(path):
    path.write_text("[" * 100_000)


def without(*names):
    def lacks(path):
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k not in names}))

    lacks.__name__ = f"lacks {' and '.join(names)}"
    return lacks


def edited(**changes):
    def edit(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    edit.__name__ = f"has {changes}"
    return edit


@pytest.mark.parametrize("damage", [
    *(_damage("tensors.safetensors", change) for change in (absent, cut, empty, garbage, a_folder)),
    *(_damage("meta.json", change) for change in (absent, cut, empty, garbage, a_folder, a_list, nested)),
    *(_damage("meta.json", without(name)) for name in ("fields", "format", "digest", "lineage")),
    *(_damage("meta.json", edited(**change)) for change in (
        {"fields": {}}, {"fields": []}, {"fields": {"note": "x", "more": 1}}, {"digest": 3}, {"digest": "0" * 64},
        {"lineage": 3}, {"lineage": [3]},
    )),
])  # fmt: skip
def test_a_damaged_artifact_is_refused_with_its_folder_and_a_way_out(damage):
    built = store.build("thing", make, {"n": 3}).artifact.path
    damage(built)
    with pytest.raises(
        ValueError, match=r"thing-.* is not a whole artifact .*restore it from a copy; if no private"
    ) as e:
        store.build("thing", make, {"n": 3})
    assert str(built) in str(e.value) and CALLS == [3]


@pytest.mark.parametrize("lineage", [[], ["0" * 64], ["{own}", "{own}"]])
def test_an_edited_lineage_is_refused(lineage):
    thing = store.build("thing", make, {"n": 3})
    derived = store.build("derived", derive, {"factor": 2.0}, thing=thing)
    edited(lineage=[d.format(own=thing.artifact.digest) for d in lineage])(derived.artifact.path / "meta.json")
    with pytest.raises(ValueError, match=r"derived-.*meta.json was edited: it names another artifact, or other anc"):
        store.build("derived", derive, {"factor": 2.0}, thing=thing)


def test_an_edited_digest_is_refused():
    built = store.build("thing", make, {"n": 3}).artifact
    edited(digest=built.digest[:16] + "0" * 48)(built.path / "meta.json")
    with pytest.raises(ValueError, match="was edited"):
        store.build("thing", make, {"n": 3})


def test_an_artifact_under_the_name_of_another_is_refused():
    one, other = (store.build("thing", make, {"n": n}).artifact.path for n in (3, 4))
    for name in ("meta.json", "tensors.safetensors"):
        os.replace(one / name, other / name)
    with pytest.raises(ValueError, match=r"meta.json is of another artifact"):
        store.load(other, Thing)


def test_a_file_in_an_artifacts_place_is_refused():
    path = store.folder("thing", store.digest_of("thing", make, {"n": 3, "note": "default"}, {}))
    path.parent.mkdir(parents=True)
    path.write_text("x")
    with pytest.raises(ValueError, match="is not a whole artifact"):
        store.build("thing", make, {"n": 3})


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_nobody_is_told_to_delete_what_only_the_machine_could_not_read(monkeypatch, number):
    built = store.build("thing", make, {"n": 3}).artifact.path

    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number), str(built / "meta.json"))

    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        store.load(built, Thing)


def hollow(work: Work, *, where: str, value: float) -> Thing:
    table, weights = torch.ones(3), {"a": torch.ones(2, dtype=torch.float64), "n": torch.ones(1, dtype=torch.int64)}
    (table if where == "table" else weights["a"])[1] = value
    return Thing(table, weights, "x")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["table", "weights/a"])
def test_what_is_not_finite_becomes_no_artifact(root, where, value):
    with pytest.raises(ValueError, match=rf"hollow: {where} is not finite, its training diverged: .* lower learning"):
        store.build("hollow", hollow, {"where": where, "value": value})
    assert not [path for path in (root / "build/artifacts").iterdir() if path.suffix not in (".partial", ".lock")]
    assert store.build("hollow", hollow, {"where": where, "value": 1.0}).note == "x"


def test_a_run_of_a_users_own_records_leaves_no_times(root):
    class Own(dict):
        constants = SimpleNamespace(builtin=False)

    began = time.time()
    for params, kept in ((Own(n=3), False), ({"n": 4}, True)):
        built = store.build("thing", make, params).artifact.path
        store.build("thing", make, params)  # which waits at the lock, and writes nothing
        files = [*built.iterdir(), built, built.with_name(f"{built.name}.lock")]
        times = {file.stat().st_mtime for file in files}
        assert len(files) == 4 and (min(times) > began - 60 if kept else times == {EARLIEST})


def test_code_counts_docstrings_and_comments_do_not(tmp_path, monkeypatch):
    package = tmp_path / "toypackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "low.py").write_text("def f():\n    return 1\n")
    (package / "high.py").write_text('"""Doc."""\nfrom toypackage import low\nx = low.f()\n')
    monkeypatch.syspath_prepend(str(tmp_path))

    def digest():
        sources.code_digest.cache_clear()
        return sources.code_digest("toypackage.high")

    before = digest()
    (package / "high.py").write_text('"""Another."""\nfrom toypackage import low  # why\nx = low.f()\n')
    assert digest() == before
    (package / "low.py").write_text("def f():\n    return 2\n")
    assert digest() != before


def test_timings_of_private_stages_can_be_left_out():
    assert "seconds" not in store.build("quiet", make, {"n": 5}, timed=False).artifact.meta


def test_named_seeds_differ_by_name():
    assert store.seed_of(0, "a") == store.seed_of(0, "a") != store.seed_of(0, "b") != store.seed_of(1, "b")
