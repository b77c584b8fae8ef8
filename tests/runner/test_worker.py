"""Processes as torchrun starts them, on one machine, with messages by gloo: what they make is what one makes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dpsynth.privacy import coins

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
import sys
import torch
from dpsynth.data import glyphs
from dpsynth.metrics import classifiers
from dpsynth.models import training
torch.set_num_threads(1)
training.PATIENCE = 0.0
glyphs.PER_CLASS = 4
classifiers.accuracies = lambda images, *rest: {"CA-CNN": images.double().mean().item()}
%s
from dpsynth.runner import worker
sys.exit(worker.main(sys.argv[1:]))
"""
PATIENCE = 120  # seconds


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Four glyphs a class, drawn once."""
    place = project(tmp_path_factory.mktemp("drawn") / "drawn", None)
    code = "from dpsynth.data import catalog, glyphs; glyphs.PER_CLASS = 4; catalog.public('glyphs', 1, 28).images"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"DPSYNTH_ROOT": str(place)}, cwd=place)
    return place / "cache"


def project(place, cache, method="rpgen", noise="seeded"):
    """A project of one tiny run."""
    (place / "notebooks").mkdir(parents=True)
    (place / "notebooks" / "01_semantic_query.py").touch()
    shutil.copytree(ROOT / "params" / "scales", place / "params" / "scales")
    (place / "params" / "tiny.yaml").write_text(FILE % (method, noise))
    if cache:
        shutil.copytree(cache, place / "cache")
    return place


def start(place, world, plant=""):
    """The processes, whose output lies in the project's folder; `plant`: what is changed in them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in range(world):
        env = os.environ | {
            "DPSYNTH_ROOT": str(place), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RANK": str(rank),
            "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "localhost", "MASTER_PORT": port,
        }  # fmt: skip
        with open(place / f"out{rank}", "w") as out, open(place / f"err{rank}", "w") as err:
            command = [sys.executable, "-c", SCRIPT % plant, "tiny"]
            processes.append(subprocess.Popen(command, env=env, cwd=place, stdout=out, stderr=err))
    return processes


def end(processes):
    """Their exit codes."""
    try:
        return [process.wait(PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()


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


def test_two_processes_make_what_one_makes(tmp_path, cache, one):
    place = project(tmp_path / "two", cache)
    assert end(start(place, 2)) == [0, 0], errors(place, 0) + errors(place, 1)
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
    assert (place / "out0").read_text() == (one / "out0").read_text() != ""
    assert not (place / "out1").read_text() and not errors(place, 1)
    assert not list(place.glob("ledger/keys/*")) and list(place.glob("build/smoke/*/metrics.csv"))


SHARES = """
import os
from dpsynth.models import samplers
from dpsynth.privacy import engine
usual, steps = samplers.trajectory, engine.sums._by_hooks
def noted(what):
    print(what, file=open(f"did{os.environ['RANK']}", "a"))
def trajectory(*given):
    noted("batch")
    return usual(*given)
def by_hooks(*given):
    noted("step " + str(len(given[4])))
    return steps(*given)
samplers.trajectory, engine.sums._by_hooks = trajectory, by_hooks
from dpsynth.stages import pretrain
parts = pretrain._parts
def shared(*given):
    made = parts(*given)
    noted("rows " + str([len(part.images) for part in made]))
    return made
pretrain._parts = shared
"""
