"""The command line: `dpsynth certificate PRIVATE_SET`, what was ever released of a set; `dpsynth prepare NAME`."""

import json
from pathlib import Path

import pytest
from PIL import Image

from dpsynth import __main__ as command
from dpsynth.data.originals import ORIGINALS
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
        (["certificate", "nowhere"], "nowhere.jsonl: no ledger, or an empty one; nothing was released here of nowhere"),
        (["certificate", "mnist5k", "--delta", "2"], "Expected 0 < delta=2.0 < 1"),
    ):
        assert command.main(arguments) == 2
        assert said in capsys.readouterr().err
    ledger.path.write_text(ledger.path.read_text().replace("4.0", "40.0"))
    assert command.main(["certificate", "mnist5k"]) == 2
    assert "mnist5k.jsonl:1 was edited by hand" in capsys.readouterr().err


@pytest.fixture
def faces(root, monkeypatch):
    """Two faces where 10,000 were published; the folder that they are in."""
    monkeypatch.setenv("DPSYNTH_DATA", str(root / "sets"))
    monkeypatch.setitem(ORIGINALS["celeba10k"].n_images, "train", 1)
    monkeypatch.setitem(ORIGINALS["celeba10k"].n_images, "test", 1)
    (root / "sets/celeba/img_align_celeba").mkdir(parents=True)
    for name in ("1.jpg", "2.jpg"):
        Image.new("RGB", (18, 22)).save(root / "sets/celeba/img_align_celeba" / name)
    (root / "sets/celeba/list_eval_partition.txt").write_text("1.jpg 0\n2.jpg 2\n")
    (root / "sets/celeba/list_attr_celeba.txt").write_text("2\nMale\n1.jpg 1\n2.jpg -1\n")
    return root / "sets"


def test_a_set_is_prepared_by_the_name_of_any_that_is_read_from_it(faces, capsys):
    assert command.main(["prepare", "celeba10k_gender"]) == 0
    said = capsys.readouterr()
    assert said.out == f"celeba10k: 2 images of 3x32x32 pixels in {faces}/prepared/celeba10k\n"
    assert "preparing celeba10k: 100%" in said.err
    assert command.main(["prepare", "celeba10k", "--check"]) == 0
    assert capsys.readouterr().out.endswith("prepared/celeba10k; their SHA-256 is the one written down\n")


def test_without_a_name_it_is_said_what_is_there_and_where_to_get_the_rest(faces, capsys):
    command.main(["prepare", "celeba10k"])
    capsys.readouterr()
    assert command.main(["prepare"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"in {faces} ($DPSYNTH_DATA):" and [line.split()[0] for line in lines] == list(ORIGINALS)
    said = dict(zip(ORIGINALS, lines, strict=True))
    assert "prepared, 0 MiB, from celeba/list_eval_partition.txt" in said["celeba10k"]
    assert "is there; `dpsynth prepare celeba32`" in said["celeba32"]
    assert "missing: there is no cifar-10-batches-py or cifar10/train" in said["cifar10"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no set 'nowhere' to prepare; there are cifar10, "),
        (["mnist5k"], "mnist5k needs no preparing; cifar10, "),
        (["glyphs"], "glyphs needs no preparing"),
        (["folder:x"], "folder:x needs no preparing"),
        (["cifar10"], "cifar10 is missing: there is no cifar-10-batches-py or cifar10/train in "),
        (["celeba32"], "of another size: it has 1 images of train and 1 images of test in 2 classes, where 162,770"),
        (["celeba10k", "--check"], "celeba10k is not prepared, there is no "),
        (["--check"], "--check reads one set as a whole: name it"),
    ],
)
def test_a_set_that_cannot_be_prepared_is_one_sentence_and_exit_2(faces, capsys, arguments, said):
    assert command.main(["prepare", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1


def test_a_relative_folder_of_sets_keeps_its_meaning(monkeypatch, tmp_path):
    from dpsynth import project

    there = project.folder().absolute()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(project, "folder", lambda: there)
    monkeypatch.setenv("DPSYNTH_DATA", "sets")
    project.enter()
    assert Path.cwd() == there and project.data() == tmp_path / "sets"
