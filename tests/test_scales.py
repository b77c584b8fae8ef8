"""Scales `gpu` and `paper`, rehearsed: two steps of each network at its own size, on tiny sets of the right form; and
their dry runs, without any set."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
import torch

from dpsynth import plainyaml, scales
from dpsynth.data import layouts, originals, prepared, private_sets, public_sets
from dpsynth.methods import gans
from dpsynth.models import networks
from dpsynth.models.resnet import ResNet
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy import private
from dpsynth.project import PACKAGE
from dpsynth.report.networks import weights
from dpsynth.runner import reproduce
from dpsynth.stages import query, snapshots

FILES = {scale: plainyaml.read(PACKAGE.parent / f"params/scales/{scale}.yaml") for scale in ("gpu", "paper")}
CLASSES = 50  # of the tiny public sets: five for each of ten labels
TINY = dict(
    steps=2, n_records=64, sample_rate=0.05, pretrain_steps=2, pretrain_batch=4, encoder_steps=2, encoder_batch=4,
    n_synthetic=20, noise_multiplicity=2, delta=1e-3,
)  # fmt: skip
FEW = {"dpsda": dict(iterations=1, candidates=4, lookahead=1), "dp_mepf": dict(matching_steps=2)}  # of their own work
DRAWN = ("rpgen", "dpgan", "dpsda", "dp_mepf")  # one of each kind of network: drawing takes longer than two steps


def _prepare(name, n_images, classes, size):
    """What `dpsynth prepare` leaves, of noise."""
    place, n = prepared.folder(name), sum(n_images.values())
    place.mkdir(parents=True)
    draws = np.random.default_rng(size)
    np.save(place / "images.npy", draws.integers(0, 256, (n, 3, size, size), dtype=np.uint8))
    np.save(place / "labels.npy", np.arange(n) % len(classes))
    sha256 = {file: hashlib.sha256((place / file).read_bytes()).hexdigest() for file in prepared.ARRAYS}
    shapes = {"images.npy": (n, 3, size, size), "labels.npy": (n,)}
    described = dict(format=prepared.FORMAT, classes=classes, n_images=n_images, shapes=shapes, sha256=sha256)
    (place / "set.json").write_text(json.dumps(described | {"made_from": {"original": "noise"}}))


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """CIFAR-10, CelebA and the public sets of the scales, few images of each."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("root")
        patch.setenv("DPSYNTH_ROOT", str(root))
        patch.setenv("DPSYNTH_DATA", str(root / "data"))
        patch.setenv("DPSYNTH_MICROBATCH", "4")
        patch.setattr(private, "AT_ONCE", 8)
        patch.setattr(snapshots, "PER_LABEL", 1)
        patch.setattr(gans, "BATCH", 4)
        patch.setattr(gans, "SUB_BATCHES", (slice(0, 2), slice(2, 4)))
        for name, classes in (("cifar10", layouts.CIFAR10), ("celeba64", layouts.GENDERS)):
            _prepare(name, counts := {"train": 64, "test": 20}, classes, originals.ORIGINALS[name].size)
            for of, row in private_sets.PRIVATE.items():
                if row.prepared == name:
                    patch.setitem(private_sets.PRIVATE, of, dataclasses.replace(row, n_records=counts))
        for name in ("imagenet32", "imagenet64", "tiny_imagenet32", "tiny_imagenet64"):
            _prepare(name, {"train": 200}, [f"n{c:02}" for c in range(CLASSES)], originals.ORIGINALS[name].size)
            source = dataclasses.replace(public_sets.PUBLIC[name], n_classes=CLASSES)
            patch.setitem(public_sets.PUBLIC, name, source)
        yield root


def rehearse(scale, method, **changes):
    """All that a run makes but measurements, and its networks: of the query, and of what learned."""
    run = Run(Params.at(scale, method=method, **TINY, **changes))
    run.check()
    assert run.synthesiser.architecture["size"] == run.params.shape[1]
    if method in DRAWN:
        assert run.samples.images.shape == (20, *run.private.shape) and run.samples.images.dtype == torch.uint8
    assert 0 < run.certificate["epsilon"] <= 10
    return run


@pytest.mark.parametrize(
    ("scale", "method"), [(scale, method) for scale, file in FILES.items() for method in file["methods"]]
)
def test_each_method_of_a_scale_makes_two_steps_of_its_networks(sets, scale, method):
    few = FEW.get(method, {})
    run = rehearse(scale, method, **few)
    asked, own = scales.read(scale).common | scales.read(scale).of(method) | few, run.options.model_dump()
    assert all(own[name] == value for name, value in asked.items() if name in own and name != "unet")
    if run.row.encoder is query.train_classifier:
        assert run.encoder.network == asked["encoder_network"]
        assert isinstance(query.classifier(run.encoder, 3), ResNet)
    architecture = run.base.architecture
    if "width" in architecture:
        assert architecture["width"] == asked["width"]
    if scale == "paper":
        built = networks.build(architecture | {"n_labels": 10})
        if "unet" in own:
            assert type(built.net).__name__ == "DDPMpp"
            assert weights(built) == 1_754_499  # PrivImage's Table 5
        else:
            assert architecture["network"] == "biggan"
            assert f"{weights(built.generator) / 1e6:.2f} {weights(built.discriminator) / 1e6:.2f}" == "9.42 2.37"


def test_the_papers_network_for_celeba_at_64_pixels_makes_two_steps(sets):
    unet = {"levels": [1, 1, 2, 2], "attention": [8, 16]}
    run = rehearse("paper", "dpdm", private="celeba64", public="imagenet64", unet=unet)
    assert f"{weights(networks.build(run.base.architecture)) / 1e6:.2f}" == "2.00"


def test_a_dry_run_needs_no_set_and_says_memory_hours_and_the_commands_that_get_them(root, monkeypatch, capsys):
    for folder in ("params", "notebooks"):
        (root / folder).symlink_to(PACKAGE.parent / folder)
    monkeypatch.chdir(root)
    monkeypatch.setenv("DPSYNTH_DATA", str(root / "data"))
    given = ["--experiment", "rpgen/table1", "--scale", "paper", "--method", "pdp_diffusion", "--epsilon", "10"]
    assert reproduce.main([*given, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "dp_sgd x200 at noise multiplier" in said and "epsilon 9.99" in said
    (needs,) = [line for line in said.splitlines() if " GiB at most, for a step of the base; base " in line]
    assert " h, synthesiser " in needs and "; in all " in needs
    *_, first, second = said.splitlines()
    assert first.startswith("cifar10 is not prepared") and first.endswith("run: dpsynth prepare cifar10")
    assert second.startswith("imagenet32 is not prepared") and second.endswith("run: dpsynth prepare imagenet32")
    assert reproduce.main(given) == 2
    assert "cifar10 is not prepared" in capsys.readouterr().err
