"""Every method, from encoder to samples, with networks on a GPU: a pretended one, and one that is there."""

import os
from types import SimpleNamespace

import pretend
import pytest
import torch
import worlds

from dpsynth import device, privacy
from dpsynth.artifacts import Corpus
from dpsynth.methods import METHODS, gans
from dpsynth.metrics import classifiers, distances, extractors
from dpsynth.models import samplers
from dpsynth.pipeline import Run
from dpsynth.privacy import engine

THERE = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: run where there is one")
# Each method once, and the options whose tensors take other ways.
OTHERWISE = ("latent", "score", "unet", "noise_multiplicity", "moments")
CHOSEN = {next(name for name, (m, _) in zip(worlds.NAMES, worlds.CASES, strict=True) if m == of) for of in METHODS}
NAMES = [name for name in worlds.NAMES if name in CHOSEN or any(option in name for option in OTHERWISE)]
CASES = [worlds.CASES[worlds.NAMES.index(name)] for name in NAMES]


@pytest.fixture(params=["pretended", pytest.param("there", marks=THERE)])
def gpu(request, monkeypatch):
    if request.param == "there":
        monkeypatch.setenv("DPSYNTH_DEVICE", "cuda")
        for place in (device, engine.carriers.torch):  # to compile each network would take most of an hour
            name = "compiled" if place is device else "compile"
            monkeypatch.setattr(place, name, lambda function, **how: function)
        yield
    else:
        with pretend.gpu(monkeypatch):
            yield


@pytest.mark.parametrize(("method", "options"), CASES, ids=NAMES)
def test_every_stage_of_every_method_computes_on_a_gpu(tmp_path, rendered, monkeypatch, gpu, method, options):
    worlds.enter(tmp_path, worlds.more(0), rendered, monkeypatch)
    run = Run(worlds.parameters(method, options))
    images = run.samples.images
    assert images.dtype == torch.uint8 and len(images) == run.params.n_synthetic
    assert run.synthesiser.artifact.meta["device"] == "cuda"


def test_a_resnet_queries_on_a_gpu(tmp_path, rendered, monkeypatch, gpu):
    worlds.enter(tmp_path, worlds.more(0), rendered, monkeypatch)
    run = Run(worlds.parameters("rpgen", {"encoder_network": "resnet18", "encoder_batch": 4}))
    assert run.release.histogram.shape == (2, 1000) and run.encoder.network == "resnet18"


def test_biggan_learns_on_a_gpu(gpu):
    images = torch.randint(0, 256, (9, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    corpus, work = Corpus(images, torch.arange(9) % 3, 3, True, [], ""), SimpleNamespace(resume=lambda: None)
    settings = dict(shape=(3, 32), seed=0, width=8, gan_network="biggan", pretrain_steps=1, public_rate=1e-3)
    base = gans.train_gan(work, corpus, **settings, conditional=True)
    model = gans.ready(base, 3, 0)
    wrapped = privacy.per_example(model.discriminator)
    x, labels = device.put(images).float() / 128 - 1, device.put(corpus.labels)
    sums = wrapped.clipped(lambda: gans.losses(wrapped, True)(x, labels, None), 9, 9, 0.1)
    assert 0 < torch.cat([device.host(total).flatten() for total in sums]).norm() <= 0.9
    assert samplers.sample(model, corpus.labels, 0).shape == images.shape


def test_public_training_on_a_gpu_draws_what_the_processor_draws(tmp_path, rendered, monkeypatch):
    def trained(place):
        os.makedirs(place)
        worlds.enter(place, worlds.more(0), rendered, monkeypatch)
        monkeypatch.setattr("dpsynth.device.precision", lambda: torch.float32)
        return Run(worlds.parameters("rpgen", {})).base

    ours = trained(tmp_path / "processor")
    with pretend.gpu(monkeypatch):
        theirs = trained(tmp_path / "gpu")
    for name, weight in ours.weights.items():
        torch.testing.assert_close(theirs.weights[name], weight, rtol=1e-3, atol=1e-5)
    assert ours.history.keys() == theirs.history.keys()
    torch.testing.assert_close(torch.tensor(theirs.history["perturbed"]), torch.tensor(ours.history["perturbed"]))


def test_the_metrics_are_computed_on_a_gpu(gpu):
    draws = torch.Generator().manual_seed(0)
    sets = [torch.randint(0, 256, (40, 3, 16, 16), generator=draws, dtype=torch.uint8) for _ in range(2)]
    labels = torch.arange(40) % 3
    found = classifiers.accuracies(sets[0], labels, sets[1], labels, 3, seed=0)
    weights = extractors.train_convnet(*sets[:1], labels, 3, steps=2)
    found |= distances.between(*sets, extractors.convnet(weights))
    assert {"CA-LR", "CA-MLP", "CA-CNN", "CA-ResNet9", "FD-convnet", "recall"} <= found.keys()


def test_what_lies_on_two_devices_is_refused_by_the_pretence(monkeypatch):
    with pretend.gpu(monkeypatch):
        there, here = device.put(torch.ones(3)), torch.ones(3)
        assert there.is_cuda and not here.is_cuda and (there * 2).is_cuda and there[here.long()].is_cuda
        for mixed in (lambda: there + here, lambda: here[there.long()], lambda: (2 * there).numpy()):
            with pytest.raises((RuntimeError, TypeError)):
                mixed()
        assert device.host(there).numpy().tolist() == [1, 1, 1]
        assert torch.zeros(2, device=there.device).is_cuda
