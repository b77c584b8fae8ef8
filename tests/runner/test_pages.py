"""The pages of a run: which notebooks tell it, and how their parameters cell is filled."""

import math
from pathlib import Path

import pytest

from dpsynth import experiments
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.runner import pages
from dpsynth.steps import STAGES

PROJECT = Path(__file__).parents[2]
RUNS = [p for name in ("table", "table1_digits", "ablations", "choosing") for p in experiments.load(name).points()]
FOLDER = {
    "private": "folder:photos", "n_records": 4000, "labels": ["cat", "dog"], "size": 32, "noise": "secret",
}  # fmt: skip
CELL = "\n".join(f"{name} = None  # what it is" for name in (*pages.NAMES, "changes"))


@pytest.mark.parametrize("method", METHODS)
def test_each_stage_of_a_method_is_told_once_on_pages_that_exist(method):
    found = pages.pages(method)
    assert [stage for stages in found.values() for stage in stages] == list(STAGES)
    assert all((PROJECT / "notebooks" / f"{page}.py").exists() for page in found)


def test_a_method_with_a_page_of_its_own_has_that_and_the_evaluation():
    assert list(pages.pages("rpgen")) == list(pages.STORY) and len(pages.STORY) == len(STAGES)
    assert list(pages.pages("dp_mepf")) == ["methods/dp_mepf", "05_eval_figures"]


@pytest.mark.parametrize(
    "p", [*RUNS, Params(), Params(**FOLDER), Params(epsilon=math.inf, options={"votes": 1})], ids=lambda p: p.run_name
)
def test_a_filled_cell_names_the_run(p):
    namespace = {}
    exec(pages.filled(CELL, p, Path("toy.py")), namespace)
    names = {name: namespace[name] for name in pages.NAMES}
    assert Params.at(**names, **namespace["changes"]) == p


def test_a_filled_cell_says_only_what_is_not_the_scales_and_keeps_its_comments():
    p = Params.at("laptop", method="rpgen", steps=7, votes=2, epsilon=math.inf)
    lines = pages.filled(f"# first\n{CELL}", p, Path("toy.py")).splitlines()
    assert lines[0] == "# first" and 'epsilon = float("inf")  # what it is' in lines
    assert lines[-1] == "changes = {'steps': 7, 'votes': 2}  # what it is"


def test_a_run_without_an_option_that_its_scale_sets_cannot_be_named():
    left_out = "scale laptop sets amp_gamma, average, kept for rpgen, which this run leaves out"
    with pytest.raises(ValueError, match=left_out):
        pages.changes(Params(scale="laptop"))
