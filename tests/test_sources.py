"""The digest wall: an artifact's name depends on the code of its work alone."""

import ast
from pathlib import Path

import pytest

import dpsynth
from dpsynth import sources
from dpsynth.methods import METHODS
from dpsynth.pipeline import STEPS

PACKAGE = Path(dpsynth.__file__).parent
# Edits that change no artifact: file, a line of it, what stands there instead.
WORDS = {
    "a docstring": ("stages/pretrain.py", '"""Adam on batches of the corpus.', '"""Descend.'),
    "a comment": ("stages/dp_sgd.py", "# side by side", "# beside each other"),
    "a figure": ("figures/images.py", "def grid(", "def grid_(a, b): ...\n\n\ndef grid("),
    "a certificate's sentence": ("privacy/certificate.py", 'RELEASE = "a release', 'RELEASE = "one release'),
    "the schedule": ("runner/reproduce.py", "known, claimed = measured_minutes(), {}", "known, claimed = {}, {}"),
    "a bar": ("stages/progress.py", "epsilon so far", "epsilon until now"),
    "the accountant": ("privacy/accounting.py", 'ADJACENCY = "add', 'ADJACENCY = "do add'),
    "the ledger": ("privacy/ledger.py", "is the ledger of", "stays the ledger of"),
    "what is refused": ("stages/selection.py", "cannot keep", "can not keep"),
    "the store": ("store.py", "FORMAT = 2", "FORMAT = 2 + 0"),
    "the pipeline": ("pipeline.py", "rows = {self.row_name: self.samples}", "rows = dict([(self.row_name, self.samples)])"),
}  # fmt: skip
# Edits that do, and the steps whose names change with them, of RPGen, PrivImage+G and DPSDA.
WORK = {
    "the diffusion loss": ("models/diffusion.py", "return weight * (denoised - x)", "return 2 * weight * (denoised - x)",
                           {"rpgen": {"base", "synthesiser"}, "privimage_g": set(), "dpsda": {"base"}}),
    "AMP": ("models/amp.py", "clean, gradients = at_weights()", "gradients, clean = at_weights()",
            {"rpgen": {"base"}, "privimage_g": set(), "dpsda": set()}),
    "the hinge loss": ("models/gan.py", "def hinge(", "def hinge(_=0, ",
                       {"rpgen": set(), "privimage_g": {"base", "synthesiser"}, "dpsda": set()}),
    "the query's votes": ("stages/query.py", "return model(x).topk(k, dim=1).indices", "return model(x).topk(k)[1]",
                          {"rpgen": {"encoder", "release"}, "privimage_g": {"encoder", "release"}, "dpsda": {"encoder"}}),
    "the clip": ("privacy/engine/clip.py", "return bound * MARGIN /", "return MARGIN * bound /",
                 {"rpgen": {"release", "synthesiser"}, "privimage_g": {"release", "synthesiser"}, "dpsda": {"synthesiser"}}),
    "the sampler": ("models/samplers.py", "def dpm_solver(", "def dpm_solver(_=0, ",
                    {"rpgen": {"samples"}, "privimage_g": set(), "dpsda": {"synthesiser"}}),
    "selection": ("stages/selection.py", "order[free[order]][:kept]", "order[free[order]][0:kept]",
                  {"rpgen": {"corpus"}, "privimage_g": {"corpus"}, "dpsda": set()}),
}  # fmt: skip


def codes(method):
    """Digest of the code of each work of a method, by step; of samples with the sampler."""
    row = METHODS[method]
    works = {step.kind: step.work or getattr(row, step.column) for step in STEPS}
    works = {kind: getattr(work, "release", work) for kind, work in works.items() if work}
    digests = {kind: sources.work_digest(work) for kind, work in works.items()}
    return digests | {"samples": digests["samples"] + sources.work_digest(row.sampler)}


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
    before = {method: codes(method) for method in expected}
    edit(*change)
    for method, kinds in expected.items():
        after = codes(method)
        assert {kind for kind in after if after[kind] != before[method][kind]} == kinds, method
