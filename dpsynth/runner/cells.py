"""Pictures and prose never end a run: a cell that only shows something, and fails, says so in its place.

Such cells are tagged `raises-exception`, Jupyter's own tag: nbclient, papermill and JupyterLab go on after an error.
"""

import re
from collections.abc import Callable
from typing import Any, TextIO

import nbformat
from nbclient.exceptions import CellExecutionError

from dpsynth.runner.command import could_not

SHOWS = "raises-exception"
BAR = re.compile(r"\d%\|.*\||: (step|file) \d+/\d+")  # a state of one, of tqdm or of those that show no time


def shows(cell: nbformat.NotebookNode) -> bool:
    """Whether the cell is tagged as one that only shows something."""
    return SHOWS in cell.metadata.get("tags", ())


def hooks(out: TextIO) -> dict[str, Callable]:
    """Of nbclient, by name: an error of a tagged cell becomes one sentence, in its place and on `out`.

    An interrupt is nobody's picture, and ends the run as in any other cell.
    """

    def settle(cell: nbformat.NotebookNode, **_: Any) -> None:
        for place, output in enumerate(cell.get("outputs", ()) if shows(cell) else ()):
            if output.output_type == "error" and output.ename != "KeyboardInterrupt":
                reason = could_not(output.ename, output.evalue)
                cell.metadata["undrawn"] = reason
                cell.outputs[place] = nbformat.v4.new_output("stream", name="stdout", text=f"this {reason}\n")
                out.write(f"cell [{cell.execution_count}]: this {reason}\n")

    def stop(cell: nbformat.NotebookNode, execute_reply: dict[str, Any], **_: Any) -> None:
        if execute_reply["content"].get("ename") == "KeyboardInterrupt":
            raise CellExecutionError.from_cell_and_msg(cell, execute_reply["content"])

    return {"on_cell_executed": settle, "on_cell_error": stop}


def drop_bars(book: nbformat.NotebookNode) -> None:
    """Take progress bars out of an executed notebook; what else went to stderr is kept as print."""
    for cell in book.cells:
        outputs = []
        for output in cell.get("outputs", ()):
            if output.output_type == "stream" and output.name == "stderr":
                output.name = "stdout"
                output.text = "".join(line for line in output.text.splitlines(keepends=True) if not BAR.search(line))
            if output.output_type != "stream" or output.text.strip():
                outputs.append(output)
        if "outputs" in cell:
            cell.outputs = outputs


def undrawn(book: nbformat.NotebookNode) -> list[str]:
    """What an executed notebook could not show: cell and reason, one text a cell."""
    cells = [cell for cell in book.cells if "undrawn" in cell.metadata]
    return [f"cell [{cell.execution_count}], {cell.metadata['undrawn'].partition(': ')[2]}" for cell in cells]
