"""The planted bugs stay plantable: each patch finds its text, once, and leaves code that parses."""

import ast
import sys
from pathlib import Path

import pytest

import dpsynth

PACKAGE = Path(dpsynth.__file__).parent
FOLDER = Path(__file__).parent / "mutants"


sys.path.append(str(FOLDER))
import machine  # noqa: E402
from harmless import HARMLESS  # noqa: E402
from planted import BUGS  # noqa: E402

MADE = {"core": machine.mutants(PACKAGE, machine.CORE), "stages": machine.mutants(PACKAGE, machine.STAGES)}
MACHINE = [mutant for of_place in MADE.values() for mutant in of_place]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_finds_its_place(bug):
    for file, old, new in bug.patches:
        text = (PACKAGE / file).read_text()
        assert text.count(old) == 1 and new != old
        ast.parse(text.replace(old, new))


def test_machine_made_mutants_parse_and_have_names_of_their_own():
    assert len(MADE["core"]) > 150 and len(MADE["stages"]) > 60
    assert len({m.name for m in MACHINE}) == len(MACHINE)
    for mutant in MACHINE:
        text = (PACKAGE / mutant.file).read_text()
        assert ast.dump(ast.parse(mutant.apply(text))) != ast.dump(ast.parse(text))


def test_there_are_planted_bugs_in_the_core_and_in_the_stages():
    files = [bug.patches[0][0] for bug in BUGS]
    assert len(files) > 80 and sum(file.startswith(("stages", "methods", "models")) for file in files) > 20


def test_every_excuse_names_a_mutant_that_exists():
    names = {m.name for m in MACHINE} | {bug.name for bug in BUGS}
    assert HARMLESS.keys() <= names
