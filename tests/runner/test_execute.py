import json
import math
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest

from dpsynth import mistakes
from dpsynth.params import Params
from dpsynth.privacy.disk import EARLIEST
from dpsynth.runner import execute, kernel, pages

PARAMETERS = "\n".join(f"{name} = None" for name in (*pages.NAMES, "changes"))
SCALES = Path(__file__).parents[2] / "params" / "scales"
MARK = Path("notebooks/01_semantic_query.py")
CELL = "\n\n# %%\n"
FOLDER = {
    "private": "folder:photos",
    "n_records": 4000,
    "labels": ["cat", "dog"],
    "size": 32,
    "noise": "secret",
}


@pytest.fixture
def project(root, monkeypatch):
    """A project folder without anything of its own, which is also the root of what is built."""
    monkeypatch.chdir(root)
    shutil.copytree(SCALES, "params/scales")
    MARK.parent.mkdir()
    MARK.touch()
    return root


def notebook(*cells, parameters=PARAMETERS, name="toy.py"):
    Path(name).write_text('# %% tags=["parameters"]\n' + parameters + CELL + CELL.join(cells) + "\n")
    return Path(name)


def run(p, path, out, file="toy.yaml"):
    with kernel.started() as shared:
        execute.execute(p, path, Path(out), Path(file), shared)


def outputs(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    return ["".join(out.get("text", "") for out in cell.outputs) for cell in book.cells if cell.cell_type == "code"]


def metadata(path):
    return json.loads(Path(path).read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))[
        "metadata"
    ]


def everything(folder="."):
    return {
        path.as_posix()
        for path in Path(folder).rglob("*")
        if path.is_file() and path != MARK and path.parent.name != "scales"
    }


def test_a_notebook_runs_with_its_parameters_and_appears_whole(project, capfd, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    path = notebook(
        "import os, sys\nprint([sys.executable, os.getcwd()])\nprint(os.environ['OMP_NUM_THREADS'])",
        "print([epsilon, method, seed, changes])",
        "from dpsynth.stages import progress\nbar = progress.silent(300, 'learning')\n"
        "for i in range(300):\n    bar(i + 1)\nprint('done')",
    )  # fmt: skip
    before = os.stat(path).st_mtime_ns
    p = Params(epsilon=math.inf, delta=1e-6, labels=list("0123456789"), options={"votes": 3}, seed=5)
    run(p, path, "build/out/toy.ipynb", "params/toy.yaml")
    printed = outputs("build/out/toy.ipynb")
    changes = {"delta": 1e-6, "labels": tuple("0123456789"), "votes": 3}
    assert printed[1] == f"{[sys.executable, os.getcwd()]}\n2\n"
    assert printed[2] == f"{[math.inf, 'rpgen', 5, changes]}\n"
    assert printed[3] == "done\n"
    assert os.stat(path).st_mtime_ns == before and everything() == {"toy.py", "build/out/toy.ipynb"}
    said = metadata("build/out/toy.ipynb")
    assert said["kernelspec"]["name"] == "python3" and said["papermill"]["parameters"]["epsilon"] == "inf"
    assert said["papermill"]["input_path"] == "toy.py"
    stamp = said["dpsynth"]
    assert stamp["source"] == "toy.py" and stamp["params"] == "params/toy.yaml"
    assert os.stat("build/out/toy.ipynb").st_mtime > EARLIEST
    assert stamp["params_digest"] == p.digest and stamp["seconds"] > 0 and stamp["commit"]
    assert not sys.platform.startswith("linux") or stamp["peak_MiB"] > 20
    assert str(project) not in json.dumps(said)
    assert execute.is_current(p, path, Path("build/out/toy.ipynb"))
    assert not execute.is_current(p.replace(seed=6), path, Path("build/out/toy.ipynb"))
    shown = capfd.readouterr().err
    assert "    done\n" in shown and 10 <= shown.count("/300") < 13 and "\r" not in shown


def test_the_pages_of_a_run_share_a_kernel_and_none_knows_what_another_left(project):
    first, second = notebook("import os\nx = 1\nprint(os.getpid())"), notebook(
        "import os\nprint(os.getpid(), 'x' in globals(), seed)", name="next.py"
    )  # fmt: skip
    with kernel.started() as shared:
        for path, p in ((first, Params()), (second, Params(seed=7))):
            execute.execute(p, path, Path(path.stem + ".ipynb"), Path("toy.yaml"), shared)
    (pid,) = outputs("toy.ipynb")[1].split()
    assert outputs("next.ipynb")[1].split() == [pid, "False", "7"]
    counts = [c["execution_count"] for c in nbformat.read("next.ipynb", 4).cells if c.cell_type == "code"]
    assert counts == [1, 2]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_what_a_failure_leaves_shows_no_bar(project, capsys):
    bar = "import sys\nsys.stderr.write('\\rDP-SGD: step 37/100\\n')"
    path = notebook(f"{bar}\nprint('printed')\n1 / 0")
    assert mistakes.ended(lambda: run(Params(), path, Path("build/out/toy.ipynb"))) == 1
    left = "".join(outputs(f"build/failed/{Params().run_name}/toy.ipynb"))
    assert "printed" in left and "37/100" not in left


def test_a_failing_cell_is_shown_and_leaves_no_output(project, capsys):
    out = Path("build/out/toy.ipynb")
    out.parent.mkdir(parents=True)
    out.write_text("of an earlier run")
    path = notebook("print('before')", "def inner():\n    raise ValueError('no such luck')\ninner()", "print('after')")
    assert mistakes.ended(lambda: run(Params(), path, out)) == 1
    said = capsys.readouterr().err
    failed = f"build/failed/{Params().run_name}/toy.ipynb"
    assert "toy.py failed in cell [" in said and "    inner()\n" in said and said.count("ValueError: no such luck") == 1
    assert failed in said and outputs(failed)[1:3] == ["before\n", ""]
    assert out.read_text() == "of an earlier run" and everything() == {"toy.py", out.as_posix(), failed}


@pytest.mark.parametrize(("cell", "told"), [
    ("from dpsynth import store\nfrom pathlib import Path\nstore.load(Path('x-0'), int)", "x-0 is not a whole"),
    ("from dpsynth import privacy\nprivacy.Ledger(None, 'x', 'loud', 0)", "Expected noise='loud' to be"),
    ("from pathlib import Path\nPath('toy.py').mkdir()", "toy.py: something else lies where this belongs"),
    ("import os\nraise OSError(28, os.strerror(28), 'a/b.safetensors')", "a/b.safetensors: the disk is full"),
    ("import os\nraise OSError(37, os.strerror(37))", "a file of this run: its file system has no locks"),
    ("import numpy\nnumpy.empty(10**15)", "not enough memory (Unable to allocate"),
], ids=["artifact", "ledger", "in the way", "full", "locks", "memory"])  # fmt: skip
def test_what_the_user_can_mend_in_a_cell_is_one_sentence(project, capsys, cell, told):
    path = notebook("print('before')", cell)
    assert mistakes.ended(lambda: run(Params(), path, "out/toy.ipynb")) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.strip() != "before"]
    failed = f"build/failed/{Params().run_name}/toy.ipynb"
    assert said.startswith(f"error: toy.py: {told}") and said.endswith(f"(executed so far: {project}/{failed})")
    assert outputs(failed)[1] == "before\n"


def test_a_long_tmpdir_gets_its_sockets_a_short_folder_for_their_owner_alone(project, monkeypatch):
    long = project / ("t" * 95)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    path = notebook(
        "import json, os\nfrom ipykernel.connect import get_connection_info\n"
        "folder = os.path.dirname(json.loads(get_connection_info())['ip'])\n"
        "print(folder, oct(os.stat(folder).st_mode), len(os.listdir(folder)))"
    )
    run(Params(), path, "toy.ipynb")
    folder, mode, sockets = outputs("toy.ipynb")[1].split()
    assert len(folder) < 90 and not folder.startswith(str(project)) and mode == "0o40700" and int(sockets) >= 4
    assert not Path(folder).exists() and not list(long.iterdir())


def test_a_killed_kernel_says_how_to_resume(project, capsys):
    path = notebook("print('before')", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert mistakes.ended(lambda: run(Params(), path, "build/out/toy.ipynb")) == 138
    said = capsys.readouterr().err
    assert "the kernel was killed" in said and "run the same command again to resume" in said
    assert "Traceback" not in said and not Path("build/out").exists()


def test_with_private_records_no_time_is_kept(project):
    p, out = Params(**FOLDER), Path("build/own/toy.ipynb")
    run(p, notebook("print(changes['labels'])"), out)
    book = nbformat.read(out, as_version=4)
    assert outputs(out)[-1] == "('cat', 'dog')\n" and execute.is_current(p, Path("toy.py"), out)
    assert not {"seconds", "peak_MiB"} & set(book.metadata["dpsynth"])
    text = json.dumps(book)
    assert out.stat().st_mtime == out.parent.stat().st_mtime == EARLIEST < project.stat().st_mtime
    assert time.strftime("%Y-%m-%d") not in text and "duration" not in text and "_time" not in text


def test_a_notebook_is_current_for_its_text_parameters_and_code(project, monkeypatch):
    p, path, out = Params(), notebook("from dpsynth.report import results", "x = 1"), Path("toy.ipynb")
    assert not execute.is_current(p, path, out)

    def stamp():
        out.write_text(json.dumps({"metadata": {"dpsynth": {"digest": execute.digest_of(p, path)}}}))

    stamp()
    assert execute.is_current(p, path, out)
    assert not execute.is_current(p.replace(steps=6), path, out)
    notebook("from dpsynth.report import results", "x = 2")
    assert not execute.is_current(p, path, out)
    stamp()
    asked = []
    monkeypatch.setattr(execute, "page_digest", lambda name: asked.append(name) or "other")
    assert not execute.is_current(p, path, out) and asked == ["dpsynth.report", "dpsynth.report.results"]
    out.write_text('{"metadata": {}}')
    assert not execute.is_current(p, path, out)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"metadata": []}', '{"metadata": {"dpsynth": 3}}', '{"cells": []}', b"\xff\xfe"]
)
def test_a_damaged_executed_notebook_is_not_current(project, text):
    out = Path("toy.ipynb")
    out.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert execute.is_current(Params(), notebook("x = 1"), out) is False and execute.undrawn(out) == []


def test_a_folder_in_an_executed_notebooks_place_is_not_current(project):
    Path("toy.ipynb").mkdir()
    assert execute.is_current(Params(), notebook("x = 1"), Path("toy.ipynb")) is False


@pytest.mark.parametrize(
    ("parameters", "said"),
    [(PARAMETERS.replace("seed = None\n", ""), "does not take seed"), ("", "does not take method, private")],
)
def test_a_notebook_must_take_every_parameter(project, capsys, parameters, said):
    path = notebook("x = 1", parameters=parameters or "x = 1")
    assert mistakes.ended(lambda: run(Params(), path, "toy.ipynb")) == 2
    assert said in capsys.readouterr().err and everything() == {"toy.py"}


def test_a_notebook_without_parameters_cell_is_refused(project, capsys):
    Path("toy.py").write_text("# %%\nseed = 1\n")
    assert mistakes.ended(lambda: run(Params(), Path("toy.py"), "toy.ipynb")) == 2
    assert capsys.readouterr().err == "error: toy.py has 0 cells tagged parameters, where one is expected\n"


SHOWS = '# %% tags=["raises-exception"]\n'


def test_a_picture_that_cannot_be_drawn_says_so_in_its_place_and_the_run_goes_on(project, capfd):
    late = "class P:\n    def _ipython_display_(self):\n        raise TypeError('too large')\nP()"
    cells = ["x = 1", SHOWS + "print('first')\n{}['votes\\nfor']", SHOWS + "raise ValueError()", SHOWS + late,
             "print(x + 1)"]  # fmt: skip
    path = notebook(*cells)
    path.write_text(path.read_text().replace("# %%\n# %%", "# %%"))
    run(Params(), path, "toy.ipynb")
    missing = execute.undrawn(Path("toy.ipynb"))
    assert missing[0] == "cell [3], KeyError: 'votes\\nfor'" and missing[1].startswith("cell [4], ValueError:")
    assert len(missing) == 3 and missing[2] == "cell [5], TypeError: too large"
    said = outputs("toy.ipynb")
    assert said[2] == "first\nthis picture could not be drawn: KeyError: 'votes\\nfor'\n" and said[-1] == "2\n"
    assert "Traceback" not in Path("toy.ipynb").read_text() and "rror-cell" not in Path("toy.ipynb").read_text()
    assert "    cell [3]: this picture could not be drawn: KeyError" in capfd.readouterr().err
    assert execute.is_current(Params(), path, Path("toy.ipynb"))


def test_a_picture_that_fails_hides_no_cell_that_fails_after_it(project, capsys):
    path = notebook("x = 1", SHOWS + "1 / 0", "raise ValueError('no such luck')")
    path.write_text(path.read_text().replace("# %%\n# %%", "# %%"))
    assert mistakes.ended(lambda: run(Params(), path, "toy.ipynb")) == 1
    said = capsys.readouterr().err
    assert "toy.py failed in cell [4]" in said and "Traceback" in said and not Path("toy.ipynb").exists()
    assert outputs(f"build/failed/{Params().run_name}/toy.ipynb")[2].startswith("this picture could not be drawn: Zero")


@pytest.mark.parametrize(
    ("cell", "code"), [("raise KeyboardInterrupt", 1), ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", 138)]
)
def test_an_interrupt_or_a_dead_kernel_is_no_picture(project, capsys, cell, code):
    path = notebook("x = 1", SHOWS + cell, "open('after', 'w')")
    path.write_text(path.read_text().replace("# %%\n# %%", "# %%"))
    assert mistakes.ended(lambda: run(Params(), path, "toy.ipynb")) == code
    assert not Path("after").exists() and not Path("toy.ipynb").exists()
    said = capsys.readouterr().err
    assert "could not be drawn" not in said and ("KeyboardInterrupt" in said or "killed" in said)


def test_an_interrupt_is_one_line(capsys):
    def action():
        raise KeyboardInterrupt

    assert mistakes.ended(action) == 130
    assert capsys.readouterr().err.strip() == "interrupted; the same command continues where this one stopped"


def test_reading_a_notebook_keeps_its_cells(project):
    path = notebook("x = 1", "y = 2")
    assert [cell.source for cell in pages.read(path, Params()).cells][1:] == ["x = 1", "y = 2"]
