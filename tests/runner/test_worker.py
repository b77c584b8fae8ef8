"""Processes as torchrun starts them, on one machine, with messages by gloo: what they make is what one makes."""

import json
import multiprocessing
import re
import shutil
import signal
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dpsynth.data import catalog, glyphs

ROOT = Path(__file__).parents[2]
FILE = """
reproduces: A test.
scale: smoke
over: {method: [%s], seed: [3]}
noise: %s
steps: 3
sample_rate: 0.1
width: 8
pretrain_steps: 3
encoder_steps: 2
extractor_steps: 2
n_synthetic: 600
"""
SCRIPT = """
import os
import sys
os.environ.update({env})
os.chdir({place!r})
for number, file in ((1, "out"), (2, "err")):
    os.dup2(os.open(file + os.environ["RANK"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
import torch
from dpsynth.data import glyphs
from dpsynth.metrics import classifiers
from dpsynth.models import training
from dpsynth.report import results
torch.set_num_threads(1)
training.PATIENCE = 0.0
glyphs.PER_CLASS = 4
classifiers.accuracies = lambda images, *rest: {{"CA-CNN": images.double().mean().item()}}
results.draw = lambda *given: []
{plant}
from dpsynth.runner import worker
sys.exit(worker.main(["tiny", *{more}]))
"""
STARTS = multiprocessing.get_context("forkserver")  # imports once for all
STARTS.set_forkserver_preload(["dpsynth.runner.worker", "dpsynth.metrics.classifiers"])
PATIENCE = 120  # seconds


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Four glyphs a class, drawn once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glyphs, "PER_CLASS", 4)
        patch.setenv("DPSYNTH_ROOT", str(root := tmp_path_factory.mktemp("drawn")))
        assert catalog.public("glyphs", 1, 28).classes
    return root / "cache"


def project(place, cache, method="rpgen", noise="seeded"):
    """A project of one tiny run."""
    (place / "notebooks").mkdir(parents=True)
    (place / "notebooks" / "01_semantic_query.py").touch()
    shutil.copytree(ROOT / "params" / "scales", place / "params" / "scales")
    (place / "params" / "tiny.yaml").write_text(FILE % (method, noise))
    shutil.copytree(cache, place / "cache")
    return place


def start(place, world, plant="", more=()):
    """The processes, whose output lies in the project's folder.

    Args:
        plant: what is changed in them; more: arguments of the command.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in range(world):
        env = {
            "DPSYNTH_ROOT": str(place), "DPSYNTH_PRECISION": "float32", "RANK": str(rank), "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world), "MASTER_ADDR": "localhost", "MASTER_PORT": port,
        }  # fmt: skip
        script = SCRIPT.format(env=env, place=str(place), plant=plant, more=more)
        processes.append(STARTS.Process(target=exec, args=(script, {})))
        processes[-1].start()
    return processes


def end(processes):
    """Their exit codes."""
    for process in processes:
        process.join(PATIENCE)
        process.kill()
    return [process.exitcode for process in processes]


def errors(place, rank):
    """What a process said on stderr."""
    return (place / f"err{rank}").read_text()


def artifacts(place, kind):
    """Folders of the artifacts of this kind."""
    return sorted(path for path in (place / "build" / "artifacts").glob(f"{kind}-*") if path.is_dir())


def facts(place, kind):
    """What their meta.json say."""
    return [json.loads((path / "meta.json").read_text()) for path in artifacts(place, kind)]


def furthest(place, other, kind):
    """The largest difference of two projects' artifacts."""
    pairs = zip(artifacts(place, kind), artifacts(other, kind), strict=True)
    both = [[load_file(path / "tensors.safetensors") for path in pair] for pair in pairs]
    return max((a[name].double() - b[name].double()).abs().max().item() for a, b in both for name in a | b)


def ledger(place):
    """Every byte that the ledger has written."""
    files = (path for path in (place / "ledger").rglob("*") if path.is_file())
    return {path.relative_to(place): path.read_bytes() for path in sorted(files)}


@pytest.fixture(scope="module")
def one(tmp_path_factory, cache):
    """What one process makes of RPGen."""
    place = project(tmp_path_factory.mktemp("one") / "rpgen", cache)
    assert end(start(place, 1)) == [0], errors(place, 0)
    return place


SHARES = """
import os
from dpsynth.models import samplers
from dpsynth.privacy.engine import sums
from dpsynth.stages import pretrain
def noting(module, name, of):
    usual = getattr(module, name)
    def noted(*given):
        print(name, of(given), file=open(f"did{os.environ['RANK']}", "a"))
        return usual(*given)
    setattr(module, name, noted)
noting(samplers, "trajectory", lambda given: len(given[1]))
noting(sums, "_by_hooks", lambda given: len(given[4]))
noting(pretrain, "Batch", lambda given: len(given[0]))
"""


def test_two_processes_make_what_one_makes(tmp_path, cache, one):
    place = project(tmp_path / "two", cache)
    assert end(start(place, 2, SHARES)) == [0, 0], errors(place, 0) + errors(place, 1)
    assert ledger(place) == ledger(one)
    names = [{path.name for path in (each / "build" / "artifacts").iterdir()} for each in (place, one)]
    assert names[0] == names[1]
    for kind in ("plan", "noise"):
        assert [meta["fields"] for meta in facts(place, kind)] == [meta["fields"] for meta in facts(one, kind)] != []
    for file in ("certificate.json", "artifacts.json"):
        (here,), (there,) = (each.glob(f"build/smoke/*/{file}") for each in (place, one))
        assert here.read_bytes() == there.read_bytes()
    for kind, rounding in {"release": 0, "base": 1e-5, "synthesiser": 1e-5, "samples": 1}.items():
        assert furthest(place, one, kind) <= rounding, kind
    for kind, processes in {"release": 1, "base": 2, "synthesiser": 2}.items():
        assert {meta["processes"] for meta in facts(place, kind)} == {processes}
    said = [re.findall(r"^(\[1/1\] .*?)(?:: [0-9.]+ s)?$", (each / "out0").read_text(), re.M) for each in (place, one)]
    assert said[0] == said[1] and len(said[0]) > 10
    assert not (place / "out1").read_text() and not errors(place, 1)
    assert not list(place.glob("ledger/keys/*")) and list(place.glob("build/smoke/*/metrics.csv"))
    did = [(place / f"did{rank}").read_text().split("\n") for rank in (0, 1)]
    assert [[of.count(f"trajectory {n}") for n in (250, 100)] for of in did] == [[2, 2], [2, 0]]  # twice 250, 250, 100
    assert [of.count("Batch 32") for of in did] == [12, 12]  # two bases, three steps, half of two sub-batches of 64
    micro_batches = [[int(line.split()[1]) for line in of if line.startswith("_by_hooks")] for of in did]
    assert len(micro_batches[0]) == 3
    assert all(first - second in (0, 1) and second for first, second in zip(*micro_batches, strict=True))


LEARNS = """
from dpsynth.runner import headless
headless.pieces = lambda run, measured: [headless.Piece("synthesiser", lambda: run.synthesiser)]
headless._conclude = lambda *given: None
"""
DIES = """
import os, signal
from dpsynth.privacy import Private
usual = Private.gradient
def gradient(self, model, loss, charge, step, *rest):
    if os.environ["RANK"] == "1" and step == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    usual(self, model, loss, charge, step, *rest)
Private.gradient = gradient
"""


def test_a_run_whose_process_was_killed_goes_on_with_two_or_one_under_the_same_noise(tmp_path, cache):
    place = project(tmp_path / "killed", cache, "dpdm", "secret")
    assert end(start(place, 2, LEARNS + DIES)) == [2, -signal.SIGKILL]
    assert errors(place, 1).count("\n") <= 1 and "Traceback" not in errors(place, 0)
    assert len(list(place.glob("ledger/keys/*.key"))) == 1 and list(
        place.glob("build/artifacts/*.partial/checkpoint.pt")
    )
    opened = (place / "ledger" / "mnist5k.jsonl").read_text()
    alone = tmp_path / "alone"
    shutil.copytree(place, alone)
    assert end([*start(place, 2, LEARNS), *start(alone, 1, LEARNS)]) == [0, 0, 0], errors(place, 0) + errors(alone, 0)
    for each in (place, alone):
        closed = (each / "ledger" / "mnist5k.jsonl").read_text()
        assert closed.startswith(opened) and closed.count('"open"') == closed.count('"close"') == 1
        assert not list(each.glob("ledger/keys/*"))
    assert furthest(place, alone, "synthesiser") == 0


LATE = """
import os
from dpsynth import deadline
from dpsynth.privacy import Private
usual = Private.gradient
def gradient(self, model, loss, charge, step, *rest):
    usual(self, model, loss, charge, step, *rest)
    if os.environ["RANK"] == "0" and step == 1:
        deadline.MARGIN = 1e9
Private.gradient = gradient
"""


def test_all_processes_stop_at_one_checkpoint_when_rank_0_is_out_of_time(tmp_path, cache):
    place = project(tmp_path / "late", cache, "dpdm")
    assert end(start(place, 2, LEARNS + LATE, ["--minutes", "9"])) == [4, 4], errors(place, 0) + errors(place, 1)
    sentence = "synthesiser, before 9 minutes were over; the same command continues where this one stopped\n"
    assert errors(place, 0).count(sentence) == 1
    assert not errors(place, 1)
    (checkpoint,) = place.glob("build/artifacts/*.partial/checkpoint.pt")
    assert torch.load(checkpoint)["step"] == 2


CLOSED = """
import os
from dpsynth.data import catalog
usual = catalog.private
def private(name, split, **declared):
    if os.environ["RANK"] == "1":
        raise PermissionError(13, "Permission denied", "there/mnist5k")
    return usual(name, split, **declared)
catalog.private = private
"""


def test_what_would_be_wrong_in_all_processes_is_said_once(tmp_path, cache):
    place = project(tmp_path / "wrong", cache, "nothing")
    assert end(start(place, 2)) == [2, 2]
    assert errors(place, 0).startswith("error: ") and "nothing" in errors(place, 0)
    assert errors(place, 0).count("\n") == 1 and not errors(place, 1)


def test_a_set_that_one_process_cannot_open_ends_all_with_one_sentence(tmp_path, cache):
    place = project(tmp_path / "closed", cache, "dpdm")
    assert end(start(place, 2, CLOSED)) == [2, 2]
    said = errors(place, 0) + errors(place, 1)
    assert said.startswith("rank 1: error: there/mnist5k: your rights do not reach it") and said.count("\n") == 1
    assert not list(place.glob("ledger/*.jsonl"))
