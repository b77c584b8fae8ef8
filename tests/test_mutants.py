"""The planted bugs stay plantable: each patch finds its text, once, and leaves code that parses."""

import ast
import importlib.util
from pathlib import Path

import pytest

import dpsynth

PACKAGE = Path(dpsynth.__file__).parent
FOLDER = Path(__file__).parent / "mutants"


def module(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


BUGS, MACHINE = module("planted").BUGS, module("machine").mutants(PACKAGE / "privacy")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_finds_its_place(bug):
    for file, old, new in bug.patches:
        text = (PACKAGE / file).read_text()
        assert text.count(old) == 1 and new != old
        ast.parse(text.replace(old, new))


def test_machine_made_mutants_parse_and_have_names_of_their_own():
    assert len(MACHINE) > 150 and len({m.name for m in MACHINE}) == len(MACHINE)
    for mutant in MACHINE:
        text = (PACKAGE / "privacy" / mutant.file).read_text()
        assert ast.dump(ast.parse(mutant.apply(text))) != ast.dump(ast.parse(text))


def test_every_excuse_names_a_mutant_that_exists():
    names = {m.name for m in MACHINE} | {bug.name for bug in BUGS}
    assert set(module("harmless").HARMLESS) <= names
