"""One project, one ledger: whatever is started, and wherever, finds the project's root or refuses."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpsynth import __main__ as command
from dpsynth import mistakes, project, recipes
from dpsynth.checkpoints import Work
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy.disk import EARLIEST
from dpsynth.runner import pages

CHECKOUT = Path(__file__).parents[1]
PAGE = "notebooks/methods/dp_feta.py"
OWN = {
    "method": "dp_feta", "private": "folder:photos", "noise": "secret", "n_records": 8, "labels": ["red", "blue"],
    "size": 16, "delta": 1e-3, "steps": 2, "sample_rate": 0.5,
}  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A project without a dpsynth of its own, entered; DPSYNTH_ROOT is not set."""
    monkeypatch.delenv("DPSYNTH_ROOT", raising=False)
    return enter(made(tmp_path / "project with a 'name'"), monkeypatch)


def made(folder):
    for mark in project.MARKS:
        (folder / mark).parent.mkdir(parents=True, exist_ok=True)
        (folder / mark).mkdir() if mark == "params" else (folder / mark).touch()
    return folder


def enter(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def test_the_root_is_the_first_project_at_or_above_the_working_directory(place, monkeypatch):
    assert project.root() == project.folder() == Path() and project.root().resolve() == place
    (place / "notebooks/deep/er").mkdir(parents=True)
    for below in ("notebooks", "params", "notebooks/deep/er"):
        enter(place / below, monkeypatch)
        assert project.root() == project.folder() == place
    within = enter(made(place / "notebooks/deep/another"), monkeypatch)
    enter(within / "params", monkeypatch)
    assert project.root() == within


def test_the_root_that_is_set_comes_first_and_an_empty_one_is_none(place, tmp_path, monkeypatch):
    monkeypatch.setenv("DPSYNTH_ROOT", str(tmp_path / "x"))
    assert project.root() == tmp_path / "x" and project.folder() == Path()
    monkeypatch.setenv("DPSYNTH_ROOT", "out")
    assert project.root() == Path("out")
    monkeypatch.setenv("DPSYNTH_ROOT", "")
    enter(place / "notebooks", monkeypatch)
    assert project.root() == place


def test_elsewhere_it_is_the_checkout_of_the_package_and_else_none(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DPSYNTH_ROOT", raising=False)
    enter(tmp_path, monkeypatch)
    assert project.root() == project.folder() == CHECKOUT
    monkeypatch.setattr(project, "PACKAGE", tmp_path / "site-packages" / "dpsynth")
    for action in (
        lambda: command.main(["certificate", "mnist5k"]),
        lambda: planned(Params()),
    ):
        assert action() == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: no project at or above {tmp_path}: start in") and said.count("\n") == 1
        assert said.endswith("set DPSYNTH_ROOT to where its ledger shall lie; nothing was touched\n")
    assert not list(tmp_path.iterdir())


def planned(p):
    def action():
        with mistakes.mistakes():
            Run(p).ledger

    return mistakes.ended(action)


def test_a_copied_environment_that_imports_the_original_is_refused(place, monkeypatch):
    (place / "dpsynth").mkdir()
    (place / "dpsynth/__init__.py").touch()
    for root in (None, str(place), ""):
        monkeypatch.setenv("DPSYNTH_ROOT", root) if root is not None else None
        for below in (".", "notebooks"):
            monkeypatch.chdir(place / below)
            with pytest.raises(ValueError, match="has a dpsynth of its own, but this Python imports") as error:
                project.root()
            assert str(place) in str(error.value) and str(CHECKOUT) in str(error.value) and "make" in str(error.value)
    shutil.rmtree(place / "dpsynth")
    (place / "dpsynth").symlink_to(CHECKOUT / "dpsynth")
    assert project.folder() == place


@recipes.work
def named(work: Work, *, public: str) -> recipes.Stored:
    return recipes.Stored()


def test_a_relative_folder_means_the_same_wherever_a_run_is_read(place, monkeypatch):
    p = Params(**OWN | {"public": "folder:pub"})
    assert (p.private, p.public) == ("folder:photos", "folder:pub")
    monkeypatch.chdir("notebooks")
    there = Params(**OWN | {"public": "folder:pub"})
    assert (there.private, there.public) == (f"folder:{place}/photos", f"folder:{place}/pub")
    for name in ("folder:/abs/photos", "folder:~/photos", "mnist5k", "folder:"):
        assert project.anchored(name) == name
    digests = []
    for given, below in ((p, place), (there, place / "notebooks")):
        monkeypatch.chdir(below)
        digests.append((
            Run(given).ledger.path.resolve(),
            recipes.recipe("corpus", named, {"public": given.public}).identity,
        ))  # fmt: skip
    assert digests[0] == digests[1] and digests[0][0].parent == place / "ledger"


def test_a_command_goes_to_the_project_and_a_relative_root_keeps_its_meaning(place, monkeypatch):
    monkeypatch.setenv("DPSYNTH_ROOT", "out")
    monkeypatch.chdir("notebooks")
    project.enter()
    assert Path.cwd() == place and os.environ["DPSYNTH_ROOT"] == str(place / "notebooks/out")
    monkeypatch.delenv("DPSYNTH_ROOT")
    project.enter()
    assert Path.cwd() == place and "DPSYNTH_ROOT" not in os.environ


def photos(folder):
    draws = np.random.default_rng(0)
    for label in OWN["labels"]:
        (folder / label).mkdir(parents=True)
        for i in range(OWN["n_records"] // 2):
            Image.fromarray(draws.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / label / f"{i}.png")


def test_a_notebook_started_by_nbconvert_in_its_own_folder_spends_from_the_projects_ledger(place, monkeypatch, capsys):
    text = (CHECKOUT / PAGE).read_text(encoding="utf-8")
    changes = {name: value for name, value in OWN.items() if name not in pages.NAMES}
    for name, value in (("private", OWN["private"]), ("changes", changes)):
        text, found = re.subn(rf"(?m)^{name} = .*?(  # .*)$", lambda m, n=name, v=value: f"{n} = {v!r}{m[1]}", text)
        assert found == 1, name
    (place / PAGE).parent.mkdir()
    (place / PAGE).write_text(text, encoding="utf-8")
    shutil.copytree(CHECKOUT / "params/scales", place / "params/scales")
    photos(place / "photos")
    env = {k: v for k, v in os.environ.items() if k != "DPSYNTH_ROOT"} | {"PYTHONPATH": str(CHECKOUT)}
    for tool in ("jupytext --quiet --to ipynb dp_feta.py", "jupyter nbconvert --to notebook --execute dp_feta.ipynb"):
        arguments = [sys.executable, "-m", *tool.split()]
        ran = subprocess.run(arguments, cwd=(place / PAGE).parent, env=env, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr[-3000:]
    assert [path.parent for path in place.rglob("ledger")] == [place]
    (ledger,) = (place / "ledger").glob("*.jsonl")
    assert ledger.read_text().count('"open"') == 2
    artifacts = [*(place / "build/artifacts").rglob("*")]
    assert len(artifacts) > 6 and {path.stat().st_mtime for path in artifacts} == {EARLIEST}
    for below in (".", "notebooks/methods", "params"):
        monkeypatch.chdir(place / below)
        assert command.main(["certificate", "folder:photos", "--delta", "1e-3"]) == 0
        said = capsys.readouterr().out
        assert "photos: 2 releases, epsilon" in said and said.endswith(f"  read in {ledger}\n")
    assert command.main(["certificate", f"folder:{place}/photos", "--json", "--delta", "1e-3"]) == 0
    assert json.loads(capsys.readouterr().out)["ledger"] == str(ledger)
