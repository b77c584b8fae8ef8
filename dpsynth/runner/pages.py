"""The pages of a run: which notebooks tell it, and their parameters cell filled with its parameters."""

import ast
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from dpsynth import scales
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.steps import STAGES

SPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}
PRIMER = "00_ten_minutes"  # before the story: it belongs to no run
STORY = ("01_semantic_query", "02_selection", "03_pretrain_amp", "04_dp_finetune", "05_eval_figures")
FOLDED = "hide-cell"  # the tag of an exercise's answer: a site folds it by that, JupyterLab by what `fold` sets
NAMES = ("method", "private", "public", "epsilon", "seed", "scale")  # what a reader changes; all else is in `changes`


def pages(method: str) -> dict[str, tuple[str, ...]]:
    """The notebooks of a method's run, by name below notebooks/, and the stages whose artifacts each makes.

    RPGen's story has a notebook a stage; a method with a page of its own has that and the evaluation.

    >>> list(pages("dp_mepf"))
    ['methods/dp_mepf', '05_eval_figures']
    """
    if page := METHODS[method].page:
        return {f"methods/{page}": STAGES[:-1], STORY[-1]: STAGES[-1:]}
    return {name: (stage,) for name, stage in zip(STORY, STAGES, strict=True)}


def read(notebook: Path, p: Params) -> nbformat.NotebookNode:
    """The notebook (percent .py), its one parameters cell filled: a reader who edits it there changes the run.

    Raises:
        FileNotFoundError: there is none; ValueError: it has not one parameters cell, or one without these names.
    """
    book = jupytext.reads(text(notebook), fmt="py:percent")
    tagged = [cell for cell in book.cells if "parameters" in cell.metadata.get("tags", ())]
    if len(tagged) != 1:
        raise ValueError(f"{notebook} has {len(tagged)} cells tagged parameters, where one is expected")
    tagged[0].source = filled(tagged[0].source, p, notebook)
    book.metadata["kernelspec"] = SPEC
    return fold(book)


def primer(folder: Path) -> nbformat.NotebookNode:
    """The notebook before the story, of the folder of notebooks, as it stands."""
    book = jupytext.reads(text(folder / f"{PRIMER}.py"), fmt="py:percent")
    book.metadata["kernelspec"] = SPEC
    return fold(book)


def fold(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook, the answers of its exercises folded in JupyterLab."""
    for cell in book.cells:
        if FOLDED in cell.metadata.get("tags", ()):
            cell.metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": True}
    return book


def text(notebook: Path) -> str:
    """What the notebook's file says."""
    if not notebook.exists():
        raise FileNotFoundError(f"{notebook}: no such notebook; start in the project's own folder")
    return notebook.read_text(encoding="utf-8")


def filled(cell: str, p: Params, notebook: Path) -> str:
    """The parameters cell with the values of `p`, comments kept."""
    values = {name: getattr(p, name) for name in NAMES} | {"changes": changes(p)}
    named = {node.id for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Name)}
    if missing := [name for name in values if name not in named]:
        raise ValueError(f"{notebook}: its parameters cell does not take {', '.join(missing)}")
    lines = []
    for line in cell.splitlines():
        name, comment = re.match(r"\w*", line)[0], re.search(r"  # .*$", line)
        lines.append(f"{name} = {_code(values[name])}{comment[0] if comment else ''}" if name in values else line)
    return "\n".join(lines)


def changes(p: Params) -> dict[str, Any]:
    """What sets `p` apart from the run that `NAMES` alone name at its scale: fields and options, in one mapping.

    Raises:
        ValueError: it is no such run: it lacks an option that its scale sets.
    """
    scale = scales.read(p.scale)
    usual = {name: field.default for name, field in Params.model_fields.items()} | scale.common | scale.of(p.method)
    values = {name: v for name, v in p.model_dump().items() if name not in (*NAMES, "options")} | p.options
    if lacking := sorted(scale.of(p.method).keys() - values.keys() - {*NAMES}):
        raise ValueError(f"scale {p.scale} sets {', '.join(lacking)} for {p.method}, which this run leaves out")
    return {name: value for name, value in values.items() if usual.get(name, ...) != value}


def _code(value: Any) -> str:
    """Python that gives the value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {_code(v)}" for name, v in value.items()) + "}"
    return f'float("{value}")' if value in (float("inf"), -float("inf")) else repr(value)
