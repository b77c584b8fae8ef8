import os
import time
from pathlib import Path

import pytest

from dpsynth import mistakes
from dpsynth.params import Params
from dpsynth.runner import execute, pages, workers

PARAMETERS = '# %% tags=["parameters"]\n' + "\n".join(f"{name} = None" for name in (*pages.NAMES, "changes"))
ENTER = "import os, pathlib, time\npathlib.Path(f'pid{seed}').write_text(str(os.getpid()))"
MEET = """for _ in range(600):
    if pathlib.Path(f'pid{1 - seed}').exists():
        break
    time.sleep(0.1)
else:
    1 / 0"""


@pytest.fixture
def tasks(root, monkeypatch):
    """Two runs, seeds 0 and 1, of one notebook made of `cells`."""
    monkeypatch.chdir(root)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # which `perform` sets, and this takes back

    def made(*cells):
        Path("toy.py").write_text("\n\n# %%\n".join([PARAMETERS, ENTER, *cells]) + "\n")
        return [[workers.Task(n, Params(seed=n), Path("toy.py"), Path(f"out{n}.ipynb"))] for n in (0, 1)]

    return made


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_two_runs_meet_and_their_lines_are_told_apart(tasks, capfd):
    workers.perform(tasks(MEET, "print('met')"), 2, Path("toy.yaml"), 2)
    assert Path("out0.ipynb").exists() and Path("out1.ipynb").exists()
    said = capfd.readouterr()
    assert "    [0] met\n" in said.err and "    [1] met\n" in said.err
    assert f"[1/2] {Params(seed=1).run_name}: toy\n" in said.out


def test_the_first_failure_ends_the_others_and_their_kernels(tasks, capfd):
    began = time.monotonic()
    with pytest.raises(mistakes.Failed, match="the others were ended") as failed:
        workers.perform(tasks(MEET, "1 / seed\ntime.sleep(100)"), 2, Path("toy.yaml"), 2)
    assert failed.value.code == mistakes.CELL and time.monotonic() - began < 90
    assert "ZeroDivisionError" in capfd.readouterr().err and not Path("out1.ipynb").exists()
    pids = [int(Path(f"pid{n}").read_text()) for n in (0, 1)]
    while any(map(lives, pids)):
        assert time.monotonic() - began < 95
        time.sleep(0.2)


def test_a_picture_that_is_not_drawn_ends_neither_run(tasks, capfd):
    runs = tasks(MEET, "1 / seed", "print('on')")
    path = Path("toy.py")
    path.write_text(path.read_text().replace("# %%\n1 / seed", '# %% tags=["raises-exception"]\n1 / seed'))
    workers.perform(runs, 2, Path("toy.yaml"), 2)
    said = [execute.undrawn(Path(f"out{n}.ipynb")) for n in (0, 1)]
    assert said == [["cell [4], ZeroDivisionError: division by zero"], []]
    assert "    [0] cell [4]: this picture could not be drawn: Zero" in capfd.readouterr().err


def test_one_at_a_time_is_in_this_process(tasks, monkeypatch, capsys):
    done = []
    monkeypatch.setattr(execute, "execute", lambda p, *rest: done.append(p.seed))
    workers.perform(tasks(), 2, Path("toy.yaml"), 1)
    assert done == [0, 1] and capsys.readouterr().out.count("/2] ") == 2
