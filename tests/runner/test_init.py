"""`dpsynth init`: a parameter file for a folder, from what its owner confirms, whole or not at all."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from dpsynth import __main__ as command
from dpsynth import experiments
from dpsynth.data import survey
from dpsynth.runner import init


def image(path, side=40, grey=False, number=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (side, side + 8) if grey else (side, side + 8, 3)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)).save(path)


@pytest.fixture
def photos(enter, tmp_path, monkeypatch):
    """A project without prepared sets, and a folder of a user's own outside it: 5 cats, 7 dogs."""
    enter("project")
    monkeypatch.delenv("DPSYNTH_DATA", raising=False)
    for number in range(12):
        image(tmp_path / f"photos/{'cat' if number < 5 else 'dog'}/{number}.png", number=number)
    return tmp_path / "photos"


@pytest.fixture
def answers(monkeypatch):
    """A terminal at which somebody gives these answers, and then none."""

    def given(*lines):
        left = iter(lines)

        def answer(question):
            if (line := next(left, None)) is None:
                raise EOFError
            return line

        monkeypatch.setattr("builtins.input", answer)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)

    return given


def test_what_is_proposed_is_a_file_that_reads_as_a_run_of_that_folder(photos, capsys):
    assert command.main(["init", str(photos), "--yes"]) == 0
    said = capsys.readouterr().out
    (p,) = experiments.load("photos").points()
    assert (p.private, p.n_records, p.labels) == (f"folder:{photos}", 12, ("cat", "dog"))
    assert (p.size, p.noise, p.delta, p.scale, p.public) == (32, "secret", 1e-3, "laptop_colour", "tiny_imagenet32")
    assert p.method == "rpgen" and p.sample_rate == 1 and p.options["kept"] == 3
    assert "is public" in said and "glyphs do not help photographs" in said
    assert "dpsynth rehearse photos" in said and "tiny_imagenet32 is not prepared here: missing: " in said


def test_grey_images_get_glyphs_and_images_without_classes_no_labels(photos, tmp_path, capsys):
    for number in range(5):
        image(tmp_path / f"scans/{number}.png", side=30, grey=True, number=number)
    assert command.main(["init", str(tmp_path / "scans"), "--yes", "--name", "my scans"]) == 0
    (p,) = experiments.load("my_scans").points()
    assert (p.labels, p.size, p.public, p.scale, p.n_classes) == ((), 28, "glyphs", "laptop", 1)


def test_answers_take_the_place_of_what_is_proposed_and_bad_ones_are_asked_anew(photos, answers, capsys):
    answers("mine", "30", "24", "lots", "0.5", "gliphs", "glyphs", "yes")
    assert command.main(["init", str(photos)]) == 0
    (p,) = experiments.load("mine").points()
    assert (p.size, p.epsilon, p.public) == (24, 0.5, "glyphs")
    said = capsys.readouterr().out
    assert "30: expected a multiple of 4" in said and "lots: expected a number" in said and "gliphs: there are" in said


@pytest.mark.parametrize("lines", [("", "", "", "", "no"), ("", ""), ("", "", "", "", "")])
def test_nothing_is_written_unless_it_is_confirmed(photos, answers, capsys, lines):
    before = sorted(os.listdir("params"))
    answers(*lines)
    assert command.main(["init", str(photos)]) == 2
    assert "not confirmed; nothing was written" in capsys.readouterr().err
    assert sorted(os.listdir("params")) == before


def test_without_a_terminal_nothing_is_declared_public(photos, capsys):
    assert command.main(["init", str(photos)]) == 2
    assert "nobody is at the terminal: add --yes" in capsys.readouterr().err
    assert not os.path.exists("params/photos.yaml")


def test_a_closed_standard_input_is_no_terminal(photos, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it after `<&-`
    assert command.main(["init", str(photos)]) == 2
    assert "nobody is at the terminal: add --yes" in capsys.readouterr().err


def test_a_file_in_the_folders_place_is_said_to_be_one(photos, capsys):
    archive = photos.with_suffix(".zip")
    archive.write_bytes(b"PK")
    assert command.main(["init", str(archive), "--yes"]) == 2
    said = capsys.readouterr().err
    assert f"{archive} is a file: give the folder" in said and "does not exist" not in said
    assert not os.path.exists("params/photos.yaml")


def test_a_file_is_never_overwritten(photos, capsys):
    assert command.main(["init", str(photos), "--yes"]) == 0
    with open("params/photos.yaml", "a") as file:
        file.write("# mine\n")
    assert command.main(["init", str(photos), "--yes"]) == 2
    assert "params/photos.yaml exists, and is not overwritten" in capsys.readouterr().err
    with open("params/photos.yaml") as file:
        assert file.read().endswith("# mine\n")


def damage(path, how):
    """Make a folder one that no parameter file can be written for."""
    if how == "empty":
        for file in path.rglob("*.png"):
            file.unlink()
    elif how == "nested":
        image(path / "cat/more/1.png")
    elif how == "mixed":
        image(path / "beside.png")
    elif how == "no image":
        (path / "cat/0.png").write_text("a text")
    elif how == "cut off":
        (path / "cat/0.png").write_bytes((path / "cat/0.png").read_bytes()[:60])
    elif how == "line break":
        (path / "cat").rename(path / "c\nat")
    elif how == "bytes":
        os.rename(os.fsencode(path / "cat"), os.fsencode(path) + b"/\xff")
    elif how == "tiny":
        for file in path.rglob("*.png"):
            Image.new("RGB", (4, 4)).save(file)
    elif how == "gone":
        path.rename(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    "how, reason",
    [
        ("empty", "is empty; put images in it"),
        ("nested", "classes do not nest"),
        ("mixed", "lies beside class folders"),
        ("no image", "files that are none"),
        ("cut off", "cannot be read"),
        ("line break", "has a class folder whose name no label can be"),
        ("bytes", "is not Unicode"),
        ("tiny", "the images are 4 pixels wide or high, and 8 are the fewest"),
        ("gone", "does not exist; check the path"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_one_sentence(photos, capsys, how, reason):
    damage(photos, how)
    assert command.main(["init", str(photos), "--yes"]) == 2
    said = capsys.readouterr().err
    assert reason in said and said.strip().splitlines()[-1].startswith("error: ")
    assert not os.path.exists("params/photos.yaml")


def test_of_a_huge_folder_few_images_are_opened(photos, monkeypatch):
    opened, look = [], survey._looked_at
    monkeypatch.setattr(survey, "OPENED", 4)
    monkeypatch.setattr(survey, "_looked_at", lambda file: opened.append(file) or look(file))
    assert survey.survey(photos).n_files == 12
    assert len(opened) == 4 and {file.parent.name for file in opened} == {"cat", "dog"}


@pytest.mark.parametrize("n", [1, 9, 10, 99, 100, 6000, 10_000, 162_770])
def test_delta_is_the_largest_power_of_ten_up_to_a_tenth_of_one_over_n(n):
    assert float(init.delta(n)) <= (1 + 1e-9) * 0.1 / n < 10 * float(init.delta(n))
