"""What a set of colour images is measured by, with labels and without."""

from functools import partial

import pytest
import torch

from dpsynth.artifacts import Samples
from dpsynth.data import private_sets
from dpsynth.data.private_sets import Benchmark
from dpsynth.metrics import extractors, resnet9
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.preflight import measures
from dpsynth.report import displays, pictures, results, run_files
from dpsynth.stages import evaluate

pytestmark = pytest.mark.usefixtures("tiny_root")
DISTANCES = ["FD-effnet", "KID-effnet", "precision", "recall"]
SIZES = {"train": 40, "test": 20}
TINY = dict(steps=1, sample_rate=0.1, width=8, n_synthetic=20, pretrain_steps=1, encoder_steps=1)


def coloured(split, n_classes, seed=0):
    n, draws = SIZES[split], torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=draws)
    return images, torch.arange(n) % n_classes


@pytest.fixture
def sets(monkeypatch):
    """Benchmarks of 40 and 20 colour images: `pets` of two classes, `faces` without labels."""
    for name, classes in (("pets", ("cat", "dog")), ("faces", ("all",))):
        load = partial(coloured, n_classes=len(classes))
        monkeypatch.setitem(private_sets.PRIVATE, name, Benchmark(SIZES, 3, 16, classes, load))
    monkeypatch.setattr(resnet9, "WIDTH", 8)


def test_colour_is_measured_on_effnet_and_trains_no_extractor(sets):
    run = Run(Params(method="dpdm", private="pets", **TINY))
    assert run.recipe("extractor") is None and run.artifact("extractor") is None
    assert Run(Params(method="dpdm", **TINY)).recipe("extractor") is not None  # mnist5k is grey
    samples, settings = Samples(*coloured("test", 2, seed=1)), {"n_classes": 2, "seed": 0, "inception": None}
    measured = evaluate.measure(None, samples, None, run.held_out, **settings)
    assert list(measured.values) == ["CA-LR", "CA-MLP", "CA-CNN", "CA-ResNet9", *DISTANCES]
    assert measured.extractor == "effnet"


def test_a_run_without_labels_has_distances_alone_and_is_shown(sets):
    run = Run(Params(method="dpdm", private="faces", **TINY))
    assert {row: list(found.values) for row, found in run.measurements.items()} == {
        "dpdm": DISTANCES,
        "real": DISTANCES,
    }
    table = displays.metrics(run)
    assert list(table.columns)[:5] == ["n_synthetic", *DISTANCES]
    assert set(displays.beside_papers(run)["metric"]) >= {"FD-effnet"}
    frame = results.read(run_files.write_metrics(run))
    assert set(frame["extractor"].dropna()) == {"effnet"} and {*DISTANCES} < {*frame["metric"]}
    assert {len(images) for images in pictures.strip(run).values()} == {10} and pictures.headings(run.params) == []
    points, labels, _ = pictures.embedding(run, 20)
    assert points.shape == (40, 2) and set(labels.tolist()) == {0}


def test_what_measures_is_opened_before_the_first_private_touch(sets, monkeypatch):
    opened = []
    monkeypatch.setattr(extractors, "effnet", lambda: opened.append("effnet"))
    measures(Params(method="dpdm", private="pets", **TINY))
    measures(Params(method="dpdm", **TINY))
    assert opened == ["effnet"]
