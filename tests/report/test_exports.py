"""A run's synthesiser as a folder that others can load: all methods, what a card says, what an export does not tell."""

import json
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

from dpsynth import load_model, project
from dpsynth.artifacts import Synthesiser
from dpsynth.budget import risk
from dpsynth.budget.certificate import REPRODUCTION, Certificate
from dpsynth.methods import METHODS
from dpsynth.metrics import classifiers, distances
from dpsynth.models import networks
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy.disk import EARLIEST
from dpsynth.report import exports, model_card, weight_files

TINY = dict(
    steps=2, sample_rate=0.01, pretrain_steps=2, encoder_steps=2, extractor_steps=2, width=8, n_synthetic=20, seed=5
)  # fmt: skip
FILES = ["architecture.json", "card.md", "certificate.json", "weights.npz"]


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """In place of classifiers that take half a minute."""
    monkeypatch.setattr(classifiers, "accuracies", lambda *args: {"CA-CNN": 50.0})
    monkeypatch.setattr(distances, "between", lambda *args: {"FD-convnet": 3.25})


@pytest.fixture
def finished(tiny_root):
    """A run of which all is made that an export reads."""

    def finish(method="dpdm", **changes):
        run = Run(Params(method=method, **{**TINY, **changes}))
        _ = run.samples, run.measurements
        return run

    return finish


@pytest.mark.parametrize("method", METHODS)
def test_a_model_of_each_method_is_loaded_elsewhere_and_draws_the_runs_own_samples(
    finished, method, tmp_path, monkeypatch
):
    run = finished(method)
    weights = exports.export(run, tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == FILES
    assert weights.dtype == ("uint8" if method == "dpsda" else "float32")
    assert (tmp_path / "model/weights.npz").read_bytes() == weights.content
    monkeypatch.setattr(project, "root", lambda: pytest.fail("asked for a project"))
    model = load_model(tmp_path / "model")
    images, labels = model.sample(20, seed=5)
    assert torch.equal(images, run.samples.images) and torch.equal(labels, run.samples.labels)
    assert not torch.equal(model.sample(20, seed=6)[0], images)
    assert model.classes == tuple("0123456789") and model.certificate["epsilon"] == run.certificate["epsilon"]
    assert (
        json.loads((tmp_path / "model/architecture.json").read_text())["architecture"] == run.synthesiser.architecture
    )


def test_the_same_run_is_exported_to_the_same_bytes(finished, tmp_path):
    run = finished()
    for place in ("one", "two"):
        exports.export(run, tmp_path / place)
    assert [(tmp_path / "one" / n).read_bytes() for n in FILES] == [(tmp_path / "two" / n).read_bytes() for n in FILES]


def test_the_card_says_what_the_model_is_what_it_cost_and_how_good_it_is(finished, tmp_path, monkeypatch):
    run = finished("rpgen")
    weights = exports.export(run, tmp_path / run.params.run_name)
    card = (tmp_path / run.params.run_name / "card.md").read_text()
    certificate = json.loads((tmp_path / run.params.run_name / "certificate.json").read_text())
    assert certificate == json.loads(json.dumps(run.certificate))
    right, right_replace = (
        risk.right_guesses(run.plan.mechanisms, run.certificate["epsilon"], 1e-5, replace) for replace in (False, True)
    )
    assert 50 < float(right) < float(right_replace) < 100
    for line in (
        "# rpgen on mnist5k, epsilon 10",
        "**A reproduction, not a release: the coins follow from a published seed.**",
        "| method | `rpgen`, RPGen (AAAI 2026) |",
        "| private set | `mnist5k`, 4,000 records of 1x28x28 pixels, 10 labels |",
        "| public set | `glyphs` |",
        f"| epsilon | {run.certificate['epsilon']:.4f} of a budget of 10 |",
        f"| epsilon, replace one record | {run.certificate['also']['PLD, replace one record']:.4f} |",
        f"| an attacker's right guesses | at most {right} of 100 whether a given record was among them, if the noise "
        "were secret; by chance 50 |",
        f"| the same, replace one record | at most {right_replace} of 100 which of two records was among them, if the "
        "noise were secret |",
        "| delta | 1e-05 |",
        "| neighbours | add or remove one record |",
        "| accountant | PLD (dp-accounting), pessimistic |",
        "| seed | 5: of public randomness, and of the coins |",
        f"| weights' file | {len(weights.content):,} bytes |",
        "- `pretrain_steps`: 2",
        "- `amp_gamma`: 0.2",
        "| CA-CNN | 50.0 | 1.6 |",  # 100 sqrt(0.5 * 0.5 / 1000)
        "| FD-convnet | 3.25 | - |",
    ):
        assert f"\n{line}\n" in f"\n{card}", line
    assert "**Not private.** The coins follow from seed 5" in card and run.synthesiser.artifact.meta["commit"] in card
    assert "too small to mean anything" in card and "rounded" not in card and "MIT, as" in card
    monkeypatch.chdir(tmp_path)
    made = {}
    exec(re.search(r"```python\n(.*?)```", card, re.DOTALL)[1], made)
    assert made["images"].shape == (12, 1, 28, 28) and made["images"].dtype == torch.uint8


def test_the_licence_of_a_card_is_that_of_the_project():
    licence = (project.PACKAGE.parent / "LICENSE").read_text(encoding="utf-8")
    assert licence.startswith(f"{model_card.LICENCE} License\n")


def test_weights_that_are_too_large_are_rounded_and_the_card_says_what_that_changes(finished, tmp_path, monkeypatch):
    run = finished()
    exact = len(weight_files.weight_file(run.synthesiser, "run").content)
    monkeypatch.setattr(weight_files, "LIMIT", exact - 1)
    weights = exports.export(run, tmp_path)
    assert weights.dtype == "float16" and len(weights.content) < exact
    drawn = load_model(tmp_path).sample(20, seed=5)[0].double()
    assert 0 < (drawn - run.samples.images.double()).abs().mean() <= weight_files.TOLERANCE
    mean, largest = weights.change
    assert f"change by {mean:.3f} on average, {largest:g} at most" in (tmp_path / "card.md").read_text()
    monkeypatch.setattr(weight_files, "LIMIT", len(weights.content) - 1)
    with pytest.raises(ValueError, match=rf"take {exact:,} bytes, in float16 {len(weights.content):,}, and an export"):
        exports.export(run, tmp_path / "larger")
    assert not (tmp_path / "larger").exists()


def test_weights_that_rounding_would_spoil_are_not_rounded(monkeypatch):
    architecture = dict(network="generator", channels=1, size=8, n_labels=2, width=8)
    weights = networks.initial(architecture, 0).state_dict()
    weights["first.weight"] += 1e5  # float16 ends at 65,504
    monkeypatch.setattr(weight_files, "LIMIT", len(weight_files._npz(weights)) - 1)
    with pytest.raises(ValueError, match=r"the weights of spoilt take .* in float16 pixels change by .* of 255"):
        weight_files.weight_file(Synthesiser(weights, architecture), "spoilt")


@pytest.fixture
def own(tiny_root, tmp_path):
    """A finished run on a set of the user's own: 40 images in colour, three times as many red as blue."""
    draws = np.random.default_rng(0)
    for label, n in (("red", 30), ("blue", 10)):
        (tmp_path / "secret place/photos" / label).mkdir(parents=True)
        for i in range(n):
            pixels = draws.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "secret place/photos" / label / f"{i}.png")
    declared = dict(private=f"folder:{tmp_path}/secret place/photos", n_records=40, labels=("red", "blue"), size=16)
    declared |= dict(public=f"folder:{tmp_path}/secret place/others", inception=f"{tmp_path}/secret place/weights.pt")
    declared |= dict(noise="secret", releases=1000, delta=1e-3, epsilon=1e4, options={"prior": "noisy"})
    run = Run(Params(method="dpdm", **{**TINY, **declared, "sample_rate": 0.1}))
    _ = run.samples
    return run


def test_a_release_of_a_users_own_set_tells_neither_its_place_nor_its_times(own, tmp_path):
    folder = tmp_path / "model"
    exports.export(own, folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(files) == FILES and not any(b"secret place" in content for content in files.values())
    assert {path.stat().st_mtime for path in (folder, *folder.iterdir())} == {EARLIEST}
    card = files["card.md"].decode()
    assert "**A release: coins of the operating system, destroyed" in card and "Not private" not in card
    assert "| public set | `folder:others` |" in card and "- `inception`: weights.pt" in card
    assert "whose images the model learned from: it is not written here yet" in card and "MIT" not in card
    assert "`folder:photos`, 40 records of 3x16x16 pixels, 2 labels" in card and "Nothing: the records" in card
    assert json.loads(files["certificate.json"])["private"] == "folder:photos"
    model = load_model(folder)
    images, labels = model.sample(20, seed=5)
    assert torch.equal(images, own.samples.images) and torch.equal(labels, own.samples.labels)
    assert model.classes == ("red", "blue") and torch.equal(model.prior.counts, own.prior.counts)
    assert labels.bincount().tolist() != [10, 10]


def test_a_users_own_set_is_not_exported_unless_it_is_a_release(own, tmp_path, monkeypatch):
    seeded = Certificate(own.certificate | {"status": REPRODUCTION})
    monkeypatch.setattr(Run, "certificate", property(lambda run: seeded))
    with pytest.raises(ValueError, match=r"a set of your own, .* a reproduction, not a release: .* is not exported"):
        exports.export(own, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_non_private_twin_is_not_exported(finished, tmp_path):
    with pytest.raises(ValueError, match=r"is a non-private twin: .* it is not exported"):
        exports.export(finished(epsilon=math.inf), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_run_that_is_not_finished_is_refused_and_nothing_is_made(root, tmp_path, monkeypatch):
    run = Run(Params(method="dpdm", **TINY))
    monkeypatch.setattr(Run, "artifact", lambda run, kind: pytest.fail(f"made {kind}"))
    with pytest.raises(ValueError, match="is not finished: it has no base, synthesiser, samples, and export trains"):
        exports.export(run, tmp_path / "model")


def test_a_run_that_was_not_measured_is_not_finished(tiny_root, tmp_path):
    run = Run(Params(method="dpdm", **TINY | {"seed": 6}))
    _ = run.samples
    assert exports.unmade(run)[-1] == "measurement"
    _ = run.measurements
    assert exports.unmade(run) == []
