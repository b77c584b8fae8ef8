"""Processes as torchrun starts them, on one machine, with messages by gloo: what they make is what one makes."""

import json
import multiprocessing
import shutil
import signal
import socket
from pathlib import Path

import pytest
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
torch.set_num_threads(1)
training.PATIENCE = 0.0
glyphs.PER_CLASS = 4
classifiers.accuracies = lambda images, *rest: {{"CA-CNN": images.double().mean().item()}}
{plant}
from dpsynth.runner import worker
sys.exit(worker.main(["tiny"]))
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


def start(place, world, plant=""):
    """The processes, whose output lies in the project's folder; `plant`: what is changed in them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in range(world):
        env = {
            "DPSYNTH_ROOT": str(place), "DPSYNTH_PRECISION": "float32", "RANK": str(rank), "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world), "MASTER_ADDR": "localhost", "MASTER_PORT": port,
        }  # fmt: skip
        script = SCRIPT.format(env=env, place=str(place), plant=plant)
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
    """The tensors of the one artifact of this kind, and where it lies."""
    (folder,) = (path for path in (place / "build" / "artifacts").glob(f"{kind}-*") if path.is_dir())
    return load_file(folder / "tensors.safetensors"), folder


def furthest(one, other):
    """The largest difference of two artifacts' tensors."""
    assert one.keys() == other.keys()
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)


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
        both = [json.loads((artifacts(each, kind)[1] / "meta.json").read_text())["fields"] for each in (place, one)]
        assert both[0] == both[1]
    for file in ("certificate.json", "artifacts.json"):
        (here,), (there,) = (each.glob(f"build/smoke/*/{file}") for each in (place, one))
        assert here.read_bytes() == there.read_bytes()
    for kind, rounding in {"release": 0, "base": 1e-5, "synthesiser": 1e-5, "samples": 1}.items():
        assert furthest(artifacts(place, kind)[0], artifacts(one, kind)[0]) <= rounding, kind
    for kind, processes in {"release": 1, "base": 2, "synthesiser": 2}.items():
        assert json.loads((artifacts(place, kind)[1] / "meta.json").read_text())["processes"] == processes
    assert (place / "out0").read_text() == (one / "out0").read_text() != ""
    assert not (place / "out1").read_text() and not errors(place, 1)
    assert not list(place.glob("ledger/keys/*")) and list(place.glob("build/smoke/*/metrics.csv"))
    did = [(place / f"did{rank}").read_text().split("\n") for rank in (0, 1)]
    assert [[of.count(f"trajectory {n}") for n in (250, 100)] for of in did] == [[2, 2], [2, 0]]  # twice 250, 250, 100
    assert [of.count("Batch 32") for of in did] == [6, 6]  # in each of three steps half of each sub-batch of 64
    micro_batches = [[int(line.split()[1]) for line in of if line.startswith("_by_hooks")] for of in did]
    assert len(micro_batches[0]) == 3
    assert all(first - second in (0, 1) and second for first, second in zip(*micro_batches, strict=True))


LEARNS = "from dpsynth.runner import worker; worker.make = lambda run: run.synthesiser"
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
    assert furthest(artifacts(place, "synthesiser")[0], artifacts(alone, "synthesiser")[0]) == 0


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


def test_a_set_that_one_process_cannot_open_ends_all_with_one_sentence(tmp_path, cache):
    place = project(tmp_path / "closed", cache, "dpdm")
    assert end(start(place, 2, CLOSED)) == [2, 2]
    said = errors(place, 0) + errors(place, 1)
    assert said.startswith("rank 1: error: there/mnist5k: your rights do not reach it") and said.count("\n") == 1
    assert not list(place.glob("ledger/*.jsonl"))
