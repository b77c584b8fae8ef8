"""Runs side by side: a process for each, some at a time, all ended when one fails."""

import multiprocessing
import os
import sys
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

from dpsynth import mistakes
from dpsynth.params import Params
from dpsynth.runner import execute, kernel


class Task(NamedTuple):
    """A notebook to execute: arguments of `execute.execute`, and the number by which its lines are told apart."""

    number: int
    p: Params
    notebook: Path
    out: Path


def perform(runs: list[list[Task]], total: int, params_file: Path, jobs: int) -> None:
    """Execute the notebooks of each run in order, `jobs` runs at a time.

    What two runs share is made by the first that comes to it; the other waits at the store's lock.

    Raises:
        mistakes.Failed: a notebook failed; the other runs are ended too, and resume where they were.
    """
    if jobs == 1:
        for tasks in runs:
            _execute(tasks, total, params_file, alone=True)
        return
    waiting, running = list(runs), []
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads of torch, not running
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the cores to the other runs
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(context.Process(target=_child, args=(waiting.pop(0), total, params_file)))
                running[-1].start()
            wait([child.sentinel for child in running])
            for child in [child for child in running if child.exitcode is not None]:
                running.remove(child)
                if child.exitcode:
                    failure = "one run failed; the others were ended, and resume where they were"
                    raise mistakes.Failed(failure, child.exitcode)
    finally:
        for child in running:
            child.terminate()  # its kernel ends when it sees that the child is gone
            child.join()


def _child(tasks: list[Task], total: int, params_file: Path) -> None:
    def action() -> None:
        try:
            _execute(tasks, total, params_file, alone=False)
        except KeyboardInterrupt:  # which the parent got too, and says
            sys.exit(mistakes.INTERRUPT)

    sys.exit(mistakes.ended(action))


def _execute(tasks: list[Task], total: int, params_file: Path, alone: bool) -> None:
    with kernel.started() as shared:
        for number, p, notebook, out in tasks:
            line = f"[{number}/{total}] {p.run_name}: {notebook.stem}\n"
            print(line, end="", flush=True)  # in one piece, as other processes print too
            execute.execute(p, notebook, out, params_file, shared, "    " if alone else f"    [{number}] ")
