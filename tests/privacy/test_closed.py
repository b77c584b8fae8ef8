"""Only `dpsynth.privacy` opens private records; whoever opens a benchmark for evaluation is listed here."""

import ast
from pathlib import Path

import pytest

import dpsynth

PACKAGE = Path(dpsynth.__file__).parent
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "notebooks").glob("*.py")])
OUTSIDE = [path for path in SOURCES if PACKAGE / "privacy" not in path.parents]
SEALED = {"_images", "_labels"}

# Every use of the marked door, by module and function. A new line here is a decision: it shows unnoised records of a
# public benchmark, and must never be reached by a user's own folder.
EVALUATIONS = {
    ("bench/samplers.py", "measure"),
    ("report/pictures.py", "neighbours"),
    ("report/rehearsals.py", "measured"),
    ("report/pictures.py", "embedding"),
    ("report/pictures.py", "strip"),
    ("stages/evaluate.py", "real"),
    ("stages/evaluate.py", "measure"),
    ("stages/evaluate.py", "measure_distances"),
    ("stages/evaluate.py", "answer"),
    ("stages/robustness.py", "robustness"),
    ("stages/similarity.py", "similarity"),
    ("report/gallery.py", "_embedding"),
    ("report/gallery.py", "_samples"),
    ("stages/dp_sgd.py", "without_privacy"),
    ("stages/query.py", "exact_histogram"),
}


def sealed(tree):
    """Names through which `tree` would reach into a `Private`: attributes, and strings for getattr or __dict__."""
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return (attributes | strings) & SEALED


def callers(tree, name):
    """Functions of `tree` that call `name` or `privacy.name`; 'module' for a call outside any."""
    found, functions = set(), [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name:
            around = [f.name for f in functions if f.lineno <= node.lineno <= f.end_lineno]
            found.add(around[-1] if around else "module")
    return found


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.name)
def test_nothing_outside_privacy_reaches_into_a_private_set(path):
    tree = ast.parse(path.read_text())
    own = {
        target.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute)
    }  # a class of its own may have an attribute of that name
    assert not sealed(tree) - own


def test_every_use_of_evaluation_is_listed():
    found = {
        (str(path.relative_to(PACKAGE)), function)
        for path in OUTSIDE
        if PACKAGE in path.parents
        for function in callers(ast.parse(path.read_text()), "evaluation")
    }
    assert found == EVALUATIONS
    notebooks = {path.name for path in OUTSIDE if PACKAGE not in path.parents and "evaluation(" in path.read_text()}
    assert not notebooks


def test_who_seals_records_and_who_makes_up_coins_is_listed():
    names = ("Private", "PrivateFolder", "PreparedBenchmark", "Charge", "Coins", "rehearsal")
    made = {name: set() for name in names}
    for path in OUTSIDE:
        for name in made:
            for function in callers(ast.parse(path.read_text()), name):
                made[name].add((path.name, function))
    nobodys = {("dp_sgd.py", "rehearsal"), ("audit.py", "_scores")}  # sets that nobody owns
    assert made == {
        "Private": {("catalog.py", "private"), *nobodys},
        "PrivateFolder": {("folder_sets.py", "private")},
        "PreparedBenchmark": {("catalog.py", "private"), ("stand_ins.py", "private")},
        "Charge": nobodys,
        "Coins": nobodys,
        "rehearsal": {("dp_sgd.py", "minutes_of"), ("steps.py", "ours"), ("estimates.py", "_clipped")},
    }


def test_the_core_imports_nothing_else_of_ours_and_no_other_generator():
    for path in (PACKAGE / "privacy").rglob("*.py"):
        tree = ast.parse(path.read_text())
        modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        modules |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
        assert not [m for m in modules if m.startswith("dpsynth") and not m.startswith("dpsynth.privacy")], path
        attributes = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        drawn = [a for a in attributes if a.startswith(("np.random", "torch.rand", "torch.normal", "random."))]
        assert not drawn and "random" not in modules, path


def test_the_core_without_the_engine_stays_under_1250_lines():
    core = (PACKAGE / "privacy").glob("*.py")
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in core) < 1250
