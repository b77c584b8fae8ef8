"""`make mutants`: plant bugs in a scratch copy of the package, one at a time, and run the privacy tests on each.

The tests that see the changed file most directly run first, as one failure is enough; the tests of whole stages last.

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
from functools import partial
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
from machine import CORE, STAGES, mutants
from planted import BUGS
from scratch import PROJECT, plant, scratch

UNCHANGED = "the package as it is"
PATIENCE = 900  # seconds; a mutant that takes longer does not end
# Of tests/privacy, in this order but for those of the changed file's own name; the others of it take too long.
FIRST = ("answers", "keys")  # a few seconds each
QUICK = ("coins", "sums", "fakes", "private", "ledger", "engine", "carriers", "ranks", "accounting", "closed")
ASKED = ("privacy/test_learners", "methods/test_questions", "privacy/test_closed")  # what stages say of records
RUNS = {"pipeline.py", "steps.py", "budget/planning.py", "preflight.py", "stages/permit.py"}
OF_RUNS = ["tests/test_pipeline.py", "-k", "not made_once"]  # that one makes the artifacts of every method
WHOLE = ("neighbours", "noninterference", "silence", "reach")  # each runs every case of `worlds`
# The cases that can notice a change of a file, by words of their names; of other files, all cases.
CONCERNED = {
    "methods/dp_feta.py": "dp_feta", "methods/dpsda.py": "dpsda", "stages/dp_sgd.py": "dpdm or noisy",
    "methods/gans.py": "gan or privimage_g", "stages/label_prior.py": "noisy", "methods/dp_mepf.py": "mepf",
    **dict.fromkeys(RUNS, "noisy"), "stages/query.py": "rpgen or privimage", "methods/dp_sapf.py": "sapf",
    "models/diffusion.py": "dpdm", "models/gan.py": "gan or privimage_g", "models/latent.py": "latent",
    "stages/progress.py": "dpdm or noisy",
}  # fmt: skip


class Edit(NamedTuple):
    """Of a scratch copy: `apply` takes its `dpsynth` folder; `file`, below it, is the first one it changes."""

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
    parser.add_argument("--machine", type=int, default=64, help="how many machine-made mutants (64, of some 450)")
    parser.add_argument("--only", default="", help="those whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    given = parser.parse_args()
    planted = {bug.name: _by_hand(bug) for bug in BUGS}
    half = given.machine // 2
    drawn = mutants(PROJECT / "dpsynth", CORE)[: given.machine - half] + mutants(PROJECT / "dpsynth", STAGES)[:half]
    made = {mutant.name: _by_machine(mutant) for mutant in drawn}
    start, work = time.monotonic(), Path(tempfile.mkdtemp(prefix="mutants-"))
    try:
        base = scratch(work / "base")
        shutil.copytree(_rendered(base), work / "cache")
        todo = {name: edit for name, edit in {**made, **planted}.items() if given.only in name}
        unchanged = {} if given.only else {UNCHANGED: Edit("", lambda package: None)}
        verdicts = _all(list({**unchanged, **todo}.items()), work, given.jobs)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if unchanged and (first := verdicts.pop(0)).by:
        print(f"the privacy tests fail without any mutant: {first.by}")
        return 1
    return _conclude(verdicts, set(planted), time.monotonic() - start)


def _by_hand(bug) -> Edit:
    return Edit(bug.patches[0][0], partial(plant, bug))


def _by_machine(mutant) -> Edit:
    def edit(package: Path) -> None:
        path = package / mutant.file
        path.write_text(mutant.apply(path.read_text()))

    return Edit(mutant.file, edit)


def _rendered(base: Path) -> Path:
    """Four glyphs a class, rendered once for all mutants: the cache that the tests of whole stages copy."""
    root = base / "rendered"
    child = multiprocessing.get_context("fork").Process(target=_render, args=(base, root))
    child.start()
    child.join()
    return root / "cache"


def _render(base: Path, root: Path) -> None:
    _enter(base)
    os.environ["DPSYNTH_ROOT"] = str(root)
    from dpsynth.data import catalog, glyphs

    glyphs.PER_CLASS = 4
    assert catalog.public("glyphs", 3, 16).classes


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


def _order(name: str, file: str) -> list[list[str]]:
    """Groups of arguments for pytest: units first, those named after the changed file before all; then whole stages.

    Where a mutant is known to be harmless, its survival costs the units alone.
    """
    own = {"chain": "ledger", "disk": "ledger"}.get(Path(file).stem, Path(file).stem)
    ordered = (*FIRST, *sorted(QUICK, key=lambda one: one != own))
    core = [f"tests/privacy/test_{one}.py" for one in ordered]
    budget = ["tests/budget/test_calibration.py", "tests/budget/test_certificate.py"]
    core = [*budget, *core] if file.startswith("budget") else [*core, *budget]
    asked = [f"tests/{one}.py" for one in ASKED]
    whole = [f"tests/privacy/test_{one}.py" for one in WHOLE]
    if file in CONCERNED:
        whole += ["-k", CONCERNED[file]]
    units = asked if file in RUNS or file.startswith(("stages", "methods", "models")) else core
    if file == "store.py":  # what a release is sealed to
        units = ["tests/privacy/test_reach.py", *units]
    groups = [units, *([OF_RUNS] if file in RUNS else []), *([] if name in HARMLESS else [whole])]
    return [*groups, asked] if name == UNCHANGED else groups


def _tests(folder: Path, cache: Path, name: str, file: str) -> None:
    _enter(folder)
    os.environ["DPSYNTH_RENDERED"] = str(cache)
    for group in _order(name, file):
        if ended := pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *group]):
            os._exit(ended)
    os._exit(0)


def _judge(name: str, folder: Path, work: Path, file: str) -> Verdict:
    start = time.monotonic()
    child = multiprocessing.get_context("fork").Process(target=_tests, args=(folder, work / "cache", name, file))
    child.start()
    child.join(PATIENCE)
    if child.is_alive():
        child.kill()
        child.join()
        return Verdict(name, "", time.monotonic() - start)  # no test failed
    output = (folder / "output.txt").read_text()
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    by = failed[1] if failed and child.exitcode else ""  # a process that died without a failing test caught nothing
    return Verdict(name, by.rpartition("/")[2], time.monotonic() - start)


def _all(todo: list, work: Path, jobs: int) -> list[Verdict]:
    """Judge each mutant, `jobs` at a time: each thread waits for a fork of its own."""
    from concurrent.futures import ThreadPoolExecutor

    def one(numbered) -> Verdict:
        number, (name, edit) = numbered
        folder = scratch(work / str(number))
        edit.apply(folder / "dpsynth")
        verdict = _judge(name, folder, work, edit.file)
        shutil.rmtree(folder)
        said = "tests   " if name == UNCHANGED else "caught  " if verdict.by else "SURVIVED"
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
