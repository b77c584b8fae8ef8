"""Execute one notebook with one run of a parameter file, by papermill; keep the result only if it is whole.

What papermill alone lets pass is settled here. Parameters are validated first, as it only logs unknown keys.
The kernel is this interpreter. The output gets its name only on success, as papermill leaves failed notebooks
that look finished; a picture that cannot be drawn is no failure (`cells`). The notebook is read through
jupytext, the paired .py is not touched.
"""

import ast
import hashlib
import json
import logging
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError, strip_color

from dpsynth import project, provenance
from dpsynth.mistakes import CELL, KILL, MISTAKE, Failed, mistakes, of_cell
from dpsynth.params import Params
from dpsynth.privacy.disk import forget_times, replacing
from dpsynth.runner import cells, pages
from dpsynth.runner.kernel import Kernel, Progress
from dpsynth.sources import imports, page_digest


def execute(p: Params, notebook: Path, out: Path, params_file: Path, shared: Kernel, margin: str = "    ") -> None:
    """Run `notebook` (percent .py) with `p`; the executed copy appears at `out` whole, with a stamp.

    The stamp, metadata `dpsynth`, holds source, params, params_digest, digest (what `is_current` compares),
    commit, seconds, peak memory, and what could not be drawn. With a user's own records no time and no memory is
    kept: they tell how many took part in a step.

    Args:
        shared: the kernel, of `kernel.started`, that other notebooks of the run may have been executed in.
        margin: what each line that it prints begins with on the terminal.
    Raises:
        Failed: the notebook takes no such parameters, a cell failed, or the kernel died; what was executed
            until then lies in build/failed/.
    """
    with mistakes():
        book, digest = pages.read(notebook, p), digest_of(p, notebook)
    start = time.perf_counter()
    executed = _executed(book, p, notebook, out, shared, margin)
    cells.drop_bars(executed)
    executed.metadata["dpsynth"] = {
        "source": _short(notebook), "params": _short(params_file), "params_digest": p.digest,
        "digest": digest, "commit": provenance.commit(), "seconds": round(time.perf_counter() - start, 1),
        "peak_MiB": shared.peak_mib(), "undrawn": cells.undrawn(executed),
    }  # fmt: skip
    executed.metadata["papermill"] |= {
        "input_path": _short(notebook), "output_path": _short(out),
        # Infinities as strings: JSON has none, and a browser would not open the notebook.
        "parameters": json.loads(json.dumps(p.model_dump()), parse_constant=lambda name: str(float(name))),
    }  # fmt: skip
    if not p.constants.builtin:
        _forget_times(executed)
    _write(executed, out)


def _executed(
    book: nbformat.NotebookNode, p: Params, notebook: Path, out: Path, shared: Kernel, margin: str
) -> nbformat.NotebookNode:
    """The notebook with its outputs; what its kernel prints is shown meanwhile."""
    shown, printed = (Progress(sys.stderr, margin) for _ in range(2))
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it would say is checked or said here
    with tempfile.TemporaryDirectory(prefix="dpsynth-") as folder:
        filled, aside = Path(folder, "given.ipynb"), Path(folder, out.name)
        nbformat.write(book, filled)
        try:
            return papermill.execute_notebook(
                filled, aside, kernel_name=pages.SPEC["name"], language=pages.SPEC["language"], km=shared,
                on_notebook_start=shared.forget, cwd=Path.cwd(), start_timeout=120, iopub_timeout=60,
                coalesce_streams=True, stdout_file=printed, stderr_file=shown, **cells.hooks(shown),
                progress_bar=sys.stderr.isatty() and p.constants.builtin,  # it shows how long a cell took
            )  # fmt: skip
        except (PapermillExecutionError, DeadKernelError) as error:
            copy = project.root() / "build" / "failed" / p.run_name / out.name
            raise _failure(error, notebook, f"executed so far: {_keep(aside, copy)}") from None


def _failure(error: PapermillExecutionError | DeadKernelError, notebook: Path, kept: str) -> Failed:
    """The error for people; `kept` says where they can look at what was executed until then."""
    if isinstance(error, DeadKernelError):
        advice = "the kernel was killed (out of memory?); run the same command again to resume"
        return Failed(f"{notebook}: {advice} ({kept})", KILL)
    trace = strip_color("\n".join(error.traceback))
    if mistake := of_cell(error.ename, error.evalue, trace):
        return Failed(f"error: {notebook}: {mistake} ({kept})", MISTAKE)
    cell, last = textwrap.indent(error.source, "    "), "\n".join(trace.splitlines()[-20:])
    return Failed(f"{notebook} failed in cell [{error.exec_count}]:\n\n{cell}\n\n{last}\n\n{kept}", CELL)


def digest_of(p: Params | None, notebook: Path) -> str:
    """SHA-256 over the notebook's text, all parameters (None: it is of no run), and the dpsynth modules that it
    imports."""
    text = pages.text(notebook)
    parts = [text, p and p.digest, {name: page_digest(name) for name in sorted(_imported(text))}]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def is_current(p: Params, notebook: Path, out: Path) -> bool:
    """Whether `out` was executed from this notebook, with these parameters, by this code."""
    return stamp(out).get("digest") == digest_of(p, notebook)


def undrawn(out: Path) -> list[str]:
    """The pictures that the executed notebook `out` lacks, a text each."""
    return stamp(out).get("undrawn", [])


def stamp(out: Path) -> dict[str, Any]:
    """What `execute` wrote of itself; nothing of a notebook that is not there, or not whole."""
    try:
        return dict(json.loads(out.read_text(encoding="utf-8"))["metadata"]["dpsynth"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _keep(aside: Path, copy: Path) -> Path:
    """What was executed until a failure, without times: of a user's own records they would tell."""
    book = nbformat.read(aside, as_version=4)
    cells.drop_bars(book)
    _forget_times(book)
    _write(book, copy)
    return copy


def _write(book: nbformat.NotebookNode, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as file:
        file.write(nbformat.writes(book).encode())
    if "seconds" not in book.metadata.get("dpsynth", {}):  # of a user's own records, or what a failure left
        forget_times(out, out.parent)


def _forget_times(book: nbformat.NotebookNode) -> None:
    for name in ("seconds", "peak_MiB"):
        book.metadata.get("dpsynth", {}).pop(name, None)
    for name in ("start_time", "end_time", "duration"):
        book.metadata.get("papermill", {}).pop(name, None)
    for cell in book.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)


def _imported(text: str) -> set[str]:
    """What of dpsynth a notebook imports; nothing if it is not Python, which its kernel says better."""
    try:
        pairs = imports(ast.parse(text))
    except SyntaxError:
        return set()
    return {name for module, part in pairs for name in (module, f"{module}.{part}") if name.startswith("dpsynth")}


def _short(path: Path) -> str:
    """Relative to the project, so that no executed notebook tells where the project lies."""
    path = path.resolve()
    return (path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else Path(path.name)).as_posix()
