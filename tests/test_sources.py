"""The digest wall: an artifact's name depends on the code of its work alone."""

import ast
import json
from pathlib import Path

import pytest

import dpsynth
from dpsynth import sources
from dpsynth.methods import METHODS
from dpsynth.steps import STEPS

PACKAGE = Path(dpsynth.__file__).parent
# Edits that change no artifact: file, a line of it, what stands there instead.
WORDS = {
    "a docstring": ("stages/pretrain.py", '"""Adam on batches of the corpus.', '"""Descend.'),
    "a comment": ("stages/dp_sgd.py", "# side by side", "# beside each other"),
    "a figure": ("figures/images.py", "def grid(", "def grid_(a, b): ...\n\n\ndef grid("),
    "a certificate's sentence": ("budget/certificate.py", 'RELEASE = "a release', 'RELEASE = "one release'),
    "the schedule": ("runner/reproduce.py", "known, claimed = measured_minutes(), {}", "known, claimed = {}, {}"),
    "a bar": ("stages/progress.py", "epsilon so far", "epsilon until now"),
    "the accountant": ("privacy/accounting.py", 'ADJACENCY = "add', 'ADJACENCY = "do add'),
    "the ledger": ("privacy/ledger.py", "is the ledger of", "stays the ledger of"),
    "what is refused": ("stages/selection.py", "cannot keep", "can not keep"),
    "the store": ("recipes.py", "FORMAT = 2", "FORMAT = 2 + 0"),
    "the pipeline": (
        "pipeline.py", 'rows = {self.row_name: "samples"}', 'rows = dict(((self.row_name, "samples"),))',
    ),
}  # fmt: skip
RPGEN, G, PE = "rpgen", "privimage_g", "dpsda"
# Edits that do, and the steps whose names change with them, by method; of the others none does.
WORK = {
    "the diffusion loss": (
        "models/diffusion.py", "return weight * (denoised - x)", "return 2 * weight * (denoised - x)",
        {RPGEN: {"base", "synthesiser"}, PE: {"base"}},
    ),
    "AMP": (
        "models/amp.py", "clean, gradients = at_weights()", "gradients, clean = at_weights()", {RPGEN: {"base"}},
    ),
    "the hinge loss": ("models/gan.py", "def hinge(", "def hinge(_, ", {G: {"base", "synthesiser"}}),
    "the query's votes": (
        "stages/query.py", "model(device.put(x)).topk(k, dim=1).indices", "model(device.put(x)).topk(k)[1]",
        {RPGEN: {"encoder", "release"}, G: {"encoder", "release"}, PE: {"encoder"}},
    ),
    "the clip of gradients": (
        "privacy/engine/clip.py", "return exact.clamp(min=0) + terms", "return terms + exact.clamp(min=0)",
        {RPGEN: {"synthesiser"}, G: {"synthesiser"}},
    ),
    "the noise of histograms": (
        "privacy/private.py", "histogram + noise.reshape(", "histogram + 0 * noise.reshape(1) + noise.reshape(",
        {RPGEN: {"release"}, G: {"release"}, PE: {"synthesiser"}},
    ),
    "the solver": ("models/samplers.py", "def dpm_solver(", "def dpm_solver(_, ",
                   {RPGEN: {"samples"}, G: {"samples"}, PE: {"samples", "synthesiser"}}),
    "selection": (
        "stages/selection.py", "order[free[order]][:kept]", "order[free[order]][0:kept]",
        {RPGEN: {"corpus"}, G: {"corpus"}},
    ),
}  # fmt: skip


REFERENCE = {"pretrained"}  # drawn as samples are


def codes(method):
    """Digest of the code of each work of a method, by step."""
    row = METHODS[method]
    works = {step.kind: step.work or getattr(row, step.column) for step in STEPS}
    return {kind: sources.work_digest(getattr(work, "release", work)) for kind, work in works.items() if work}


@pytest.fixture
def edit(monkeypatch):
    """Read a file of the package as if a line of it were another; the file itself stays."""
    read = Path.read_text

    def edit(file, line, instead):
        text = read(PACKAGE / file, encoding="utf-8")
        assert text.count(line) >= 1, f"{file} has no line {line!r}"
        changed = text.replace(line, instead, 1)
        ast.parse(changed)
        monkeypatch.setattr(
            Path, "read_text", lambda path, *a, **k: changed if path == PACKAGE / file else read(path, *a, **k)
        )
        sources._module.cache_clear()

    yield edit
    monkeypatch.undo()
    sources._module.cache_clear()


@pytest.mark.parametrize("case", WORDS, ids=list(WORDS))
def test_an_edit_of_words_or_of_what_shows_schedules_and_prices_renames_nothing(edit, case):
    before = {method: codes(method) for method in METHODS}
    edit(*WORDS[case])
    assert {method: codes(method) for method in METHODS} == before


@pytest.mark.parametrize("case", WORK, ids=list(WORK))
def test_an_edit_of_work_renames_exactly_what_it_makes(edit, case):
    *change, expected = WORK[case]
    before = {method: codes(method) for method in (RPGEN, G, PE)}
    edit(*change)
    for method in before:
        after = codes(method)
        changed = {kind for kind in after if after[kind] != before[method][kind]}
        assert changed - REFERENCE == expected.get(method, set()), method


def test_code_that_was_edited_after_the_process_began_names_nothing(monkeypatch):
    sources._module.cache_clear()
    monkeypatch.setattr(sources, "STARTED", 0.0)
    with pytest.raises(ValueError, match=r"dp_sgd.py was edited after this process began.*: start the kernel"):
        sources.work_digest(METHODS["dpdm"].learn.release)
    monkeypatch.undo()
    sources._module.cache_clear()
    assert sources.work_digest(METHODS["dpdm"].learn.release)


def test_work_that_is_defined_elsewhere_is_refused_in_a_sentence():
    work = type("Work", (), {"__module__": "elsewhere", "__qualname__": "mine"})
    with pytest.raises(ValueError, match="mine is defined in elsewhere: work belongs into a module of dpsynth"):
        sources.work_digest(work)


def test_a_name_is_the_same_under_every_python():
    """3.12 gave functions a field of type parameters, 3.13 leaves empty fields out of its dumps."""
    tree = ast.parse('def f(a, *, b=None):\n    return f"{a!r} {b}", [], 0\n').body[0]
    arguments = """["arguments", ["args", [["arg", ["arg", "'a'"]]]], ["kwonlyargs", [["arg", ["arg", "'b'"]]]],
        ["kw_defaults", [["Constant"]]]]"""
    values = """[["FormattedValue", ["value", ["Name", ["id", "'a'"], ["ctx", ["Load"]]]], ["conversion", "114"]],
        ["Constant", ["value", "' '"]],
        ["FormattedValue", ["value", ["Name", ["id", "'b'"], ["ctx", ["Load"]]]], ["conversion", "-1"]]]"""
    several = f"""["Tuple", ["elts", [["JoinedStr", ["values", {values}]], ["List", ["ctx", ["Load"]]],
        ["Constant", ["value", "0"]]]], ["ctx", ["Load"]]]"""
    expected = (
        f"""["FunctionDef", ["name", "'f'"], ["args", {arguments}], ["body", [["Return", ["value", {several}]]]]]"""
    )
    assert json.loads(sources.as_text(tree)) == json.loads(expected)
