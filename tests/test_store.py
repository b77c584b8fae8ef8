"""Artifacts: equal work once, whole or not at all, named by what they depend on."""

import errno
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from dpsynth import recipes, store
from dpsynth.checkpoints import Work
from dpsynth.privacy.disk import EARLIEST
from dpsynth.recipes import Stored


@dataclass(frozen=True)
class Thing(Stored):
    table: torch.Tensor
    weights: dict
    note: str


CALLS = []


def built(kind, function, settings, timed=True, **inputs):
    return store.build(recipes.recipe(kind, function, {"note": "default"} | settings, **inputs), timed=timed)


@recipes.work
def make(work: Work, *, n: int, note: str) -> Thing:
    CALLS.append(n)
    return Thing(torch.arange(n), {"a.b": torch.ones(2), "c": torch.zeros(1)}, note)


@recipes.work
def hold(work: Work, *, mib: int) -> Thing:
    held = torch.ones(mib, 2**18)
    return Thing(held[:1, :1].clone(), {"a": torch.ones(1)}, "")


@recipes.work
def derive(work: Work, thing: Thing, *, factor: float) -> Thing:
    CALLS.append(factor)
    return Thing(thing.table * factor, {"a": torch.ones(1)}, thing.note)


@pytest.fixture(autouse=True)
def _fresh(root):
    CALLS.clear()


def test_equal_work_is_done_once_and_comes_back_as_it_was():
    first, again = (built("thing", make, {"n": 3, "unused": 9}) for _ in range(2))
    assert CALLS == [3]
    assert torch.equal(first.table, torch.arange(3)) and torch.equal(again.weights["a.b"], torch.ones(2))
    assert again.note == "default" and first.artifact.digest == again.artifact.digest
    assert {"settings", "versions", "commit", "seconds", "peak_MiB", "device"} <= set(again.artifact.meta)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is known on Linux alone")
def test_the_peak_of_memory_is_of_the_work_and_not_of_what_the_process_did_before():
    peaks = [built("thing", hold, {"mib": mib}).artifact.meta["peak_MiB"] for mib in (1, 400, 2)]
    assert peaks[1] > peaks[0] + 350 and peaks[2] < peaks[1] - 350


def test_settings_upstreams_and_nothing_else_name_an_artifact():
    a = built("thing", make, {"n": 3})
    b = built("thing", make, {"n": 3, "note": "other"})
    derived = [built("derived", derive, {"factor": 2.0}, thing=t) for t in (a, b, a)]
    assert len({d.artifact.digest for d in derived}) == 2
    assert CALLS == [3, 3, 2.0, 2.0]
    assert derived[0].artifact.lineage == (a.artifact.digest, derived[0].artifact.digest)


def test_a_missing_setting_is_named():
    with pytest.raises(ValueError, match="make needs the setting 'n'"):
        built("thing", make, {})


@recipes.work
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
        built("slow", interrupted, {"n": 4})
    artifacts = root / "build" / "artifacts"
    assert [p.suffix for p in artifacts.iterdir() if p.is_dir()] == [".partial"]
    whole = built("slow", interrupted, {"n": 4})
    assert CALLS == [0, 1, 2, 3] and whole.note == "whole"
    assert [p.suffix for p in artifacts.iterdir() if p.is_dir()] == [""]
    assert not list(whole.artifact.path.glob("checkpoint*"))


def test_a_checkpoint_of_another_run_is_refused_with_its_path(root):
    with pytest.raises(KeyboardInterrupt):
        built("slow", interrupted, {"n": 4})
    (partial,) = (root / "build" / "artifacts").glob("slow-*.partial")
    other = recipes.recipe("slow", interrupted, {"n": 5}).path
    partial.rename(other.with_name(other.name + ".partial"))
    with pytest.raises(ValueError, match=r"checkpoint.pt was saved by another run than slow-.*; delete that folder"):
        built("slow", interrupted, {"n": 5})


def test_an_artifact_of_another_format_or_a_broken_one_is_refused_with_its_path():
    thing = built("thing", make, {"n": 3})
    meta = thing.artifact.path / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": 0}))
    with pytest.raises(ValueError, match=r"thing-.* was written in artifact format 0, this version reads 2; restore"):
        built("thing", make, {"n": 3})
    meta.unlink()
    with pytest.raises(ValueError, match=r"thing-.* is not a whole artifact"):
        built("thing", make, {"n": 3})


def test_what_an_older_version_made_is_named_left_alone_and_not_misread(root):
    thing = built("thing", make, {"n": 3})
    older = root / "build" / "artifacts" / "thing-0123456789abcdef"
    shutil.copytree(thing.artifact.path, older)
    edited(format=1, digest="0123456789abcdef" * 4)(older / "meta.json")
    before = {file.name: file.read_bytes() for file in older.iterdir()}
    assert (
        built("thing", make, {"n": 3}).artifact.path != older and built("thing", make, {"n": 4}).artifact.path != older
    )
    with pytest.raises(
        ValueError, match=r"thing-0123.* was written in artifact format 1, this version reads 2; restore"
    ):
        store.load(older, Thing)
    assert {file.name: file.read_bytes() for file in older.iterdir()} == before and CALLS == [3, 4]


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
        {"fields": {}}, {"fields": []}, {"digest": 3}, {"digest": "0" * 64},
        {"lineage": 3}, {"lineage": [3]},
    )),
])  # fmt: skip
def test_a_damaged_artifact_is_refused_with_its_folder_and_a_way_out(damage):
    folder = built("thing", make, {"n": 3}).artifact.path
    damage(folder)
    with pytest.raises(
        ValueError, match=r"thing-.* is not a whole artifact .*restore it from a copy; if no private"
    ) as e:
        built("thing", make, {"n": 3})
    assert str(folder) in str(e.value) and CALLS == [3]


@pytest.mark.parametrize("lineage", [[], ["0" * 64], ["{own}", "{own}"]])
def test_an_edited_lineage_is_refused(lineage):
    thing = built("thing", make, {"n": 3})
    derived = built("derived", derive, {"factor": 2.0}, thing=thing)
    edited(lineage=[d.format(own=thing.artifact.digest) for d in lineage])(derived.artifact.path / "meta.json")
    with pytest.raises(ValueError, match=r"derived-.*meta.json was edited: it names another artifact, or other anc"):
        built("derived", derive, {"factor": 2.0}, thing=thing)


def test_an_edited_digest_is_refused():
    artifact = built("thing", make, {"n": 3}).artifact
    edited(digest=artifact.digest[:16] + "0" * 48)(artifact.path / "meta.json")
    with pytest.raises(ValueError, match="was edited"):
        built("thing", make, {"n": 3})


def test_an_artifact_under_the_name_of_another_is_refused():
    one, other = (built("thing", make, {"n": n}).artifact.path for n in (3, 4))
    for name in ("meta.json", "tensors.safetensors"):
        os.replace(one / name, other / name)
    with pytest.raises(ValueError, match=r"meta.json is of another artifact"):
        store.load(other, Thing)


def test_a_file_in_an_artifacts_place_is_refused():
    path = recipes.recipe("thing", make, {"n": 3, "note": "default"}).path
    path.parent.mkdir(parents=True)
    path.write_text("x")
    with pytest.raises(ValueError, match="is not a whole artifact"):
        built("thing", make, {"n": 3})


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_nobody_is_told_to_delete_what_only_the_machine_could_not_read(monkeypatch, number):
    folder = built("thing", make, {"n": 3}).artifact.path

    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number), str(folder / "meta.json"))

    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        store.load(folder, Thing)


@recipes.work
def hollow(work: Work, *, where: str, value: float) -> Thing:
    table, weights = torch.ones(3), {"a": torch.ones(2, dtype=torch.float64), "n": torch.ones(1, dtype=torch.int64)}
    (table if where == "table" else weights["a"])[1] = value
    return Thing(table, weights, "x")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["table", "weights/a"])
def test_what_is_not_finite_becomes_no_artifact(root, where, value):
    with pytest.raises(ValueError, match=rf"hollow: {where} is not finite, its training diverged: .* lower learning"):
        built("hollow", hollow, {"where": where, "value": value})
    assert not [path for path in (root / "build/artifacts").iterdir() if path.suffix not in (".partial", ".lock")]
    assert built("hollow", hollow, {"where": where, "value": 1.0}).note == "x"


def test_a_run_of_a_users_own_records_leaves_no_times(root):
    began = time.time()
    for n, timed in ((3, False), (4, True)):
        folder = built("thing", make, {"n": n}, timed=timed).artifact.path
        built("thing", make, {"n": n}, timed=timed)  # which waits at the lock, and writes nothing
        files = [*folder.iterdir(), folder, folder.with_name(f"{folder.name}.lock")]
        times = {file.stat().st_mtime for file in files}
        assert len(files) == 4 and (min(times) > began - 60 if timed else times == {EARLIEST})


def test_timings_of_private_stages_can_be_left_out():
    assert "seconds" not in built("quiet", make, {"n": 5}, timed=False).artifact.meta


def test_what_an_earlier_version_kept_beside_is_left_out():
    thing = built("thing", make, {"n": 3})
    path = thing.artifact.path / "meta.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps(meta | {"fields": meta["fields"] | {"history": [1.0]}}))
    assert built("thing", make, {"n": 3}).note == "default" and CALLS == [3]


def test_what_a_work_is_sealed_to_holds_the_content_of_its_inputs():
    thing, seals = built("thing", make, {"n": 3}), []

    @recipes.work
    def asks(work: Work, thing: Thing) -> Stored:
        seals.append(work.made_by)
        return Stored()

    for note in ("as it was", "made anew"):
        meta = json.loads((thing.artifact.path / "meta.json").read_text())
        (thing.artifact.path / "meta.json").write_text(json.dumps(meta | {"fields": {"note": note}}))
        again = store.load(thing.artifact.path, Thing)
        shutil.rmtree(built("asked", asks, {}, thing=again).artifact.path)
    assert seals[0] != seals[1]
