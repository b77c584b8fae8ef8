"""A torn checkpoint is set aside with a word, and the work begins again and ends with the same bits."""

import errno
import os
import pickle
import zipfile

import pytest
import torch

from dpsynth import recipes, store
from dpsynth.checkpoints import Work
from dpsynth.models import training
from dpsynth.privacy import disk


@pytest.fixture
def work(tmp_path):
    return Work("base", "d" * 64, tmp_path, ())


def cut(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def zipped(path):
    with zipfile.ZipFile(path, "w") as other:
        other.writestr("x", "y")


TORN = {
    "empty": lambda path: path.write_bytes(b""),
    "one byte": lambda path: path.write_bytes(b"P"),
    "cut in the middle": lambda path: cut(path, 0.5),
    "cut near the end": lambda path: cut(path, 0.98),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "garbage": lambda path: path.write_bytes(b"\xff\x80garbage" * 99),
    "text": lambda path: path.write_text("<html>not found</html>"),
    "another zip": zipped,
    "another pickle": lambda path: path.write_bytes(pickle.dumps({"of": "x"})),
    "a list": lambda path: torch.save([1, 2], path),
    "a tensor": lambda path: torch.save(torch.ones(2), path),
    "nothing of whose": lambda path: torch.save({"step": 3}, path),
}


@pytest.mark.parametrize("tear", TORN.values(), ids=TORN)
def test_a_torn_checkpoint_is_set_aside_with_a_word(work, capsys, tear):
    work.save(step=3, parts={"x": torch.ones(2000)})
    tear(work.path / "checkpoint.pt")
    assert work.resume() is None
    said = capsys.readouterr().err
    assert said.startswith(f"\n{work.path}/checkpoint.torn: this checkpoint was not whole (") and said.count("\n") == 2
    assert [file.name for file in work.path.iterdir()] == ["checkpoint.torn"]
    work.save(step=1)
    assert work.resume() == {"step": 1}
    work.forget()
    assert not list(work.path.iterdir())


def test_one_of_other_settings_is_refused_and_kept(work):
    Work("base", "e" * 64, work.path, ()).save(step=3)
    with pytest.raises(ValueError, match=r"was saved by another run than base-dddd.*; delete that folder"):
        work.resume()
    assert (work.path / "checkpoint.pt").exists()


def test_an_error_of_the_machine_tears_nothing(work, monkeypatch):
    work.save(step=3)

    def fail(*args, **kwargs):
        raise OSError(errno.EIO, os.strerror(errno.EIO), "checkpoint.pt")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(OSError, match="Input/output"):
        work.resume()
    assert (work.path / "checkpoint.pt").exists()


def test_a_checkpoint_is_on_disk_before_it_has_its_name_and_its_name_before_the_next_step(work, monkeypatch):
    done, replace = [], os.replace
    monkeypatch.setattr(disk.os, "fsync", lambda fd: done.append(os.readlink(f"/proc/self/fd/{fd}")))
    monkeypatch.setattr(disk.os, "replace", lambda *paths: done.append("named") or replace(*paths))
    work.save(step=3)
    assert done == [str(work.path / "checkpoint.pt.tmp"), "named", str(work.path)]


def learn(work, calls, stop=None):
    """Six steps of a tiny training; ends in an interrupt before the step `stop`."""
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 2)
    for step in training.steps(work, 6, {"model": model}, {}):
        if step == stop:
            raise KeyboardInterrupt
        calls.append(step)
        model.weight.data += torch.rand(2, 2, generator=training.generator(3, step))
    return model.weight


@pytest.mark.parametrize(
    "tear", [TORN["empty"], TORN["cut in the middle"], TORN["garbage"]], ids=["empty", "cut", "bad"]
)
def test_training_begins_again_after_a_torn_checkpoint_and_ends_with_the_same_bits(work, tmp_path, monkeypatch, tear):
    monkeypatch.setattr(training, "PATIENCE", -1.0)
    whole, calls = learn(Work("base", "d", tmp_path, ()), []), []
    work.forget()
    with pytest.raises(KeyboardInterrupt):
        learn(work, calls, stop=4)
    tear(work.path / "checkpoint.pt")
    assert torch.equal(learn(work, calls), whole) and calls == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]


def test_training_that_diverges_ends_at_the_next_checkpoint(work, monkeypatch):
    monkeypatch.setattr(training, "PATIENCE", -1.0)
    model, done = torch.nn.Linear(2, 2), []
    with pytest.raises(ValueError, match="base: model/weight is not finite, its training diverged"):
        for step in training.steps(work, 6, {"model": model, "optimizer": torch.optim.Adam(model.parameters())}, {}):
            done.append(step)
            model.weight.data *= 1e30
    assert done == [0, 1] and work.resume()["step"] == 1


@recipes.work
def torn(work: Work) -> recipes.Stored:
    (work.path / "checkpoint.torn").write_text("x")
    work.save(step=1)
    return recipes.Stored()


def test_an_artifact_takes_no_torn_checkpoint_along(root):
    built = store.build(recipes.recipe("thing", torn, {})).artifact.path
    assert sorted(file.name for file in built.iterdir()) == ["meta.json", "tensors.safetensors"]
