"""`dpsynth rehearse`: a user's run on public images in the place of their own, which it neither opens nor lists."""

import json
import os
import shutil

import pytest
from PIL import Image

from dpsynth import __main__ as command
from dpsynth import experiments
from dpsynth.data import folders
from dpsynth.metrics import classifiers, distances
from dpsynth.report import rehearsals

MINE = """
reproduces: my own images
scale: smoke
over: {{method: [{method}], epsilon: [10], seed: [0]}}
private: folder:mine
n_records: {n}
delta: 1.0e-4
labels: {labels}
size: 8
noise: secret
public: {public}
steps: 2
width: 8
pretrain_steps: 2
encoder_steps: 2
n_synthetic: 20
"""


@pytest.fixture
def quick(monkeypatch):
    """In place of metrics that take minutes; a count of the questions that classifiers answered."""
    import torch

    def right(images, labels, shown, truth, n_classes, seed):
        return {"CA-CNN": torch.arange(len(truth)) % 2 == 0}

    def accuracies(images, labels, held_out, truth, n_classes, seed):
        return dict.fromkeys(("CA-LR", "CA-MLP", "CA-CNN"), 60.0)

    def between(synthetic, reference, extractor):
        spread = (synthetic.double().mean((0, 2, 3)) - reference.double().mean((0, 2, 3))).abs().mean().item()
        return {"FD-effnet": 1 + spread, "KID-effnet": 0.1, "precision": 0.5, "recall": 0.25}

    monkeypatch.setattr(classifiers, "right_answers", right)
    monkeypatch.setattr(classifiers, "accuracies", accuracies)
    monkeypatch.setattr(distances, "between", between)


@pytest.fixture
def mine(enter, quick):
    """Enters a project with params/mine.yaml, whose private folder does not exist."""

    def entered(method="rpgen", n=40, labels="[cat, dog]", public="glyphs"):
        place = enter("own")
        (place / "params/mine.yaml").write_text(MINE.format(method=method, n=n, labels=labels, public=public))
        return place

    return entered


def test_it_needs_no_private_folder_writes_no_ledger_beside_it_and_says_what_to_expect(mine, capsys):
    place = mine()
    assert not (place / "mine").exists()
    assert command.main(["rehearse", "mine"]) == 0
    said = capsys.readouterr().out
    (p,) = experiments.load("mine").points()
    told = json.loads((rehearsals.folder(p) / "rehearsal.json").read_text())
    assert not (place / "ledger").exists() and list((place / "build/rehearsal/ledger").glob("*.jsonl"))
    assert told["what"] == "rehearsal on public images" and told["summary"] in said
    assert told["stand_in"].startswith("stand_in:2x") and told["n_records"] == 40
    assert (told["epsilon"], told["delta"], told["method"]) == (10, 1e-4, "rpgen")
    assert set(told["rows"]) == {"private", "nonprivate", "pretrained", "floor_public", "real", "noise"}
    assert all(line in said for line in (*told["measured"], *told["advice"], *told["caveats"]))
    assert rehearsals.ON_PUBLIC in (rehearsals.folder(p) / "metrics.csv").read_text()
    assert Image.open(rehearsals.folder(p) / "samples.png").size[0] > 300
