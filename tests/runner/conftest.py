"""Tiny projects for commands that make a parameter file's runs."""

import shutil
from pathlib import Path

import pytest
import torch

from dpsynth import __main__ as command
from dpsynth.data import glyphs, private_sets
from dpsynth.data.private_sets import Benchmark
from dpsynth.metrics import classifiers
from dpsynth.models import training

ROOT = Path(__file__).parents[2]
FILE = """
reproduces: A test.
scale: smoke
over: {method: [%s], seed: [3]}
steps: 3
sample_rate: 0.02
width: 8
pretrain_steps: 3
encoder_steps: 2
extractor_steps: 2
n_synthetic: 40
"""


def accuracies(images, labels, held_out, truth, n_classes, seed):
    """In place of classifiers that take half a minute: a number that tells images apart."""
    return {"CA-CNN": images.double().mean().item() / 255 * 100}


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """A cache with four glyphs a class."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def coloured(monkeypatch):
    """A benchmark in colour, `toy`: three classes of 8 by 8 pixels."""

    def load(split):
        draws = torch.Generator().manual_seed(len(split))
        return torch.randint(0, 256, (60, 3, 8, 8), generator=draws, dtype=torch.uint8), torch.arange(60) % 3

    toy = Benchmark({"train": 60, "test": 60}, 3, 8, ("a", "b", "c"), load)
    monkeypatch.setitem(private_sets.PRIVATE, "toy", toy)


@pytest.fixture
def enter(rendered, tmp_path, monkeypatch):
    """Makes a project by name, and enters it: `tiny` is RPGen, `small` DPDM. Checkpoints are saved after each step."""
    monkeypatch.setattr(glyphs, "PER_CLASS", 4)
    monkeypatch.setattr(classifiers, "accuracies", accuracies)
    monkeypatch.setattr(training, "PATIENCE", 0.0)

    def entered(name):
        place = tmp_path / name
        if not place.exists():
            (place / "notebooks").mkdir(parents=True)
            (place / "notebooks" / "01_semantic_query.py").touch()
            shutil.copytree(ROOT / "params" / "scales", place / "params" / "scales")
            (place / "params" / "tiny.yaml").write_text(FILE % "rpgen")
            colour = "private: toy\ndelta: 0.001\nmethods: {rpgen: {kept: 2, votes: 1}}\n"
            (place / "params" / "colour.yaml").write_text(FILE % "rpgen" + colour)
            (place / "params" / "small.yaml").write_text(FILE % "dpdm")
            shutil.copytree(rendered, place / "cache")
        monkeypatch.chdir(place)
        monkeypatch.setenv("DPSYNTH_ROOT", str(place))
        return place

    return entered


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """Projects that were made once for all tests."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def made(enter, rendered, kept, capsys):
    """Enters a project where all runs of a file were made at once."""

    def make(file):
        place = enter(f"{file}-made")
        if (kept / file).exists():
            shutil.copytree(kept / file, place, dirs_exist_ok=True)
            return place
        assert command.main(["run", file]) == 0
        for drawn in (place / "cache").glob("glyphs-*"):
            shutil.copy(drawn, rendered)
        capsys.readouterr()
        shutil.copytree(place, kept / file)
        return place

    return make


@pytest.fixture
def content():
    """Of a project, the tensors of each artifact by its name, and the ledger."""

    def of(place):
        artifacts = {p.parent.name: p.read_bytes() for p in place.glob("build/artifacts/*/tensors.safetensors")}
        return artifacts | {"ledger": (place / "ledger/mnist5k.jsonl").read_bytes()}

    return of
