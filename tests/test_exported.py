"""Exported models: what is loaded is what the card lists, and whatever is not is refused in a sentence."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from dpsynth import device, exported, load_model, project
from dpsynth.methods import METHODS
from dpsynth.models import networks, samplers
from dpsynth.report import results
from dpsynth.seeds import seed_of

MODELS = sorted((results.COMMITTED / "models").iterdir())
ARCHITECTURE = dict(network="generator", channels=1, size=8, n_labels=3, width=8)


def written(folder, learned=ARCHITECTURE, **changes):
    """A model as an export writes it, the description changed by `changes`."""
    weights = networks.initial(learned, seed=1).state_dict()
    described = {"format": 1, "architecture": learned, "classes": ["a", "b", "c"], "prior": None} | changes
    certificate = {"private": "toy", "epsilon": 1.5, "delta": 1e-5, "accountant": "PLD", "adjacency": "add or remove"}
    folder.mkdir()
    np.savez_compressed(folder / "weights.npz", **{name: device.host(w).numpy() for name, w in weights.items()})
    (folder / "architecture.json").write_text(json.dumps(described))
    (folder / "certificate.json").write_text(json.dumps(certificate | {"status": "a reproduction"}))
    lines = [f"{exported.sha256((folder / name).read_bytes())}  {name}" for name in exported.LISTED]
    (folder / "card.md").write_text("# A model\n\n```\n" + "\n".join(lines) + "\n```\n")
    return folder


def test_a_model_speaks_its_labels_and_has_its_certificate(tmp_path):
    model = load_model(str(written(tmp_path / "model")))
    images, labels = model.sample(7, seed=2)
    assert images.shape == (7, 1, 8, 8) and images.dtype == torch.uint8 and labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    network = networks.initial(ARCHITECTURE, seed=1)
    assert torch.equal(images, samplers.sample(network, labels, seed_of(2, "sample")))
    for given in ([2, 2, 0], torch.tensor([2, 2, 0], dtype=torch.int32)):
        chosen, labels = model.sample(given, seed=3)
        assert labels.tolist() == [2, 2, 0] and torch.equal(
            chosen, samplers.sample(network, labels, seed_of(3, "sample"))
        )
    assert model.certificate["epsilon"] == 1.5 and "toy: epsilon 1.5 at delta 1e-05" in str(model.certificate)
    assert "weight" not in repr(model)


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_committed_model_is_whole_and_draws(folder):
    model = load_model(folder)  # which holds each file to the digest on the card
    images, labels = model.sample(3, seed=0)
    assert images.shape == (3, 1, 28, 28) and images.float().std() > 10 and labels.tolist() == [0, 1, 2]
    assert model.certificate["epsilon"] <= 10 and "a reproduction" in model.certificate["status"]


def test_each_method_of_the_table_has_a_committed_model():
    assert {folder.name.split("-")[2] for folder in MODELS} == {*METHODS}


@pytest.mark.parametrize(
    "architecture",
    [
        dict(network="denoiser", channels=1, size=8, n_labels=3, width=8),
        dict(network="latent_denoiser", channels=3, size=16, n_labels=3, width=8),
        dict(network="biggan_generator", channels=3, size=32, n_labels=3, width=8),
        dict(network="population", channels=3, size=8, n_labels=3, each=2),
    ],
    ids=lambda architecture: architecture["network"],
)
def test_every_network_that_a_synthesiser_may_be_is_loaded(tmp_path, architecture):
    images, labels = load_model(written(tmp_path / "model", architecture)).sample(4, seed=2)
    network = networks.initial(architecture, seed=1)
    assert images.shape == (4, architecture["channels"], architecture["size"], architecture["size"])
    assert torch.equal(images, samplers.sample(network, labels, seed_of(2, "sample")))


def test_with_a_released_prior_samples_follow_it(tmp_path):
    model = load_model(written(tmp_path / "model", prior=[30, -2, 10]))
    assert model.sample(8, seed=0)[1].bincount(minlength=3).tolist() == [6, 0, 2]


@pytest.mark.parametrize("labels", [0, -1, [], [[0]], [0.5]])
def test_what_is_no_list_of_labels_is_refused(tmp_path, labels):
    with pytest.raises(ValueError, match=r"labels=.*: expected a number of images above 0, or a list of whole numbers"):
        load_model(written(tmp_path / "model")).sample(labels, seed=0)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 2]])
def test_labels_that_a_model_does_not_speak_are_refused(tmp_path, labels):
    with pytest.raises(ValueError, match=r"labels from -?\d to \d: this model has 0 to 2"):
        load_model(written(tmp_path / "model")).sample(labels, seed=0)


@pytest.mark.parametrize("name", [exported.CARD, *exported.LISTED])
def test_a_file_that_is_missing_is_named(tmp_path, name):
    (written(tmp_path / "model") / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"model is no whole model: it has no {name}; get the whole folder"):
        load_model(tmp_path / "model")


def test_a_folder_that_is_none_is_said_to_be_none(tmp_path):
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        with pytest.raises(FileNotFoundError, match=rf"{name} is no whole model: it has no card\.md"):
            load_model(tmp_path / name)


@pytest.mark.parametrize("name", exported.LISTED)
def test_a_file_that_was_altered_is_named(tmp_path, name):
    path = written(tmp_path / "model") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"altered, or of another model: {name}, by the SHA-256 in card\.md; get"):
        load_model(tmp_path / "model")


def test_a_card_without_digests_is_refused(tmp_path):
    folder = written(tmp_path / "model")
    lines = (folder / "card.md").read_text().splitlines()
    (folder / "card.md").write_text("\n".join(line for line in lines if "weights.npz" not in line))
    with pytest.raises(ValueError, match=r"card\.md was altered: it lists no SHA-256 of weights\.npz; get"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 2}, r"is a model of format 2, this version of dpsynth reads 1: install the version that its card"),
        ({"architecture": ARCHITECTURE | {"network": "mamba"}}, r"cannot build .* \(no network 'mamba'; there are den"),
        (
            {"architecture": ARCHITECTURE | {"heads": 4}},
            r"cannot build .*unexpected keyword argument 'heads'\): install",
        ),
        ({"architecture": {}}, r"cannot build .*'network'"),
        ({"classes": ["a"]}, r"cannot build .*1 names for 3 labels"),
        ({"prior": [1, 2]}, r"cannot build"),
        ({"prior": [1, float("nan"), 2]}, r"cannot build"),
        ({"prior": [1, 2**70, 2]}, r"cannot build"),
        (
            {"architecture": ARCHITECTURE | {"width": 16}},
            r"cannot build the model's network \(Error.* install the version",
        ),
    ],
)
def test_a_model_that_this_version_does_not_know_is_refused_in_a_sentence(tmp_path, changes, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        load_model(written(tmp_path / "model", **changes))
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("not a number", "values that are not finite"), ("an array alone", "cannot build"), ("text", "cannot build"),
        ("too large", "bytes of weights, where at most 1,000 are read"),
    ],
)  # fmt: skip
def test_weights_that_are_none_are_refused(tmp_path, monkeypatch, content, sentence):
    folder = written(tmp_path / "model")
    path = folder / "weights.npz"
    before = exported.sha256(path.read_bytes())
    with np.load(path) as arrays:
        weights = dict(arrays)
    if content == "not a number":
        name = next(iter(weights))
        np.savez(path, **weights | {name: np.full_like(weights[name], np.nan)})
    elif content == "an array alone":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    elif content == "text":
        path.write_text("no archive")
    else:
        monkeypatch.setattr(exported, "LARGEST", 1000)
    card = folder / "card.md"
    card.write_text(card.read_text().replace(before, exported.sha256(path.read_bytes())))
    with pytest.raises(ValueError, match=sentence) as error:
        load_model(folder)
    assert "pickle" not in str(error.value)


def test_no_project_is_needed(tmp_path):
    written(tmp_path / "model")
    program = "import dpsynth; print(dpsynth.load_model('model').sample(2, seed=0)[0].shape)"
    code = f"import sys; sys.path.insert(0, {str(project.PACKAGE.parent)!r}); {program}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["torch.Size([2,", "1,", "8,", "8])"], done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
