"""The notebooks are prose, calls, and the method's own source; what only shows something never ends a run."""

import ast
import io
import tokenize
from pathlib import Path

import jupytext
import pytest

from dpsynth.data import glyphs
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.runner import cells, pages

FOLDER = Path(__file__).parents[1] / "notebooks"
FOR_SHOW = {  # what only prepares something to be shown: it asks nothing private that was not asked before
    "audit.both", "dp_feta.images", "planning.spent_along", "risk.words", "run.expected_minutes",
    "run.plan.mechanism", "run.plan.spent", "source",
}  # fmt: skip
BUILTINS = {"print", "any", "dict", "twins.values", "twins.items", "base.history.get", "clip", "Private.gradient"}
MAKES = {
    "run_files.write_certificate",
    "run_files.write_synthetic",
    "run_files.write_artifacts",
    "run_files.write_metrics",
}
STORY = [FOLDER / f"{name}.py" for name in pages.STORY]
METHOD_PAGES = sorted((FOLDER / "methods").glob("*.py"))
FILES = [*STORY, *METHOD_PAGES]
LESSONS = [FOLDER / f"{pages.PRIMER}.py", *STORY]
each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
each_of_all = pytest.mark.parametrize("path", [*LESSONS, *METHOD_PAGES], ids=lambda path: path.stem)
QUESTION = "**Exercise "


def code_cells(path):
    return [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]


def is_answer(cell):
    return pages.FOLDED in cell.metadata.get("tags", ())


def code_lines(source):
    """Lines that hold code: neither blank nor a comment alone."""
    kinds = (
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
    )  # fmt: skip
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {line for t in tokens if t.type not in kinds for line in range(t.start[0], t.end[0] + 1)}


def test_there_is_a_notebook_for_each_stage_and_a_page_for_each_other_method():
    assert sorted(FOLDER.glob("*.py")) == LESSONS
    named = {name for method in METHODS for name in pages.pages(method)}
    assert named == {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FILES}
    assert list(pages.pages("rpgen")) == list(pages.STORY) == list(pages.pages("privimage_d"))


@each
def test_the_first_code_cell_has_the_few_names_that_a_reader_changes(path):
    first, *others = code_cells(path)
    assert first.metadata.get("tags") == ["parameters"]
    assert not any("parameters" in cell.metadata.get("tags", ()) for cell in others)
    tree = ast.parse(first.source).body
    assert [node.targets[0].id for node in tree] == [*pages.NAMES, "changes"]
    assert all("  # " in line for line in first.source.splitlines())
    namespace = {}
    exec(first.source, namespace)
    given = {name: namespace[name] for name in pages.NAMES}
    assert given["scale"] == "smoke" and namespace["changes"] == {}
    assert path.relative_to(FOLDER).with_suffix("").as_posix() in pages.pages(given["method"])
    assert Params.at(**given).method == given["method"]


@pytest.mark.parametrize(
    "p",
    [
        Params(), Params(method="dpdm", epsilon=float("inf"), seed=7), Params.at("laptop", method="dp_sapf", share=0.5),
        Params.at("laptop", method="rpgen", amp_gamma=0.2, steps=7),
        Params(private="folder:x", n_records=400, labels=("a", "7"), size=16, noise="secret", delta=1e-3),
    ],
    ids=lambda p: p.run_name,
)  # fmt: skip
def test_a_filled_parameters_cell_names_the_run_and_can_be_edited(p):
    path = FOLDER / f"{next(iter(pages.pages(p.method)))}.py"
    first = next(cell for cell in pages.read(path, p).cells if cell.cell_type == "code")
    namespace = {}
    exec(first.source, namespace)
    named = {name: namespace[name] for name in pages.NAMES}
    assert Params.at(**named, **namespace["changes"]) == p
    assert [line.partition("  # ")[2] for line in first.source.splitlines()] == [
        line.partition("  # ")[2] for line in code_cells(path)[0].source.splitlines()
    ]


def test_a_run_that_no_cell_can_name_is_refused():
    p = Params.at("laptop", method="rpgen").replace(options={"amp_gamma": 0.1})
    with pytest.raises(ValueError, match="scale laptop sets average, kept for rpgen, which this run leaves out"):
        pages.changes(p)


@each
def test_the_second_code_cell_opens_the_run(path):
    last = ast.unparse(ast.parse(code_cells(path)[1].source))
    named = ", ".join(f"{name}={name}" for name in pages.NAMES if name != "scale")
    assert f"run = Run(Params.at(scale, {named}, **changes))" in last


@each_of_all
def test_cells_are_short_and_define_nothing(path):
    for cell in code_cells(path)[1:]:
        assert len(code_lines(cell.source)) <= (12 if is_answer(cell) else 8), cell.source
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not any(isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) for n in nodes), cell.source


def called(tree):
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def bound(tree):
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def used(tree):
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def for_people(name):
    return name.startswith(("figures.", "displays.", "pictures.")) and name != "displays.badge"


@each
def test_cells_that_show_something_are_tagged_and_may_fail(path):
    trees = [(ast.parse(cell.source), cells.shows(cell)) for cell in code_cells(path) if not is_answer(cell)]
    for tree, shown in trees:
        names = called(tree)
        if not shown:
            prepared = {"pictures.with_and_without"}  # the base's twin: public work, which both panels show
            assert not any(map(for_people, names - prepared)) and "print" not in names, ast.unparse(tree)
            assert names <= MAKES | prepared | {"Run", "Params.at", "displays.badge"}, names
            continue
        assert all(for_people(name) or name in FOR_SHOW | BUILTINS for name in names), names
        others = set().union(*(used(other) for other, _ in trees if other is not tree))
        assert not bound(tree) & others, bound(tree) & others
    assert any(shown for _, shown in trees)


@each
def test_the_methods_own_source_stands_on_its_page(path):
    shown = {ast.unparse(n.args[0]) for cell in code_cells(path) for n in ast.walk(ast.parse(cell.source))
             if isinstance(n, ast.Call) and ast.unparse(n.func) == "source"}  # fmt: skip
    expected = {
        "01_semantic_query": {"query.semantic_histogram"}, "02_selection": {"selection.pick"},
        "03_pretrain_amp": {"amp.gradient", "diffusion.loss"}, "04_dp_finetune": {"Private.gradient", "clip"},
        "05_eval_figures": set(),
    }  # fmt: skip
    assert shown >= expected.get(path.stem, set()) and (shown or path.stem == "05_eval_figures")


@each_of_all
def test_prose_comes_first_and_something_is_left_to_try(path):
    book = jupytext.read(path).cells
    heading = f"# {path.stem[:2]} · " if path in LESSONS else "# "
    assert book[0].cell_type == "markdown" and book[0].source.startswith(heading)
    tries = sum("**Try this.**" in cell.source for cell in book if cell.cell_type == "markdown")
    assert tries == (path in METHOD_PAGES) and "```" not in "".join(cell.source for cell in book)


@each_lesson
def test_a_notebook_ends_with_three_to_five_exercises_and_a_folded_answer_to_each(path):
    book = jupytext.read(path).cells
    (start,) = (
        n for n, cell in enumerate(book) if cell.source.startswith("## Exercises") or "\n## Exercises" in cell.source
    )
    questions, answers = book[start::2], book[start + 1 :: 2]
    assert 3 <= len(questions) == len(answers) <= 5
    for number, (question, answer) in enumerate(zip(questions, answers, strict=True), 1):
        assert question.cell_type == "markdown" and question.source.count(QUESTION) == 1
        assert f"{QUESTION}{number}.** " in question.source
        assert answer.cell_type == "code" and is_answer(answer) and cells.shows(answer)
        assert answer.source.startswith("# ") and "print(" in answer.source, "an answer says why, and shows its number"
    assert not any(is_answer(cell) for cell in book[:start])
    assert sum("assert " in answer.source for answer in answers) >= len(answers) / 2


@each_lesson
def test_an_answer_leaves_the_page_and_the_records_alone(path):
    page = [ast.parse(cell.source) for cell in code_cells(path) if not is_answer(cell)]
    needed = set().union(*map(used, page))
    for tree in (ast.parse(cell.source) for cell in code_cells(path) if is_answer(cell)):
        assert not bound(tree) & needed, bound(tree) & needed
        asked = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not asked & {"run.private", "run.held_out", "privacy.evaluation"}


def test_the_notebook_before_the_story_names_what_a_reader_changes_and_asks_no_record():
    first, *others = code_cells(LESSONS[0])
    assert first.metadata.get("tags") == ["parameters"] and all("  # " in line for line in first.source.splitlines())
    text = "".join(cell.source for cell in others)
    assert not [word for word in ("Run(", "Private", "ledger", "mnist", "evaluation") if word in text]


def test_the_notebook_before_the_story_runs(root, monkeypatch, capsys):
    monkeypatch.setattr(glyphs, "PER_CLASS", 2)
    names = {}
    for cell in code_cells(LESSONS[0]):
        exec(cell.source, names)
    said = capsys.readouterr().out.splitlines()
    assert sum(map(is_answer, code_cells(LESSONS[0]))) == 4 and len(said) == 5


def test_the_story_is_rpgens_alone():
    for path in STORY[:4]:
        prose = "".join(cell.source for cell in jupytext.read(path).cells if cell.cell_type == "markdown")
        assert not [name for name in ("DP-FETA", "DP-SAPF", "DP-LDM", "DP-MEPF", "DPSDA", "DPGAN") if name in prose]


@each_of_all
def test_the_header_names_no_version(path):
    header = path.read_text().split("# ---\n")[1]
    assert "name: python3" in header and "version" not in header


def test_pairing_leaves_the_scripts_as_they_are(tmp_path):
    from jupytext.cli import jupytext as pair

    (tmp_path / "notebooks" / "methods").mkdir(parents=True)
    (tmp_path / "jupytext.toml").write_text((FOLDER.parent / "jupytext.toml").read_text())
    files = [LESSONS[0], *FILES]
    copies = [tmp_path / "notebooks" / path.relative_to(FOLDER) for path in files]
    for path, copy in zip(files, copies, strict=True):
        copy.write_text(path.read_text())
    pair(["--sync", *map(str, copies)])
    for path, copy in zip(files, copies, strict=True):
        assert copy.with_suffix(".ipynb").exists() and copy.read_text() == path.read_text()
