"""`dpsynth rehearse`: a user's run on public images in the place of their own, which it neither opens nor lists."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from dpsynth import __main__ as command
from dpsynth import experiments
from dpsynth.metrics import classifiers, distances
from dpsynth.report import rehearsals
from dpsynth.runner.command import say_what_to_expect

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
methods: {{rpgen: {{kept: 1, votes: 1}}}}
"""
CLASSES = 6


@pytest.fixture
def mine(enter, monkeypatch):
    """Enters a project with params/mine.yaml, whose private folder does not exist, and a public one of six classes of
    twenty images; metrics are stand-ins for those that take minutes."""

    def right(images, labels, shown, truth, n_classes, seed):
        return {"CA-CNN": torch.arange(len(truth)) % 4 == 0}

    def accuracies(images, labels, held_out, truth, n_classes, seed):
        return dict.fromkeys(("CA-LR", "CA-MLP", "CA-CNN"), 60.0)

    def between(synthetic, reference, extractor):
        apart = (synthetic.double().mean((0, 2, 3)) - reference.double().mean((0, 2, 3))).abs().mean().item()
        return {"FD-effnet": 1 + apart, "KID-effnet": 0.1, "precision": 0.5, "recall": 0.25}

    monkeypatch.setattr(classifiers, "right_answers", right)
    monkeypatch.setattr(classifiers, "accuracies", accuracies)
    monkeypatch.setattr(distances, "between", between)

    def entered(method="rpgen", n=20, labels="[cat, dog]", public="folder:public"):
        place = enter("own")
        for c in range(CLASSES):
            (place / f"public/{c}").mkdir(parents=True, exist_ok=True)
            for i in range(20):
                pixels = np.random.default_rng(100 * c + i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"public/{c}/{i}.png")
        (place / "params/mine.yaml").write_text(MINE.format(method=method, n=n, labels=labels, public=public))
        return place

    return entered


def test_it_needs_no_private_folder_spends_in_no_ledger_of_it_and_says_what_to_expect(mine, capsys):
    place = mine()
    assert command.main(["rehearse", "mine"]) == 0
    said = capsys.readouterr().out
    (p,) = experiments.load("mine").points()
    told = json.loads((rehearsals.folder(p) / "rehearsal.json").read_text())
    assert not (place / "mine").exists() and not (place / "ledger").exists()
    assert len(list((place / "build/rehearsal/ledger").glob("*.jsonl"))) == 1
    assert told["what"] == "rehearsal on public images" and told["summary"] in said
    assert told["stand_in"] == f"stand_in:2x1:folder:{place}/public" and told["n_records"] == 20
    assert (told["epsilon"], told["delta"], told["method"]) == (10, 1e-4, "rpgen")
    assert set(told["rows"]) == {"private", "nonprivate", "pretrained", "floor_public", "real", "noise"}
    assert told["named"] == 25 and told["chance"] >= 50
    assert all(line in said for line in (*told["measured"], *told["advice"], *told["caveats"]))
    assert rehearsals.ON_PUBLIC in (rehearsals.folder(p) / "metrics.csv").read_text()
    with Image.open(rehearsals.folder(p) / "samples.png") as picture:
        assert picture.width > 300
    say_what_to_expect([p], "mine", {})
    assert told["summary"] in capsys.readouterr().out  # a run of just these parameters repeats it
    say_what_to_expect([p.replace(epsilon=1)], "mine", {"epsilon": [1.0]})
    assert "`dpsynth rehearse mine --epsilon 1.0` runs the same on public images" in capsys.readouterr().out


def test_a_private_folder_that_nobody_may_read_is_not_even_listed(mine, monkeypatch, capsys):
    from dpsynth.data import folders

    place = mine(method="dpdm", labels="[]")
    (place / "mine").mkdir(mode=0)
    listed, listing = [], folders.listing
    monkeypatch.setattr(folders, "listing", lambda path: listed.append(path) or listing(path))
    assert command.main(["rehearse", "mine"]) == 0
    assert {path.name for path in listed} == {"public"}
    said = capsys.readouterr().out
    assert "Classifiers" not in said and "of the way from noise to real ones" in said  # without labels no accuracy


@pytest.mark.parametrize(
    "given, reason",
    [
        (
            {"labels": "[a, b, c, d]"},
            "has 6 classes, of which at most half can be held out, and 4 labels need one each",
        ),
        ({"public": "folder:nothing"}, "nothing does not exist"),
        ({"public": "nonsense"}, "no public set 'nonsense'"),
    ],
)
def test_what_cannot_be_cast_is_refused_by_its_numbers(mine, capsys, given, reason):
    mine(**given)
    assert command.main(["rehearse", "mine"]) == 2
    said = capsys.readouterr().err
    assert reason in said and said.count("\n") == 1


@pytest.mark.parametrize("given", [[], ["--stand-in", "folder:other"]], ids=["public", "beside the stand-in"])
@pytest.mark.parametrize("linked", ["0/mine.png", "6"], ids=["image", "class"])
def test_public_links_into_the_private_folder_are_refused_before_they_are_shown(mine, capsys, linked, given):
    place = mine()
    shutil.copytree(place / "public", place / "other")
    shutil.copytree(place / "public/0", place / "mine/cat")
    (place / "public" / linked).symlink_to(place / "mine/cat" / ("0.png" if "." in linked else ""))
    assert command.main(["rehearse", "mine", *given]) == 2
    assert f"public/{linked} of the public set is a link into folder:" in capsys.readouterr().err
    assert not (place / "build").exists() and not (place / "cache/folders").exists()


def test_a_benchmark_and_the_private_folder_itself_are_refused(mine, capsys):
    mine()
    assert command.main(["rehearse", "small"]) == 2
    assert "mnist5k is a benchmark, which its own runs measure" in capsys.readouterr().err
    assert command.main(["rehearse", "mine", "--stand-in", "folder:mine"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: public and private are the same folder") and "pydantic" not in said
