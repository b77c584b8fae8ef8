"""The contract of the notebooks: prose and calls, one parameters cell that is the parameters' own list."""

import ast
import io
import tokenize
from pathlib import Path

import jupytext
import pytest

from dpsynth.params import Params
from dpsynth.runner import pictures
from dpsynth.runner.reproduce import NOTEBOOKS

FOLDER = Path(__file__).parents[1] / "notebooks"
FOR_SHOW = {  # what only prepares something to be shown: it asks nothing private that was not asked before
    "audit.run", "dp_feta.images", "evaluate.by_label", "evaluate.embedding", "evaluate.neighbours", "evaluate.preview",
    "evaluate.strip", "dp_sgd.expected_minutes", "dp_sgd.shares", "gans.noise_to_signal", "plan.mechanism",
    "plan.spent", "planning.path", "recall.curve", "dp_sapf.chosen", "selection.examples", "selection.favourites",
}  # fmt: skip
BUILTINS = {"print", "any", "dict", "getattr", "isinstance", "twins.values", "twins.items"}
FILES = sorted(FOLDER.glob("*.py"))
each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]


def code_lines(source):
    """Lines that hold code: neither blank nor a comment alone."""
    kinds = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {line for t in tokens if t.type not in kinds for line in range(t.start[0], t.end[0] + 1)}


def test_there_is_a_notebook_for_each_stage():
    assert [path.stem for path in FILES] == list(NOTEBOOKS.values())


@each
def test_the_first_code_cell_lists_every_parameter_with_its_default(path):
    first, *others = code_cells(path)
    assert first.metadata.get("tags") == ["parameters"]
    assert not any("parameters" in cell.metadata.get("tags", ()) for cell in others)
    tree = ast.parse(first.source).body
    assert all(isinstance(node, ast.AnnAssign) for node in tree)
    assert [node.target.id for node in tree] == list(Params.model_fields)
    namespace = {}
    exec(first.source, namespace)
    assert {name: namespace[name] for name in Params.model_fields} == Params().model_dump()
    assert Params.read(namespace) == Params()
    for line in first.source.splitlines():
        name, comment = line.split(":")[0], line.partition("  # ")[2]
        assert comment, f"{name} has no comment"
        meaning = Params.model_fields[name].description.split(";")[0].split(",")[0]
        assert comment.startswith(meaning.split(":")[0]), f"{name} is described otherwise in params.py: {meaning}"


@each
def test_the_second_code_cell_reads_them(path):
    tree = ast.parse(code_cells(path)[1].source)
    assert "p = Params.read(globals())" in [ast.unparse(node) for node in tree.body]


@each
def test_cells_are_short_and_define_nothing(path):
    for cell in code_cells(path)[1:]:
        assert len(code_lines(cell.source)) <= 8, cell.source
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not any(isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) for n in nodes), cell.source


def called(tree):
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def bound(tree):
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def used(tree):
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def for_people(name):
    return name.startswith(("figures.", "displays.")) and name != "displays.badge"  # a string that figures are given


@each
def test_cells_that_show_something_are_tagged_and_may_fail(path):
    trees = [(ast.parse(cell.source), pictures.shows(cell)) for cell in code_cells(path)]
    for tree, shown in trees:
        names = called(tree)
        if not shown:
            assert not any(map(for_people, names)) and "print" not in names, ast.unparse(tree)
            continue
        assert all(for_people(name) or name in FOR_SHOW | BUILTINS for name in names), names
        others = set().union(*(used(other) for other, _ in trees if other is not tree))
        assert not bound(tree) & others, bound(tree) & others
    assert any(shown for _, shown in trees)


@each
def test_prose_comes_first_and_something_is_left_to_try(path):
    cells = jupytext.read(path).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith(f"# {path.stem[:2]} · ")
    assert sum("**Try this.**" in cell.source for cell in cells if cell.cell_type == "markdown") == 1
    assert "```" not in "".join(cell.source for cell in cells)


@each
def test_the_header_names_no_version(path):
    header = path.read_text().split("# ---\n")[1]
    assert "name: python3" in header and "version" not in header


def test_pairing_leaves_the_scripts_as_they_are(tmp_path):
    from jupytext.cli import jupytext as pair

    (tmp_path / "notebooks").mkdir()
    (tmp_path / "jupytext.toml").write_text((FOLDER.parent / "jupytext.toml").read_text())
    copies = [tmp_path / "notebooks" / path.name for path in FILES]
    for path, copy in zip(FILES, copies, strict=True):
        copy.write_text(path.read_text())
    pair(["--sync", *map(str, copies)])
    for path, copy in zip(FILES, copies, strict=True):
        assert copy.with_suffix(".ipynb").exists() and copy.read_text() == path.read_text()
