"""`make mutants`: plant bugs in a scratch copy of the package, one at a time, and run the privacy tests on each.

Prints what caught each, and what survived with the reason why it is harmless; exits 1 if a survivor has no reason.
Each mutant runs in a process forked from this one, which has imported the heavy libraries once.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import dp_accounting.pld  # noqa: F401 - what children need is imported once, before the fork
import opacus  # noqa: F401
import pandas  # noqa: F401
import pydantic  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import sklearn.manifold  # noqa: F401
import torch
import torch_fidelity  # noqa: F401
from harmless import HARMLESS
from machine import mutants
from planted import BUGS

PROJECT = Path(__file__).parents[2]
PATIENCE = 3  # times what the tests take on unchanged code: a mutant that takes longer does not end
NEEDED = ("dpsynth", "tests/conftest.py", "tests/privacy", "notebooks", "pyproject.toml")
# In this order; the others of tests/privacy take too long.
QUICK = ("private", "sums", "coins", "ledger", "fakes", "engine", "accounting", "closed", "silence")


class Edit(NamedTuple):
    """Of a scratch copy: `apply` takes its `dpsynth` folder; `file` is the first one it changes."""

    file: str
    apply: Callable[[Path], None]


class Verdict(NamedTuple):
    """`by` is the test that caught it, '' if none did."""

    name: str
    by: str
    seconds: float


def main() -> int:
    """Run all; 0 if every mutant was caught or has a reason to be harmless."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--machine", type=int, default=70, help="how many machine-made mutants (70, of some 350)")
    parser.add_argument("--only", default="", help="those whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    given = parser.parse_args()
    planted = {bug.name: _by_hand(bug) for bug in BUGS}
    made = {m.name: _by_machine(m) for m in mutants(PROJECT / "dpsynth/privacy")[: given.machine]}
    start, work = time.monotonic(), Path(tempfile.mkdtemp(prefix="mutants-"))
    try:
        base = _scratch(work / "unchanged")
        shutil.copytree(_rendered(base), work / "cache")
        if (unchanged := _judge("unchanged", base, work)).by:
            print(f"the privacy tests fail without any mutant: {unchanged.by}")
            return 1
        print(f"unchanged: the tests pass in {unchanged.seconds:.0f} s", flush=True)
        patience = PATIENCE * unchanged.seconds
        todo = [(name, e) for name, e in {**planted, **made}.items() if given.only in name]
        verdicts = _all(todo, work, given.jobs, patience)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return _conclude(verdicts, set(planted), time.monotonic() - start)


def _by_hand(bug) -> Edit:
    def edit(package: Path) -> None:
        for file, old, new in bug.patches:
            path = package / file
            path.write_text(path.read_text().replace(old, new, 1))

    return Edit(bug.patches[0][0], edit)


def _by_machine(mutant) -> Edit:
    def edit(package: Path) -> None:
        path = package / "privacy" / mutant.file
        path.write_text(mutant.apply(path.read_text()))

    return Edit(mutant.file, edit)


def _scratch(folder: Path) -> Path:
    for name in NEEDED:
        source, target = PROJECT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb"))
        else:
            shutil.copy(source, target)
    return folder


def _rendered(base: Path) -> Path:
    """Four glyphs a class, rendered once for all mutants: the cache that test_silence.py copies."""
    root = base / "rendered"
    child = multiprocessing.get_context("fork").Process(target=_render, args=(base, root))
    child.start()
    child.join()
    return root / "cache"


def _render(base: Path, root: Path) -> None:
    _enter(base)
    os.environ["DPSYNTH_ROOT"] = str(root)
    from dpsynth import data, glyphs

    glyphs.PER_CLASS = 4
    data.public("glyphs", 3, 16)


def _enter(folder: Path) -> None:
    """Make this process see the copy in `folder` as the project, and say nothing."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    silence = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    torch.set_num_threads(1)
    import dpsynth

    assert Path(dpsynth.__file__).is_relative_to(folder), "the scratch copy is not what is imported"


def _tests(folder: Path, cache: Path, name: str, file: str) -> None:
    """Tests named after the changed file, if there are any, come first: they catch most of its bugs, and one is enough.

    The last of QUICK, by far the slowest, is not run where a mutant is known to be harmless.
    """
    _enter(folder)
    os.environ["DPSYNTH_RENDERED"] = str(cache)
    asked = sorted(QUICK[:-1] if name in HARMLESS else QUICK, key=lambda one: one != Path(file).stem)
    order = [f"tests/privacy/test_{one}.py" for one in asked]
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *order]))


def _judge(name: str, folder: Path, work: Path, file: str = "", patience: float | None = None) -> Verdict:
    start = time.monotonic()
    child = multiprocessing.get_context("fork").Process(target=_tests, args=(folder, work / "cache", name, file))
    child.start()
    child.join(patience)
    if child.is_alive():
        child.kill()
        child.join()
        return Verdict(name, "", time.monotonic() - start)  # no test failed
    output = (folder / "output.txt").read_text()
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    by = failed[1] if failed and child.exitcode else ""  # a process that died without a failing test caught nothing
    return Verdict(name, by.rpartition("/")[2], time.monotonic() - start)


def _all(todo: list, work: Path, jobs: int, patience: float) -> list[Verdict]:
    """Judge each mutant, `jobs` at a time: each thread waits for a fork of its own."""
    from concurrent.futures import ThreadPoolExecutor

    def one(numbered) -> Verdict:
        number, (name, edit) = numbered
        folder = _scratch(work / str(number))
        edit.apply(folder / "dpsynth")
        verdict = _judge(name, folder, work, edit.file, patience)
        shutil.rmtree(folder)
        said = "caught  " if verdict.by else "SURVIVED"
        print(f"{said} {verdict.seconds:4.0f} s  {name}  [{verdict.by}]", flush=True)
        return verdict

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, enumerate(todo)))


def _conclude(verdicts: list[Verdict], planted: set[str], seconds: float) -> int:
    survivors = [v.name for v in verdicts if not v.by]
    unexplained = [name for name in survivors if name not in HARMLESS]
    if survivors:
        print("\nsurvivors:")
        for name in survivors:
            print(f"  {name}\n      {HARMLESS.get(name, 'NO REASON IS KNOWN: a test is missing')}")
    for kind, mine in (("planted by hand", True), ("made by machine", False)):
        group = [v for v in verdicts if (v.name in planted) == mine]
        print(f"{kind}: {sum(bool(v.by) for v in group)} of {len(group)} caught")
    print(f"{len(unexplained)} unexplained survivors; {seconds / 60:.1f} minutes")
    out = PROJECT / "build" / "mutants.json"
    out.parent.mkdir(exist_ok=True)
    found = {"minutes": round(seconds / 60, 1), "verdicts": [v._asdict() for v in verdicts]}
    out.write_text(json.dumps(found, indent=1))
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
