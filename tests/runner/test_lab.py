"""`make lab` opens a run's pages filled, and leaves what a reader wrote in them."""

import os
import sys
from pathlib import Path

import nbformat
import pytest

from dpsynth.params import Params
from dpsynth.runner import lab, pages

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def started(root, monkeypatch):
    """What would be executed in place of the command: a list of (arguments, environment)."""
    found = []
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(lab.os, "execve", lambda program, command, environment: found.append((command, environment)))
    return found


def test_the_pages_of_a_run_are_copied_filled_and_the_first_is_opened(root, started, capsys):
    assert lab.main(["--scale", "laptop", "--epsilon", "inf", "--seed", "3"]) == 0
    p = Params.at("laptop", method="rpgen", epsilon=float("inf"), seed=3)
    names = [pages.PRIMER, *pages.STORY]
    opened = [root / "build" / "lab" / "laptop" / p.run_name / f"{name}.ipynb" for name in names]
    assert capsys.readouterr().out.splitlines() == [str(path) for path in opened]
    for path in opened[1:]:
        cells = [cell.source for cell in nbformat.read(path, 4).cells if "parameters" in cell.metadata.get("tags", ())]
        assert (
            len(cells) == 1
            and 'epsilon = float("inf")' in cells[0]
            and 'scale = "laptop"' in cells[0].replace("'", '"')
        )
    ((command, environment),) = started
    assert command == [sys.executable, "-m", "jupyter", "lab", str(opened[0])]
    assert environment["DPSYNTH_ROOT"] == os.path.realpath(root) and environment["OMP_NUM_THREADS"] == "2"


def test_the_answers_of_exercises_are_folded_and_nothing_else(root, started, capsys):
    for path in lab.copies(Params.at("smoke", method="rpgen")):
        for cell in nbformat.read(path, 4).cells:
            folded = (
                {"source_hidden": True, "outputs_hidden": True}
                if "hide-cell" in cell.metadata.get("tags", ())
                else None
            )
            assert cell.metadata.get("jupyter") == folded


def test_a_copy_that_stands_keeps_its_readers_edits(root, started, capsys):
    page, evaluation = lab.copies(Params(method="dp_mepf"))
    page.write_text("edited")
    evaluation.unlink()
    assert lab.main(["--method", "dp_mepf", "--no-browser"]) == 0
    assert page.read_text() == "edited" and evaluation.exists() and not started
    assert capsys.readouterr().out.splitlines() == [str(page), str(evaluation)]


@pytest.mark.parametrize(
    ("given", "said"),
    [(["--method", "gan"], "no method 'gan'"), (["--scale", "nosuch"], "no such scale 'nosuch'; there are gpu, laptop"),
     (["--method", "dpsda", "--epsilon", "inf"], "dpsda has no non-private twin")],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_in_one_line(root, started, capsys, given, said):
    assert lab.main(given) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and said in err and err.count("\n") == 1
    assert not started and not (root / "build").exists()
