"""The query function's network: the small one as it was, or a ResNet that sees colour images moved."""

from types import SimpleNamespace

import pytest
import torch

from dpsynth.artifacts import Encoder
from dpsynth.models import resnet
from dpsynth.models.classifier import Classifier
from dpsynth.stages import query


def public(channels):
    images = torch.randint(0, 256, (24, channels, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return SimpleNamespace(images=images, labels=torch.arange(24) % 3, classes=("a", "b", "c"))


def trained(channels, network):
    work = SimpleNamespace(resume=lambda: None)
    settings = dict(seed=0, encoder_steps=2, encoder_batch=4, encoder_rate=1e-3, encoder_network=network)
    return query.train_classifier(work, public(channels), **settings)


def test_an_encoder_says_which_network_it_is_and_one_from_before_is_the_small_one():
    made = trained(3, "resnet18")
    model = query.classifier(made, 3)
    assert made.network == "resnet18" and isinstance(model, resnet.ResNet) and not model.training
    assert not any(p.requires_grad for p in model.parameters())
    before = Encoder(Classifier(1, 3).state_dict(), ["a", "b", "c"], 0.5)
    assert isinstance(query.classifier(before, 1), Classifier)


@pytest.mark.parametrize(
    ("channels", "network", "times"), [(3, "resnet18", 2), (1, "resnet18", 0), (3, None, 0), (1, None, 0)]
)
def test_a_resnet_sees_colour_images_moved_by_public_draws_and_nothing_else_is(monkeypatch, channels, network, times):
    seen = []
    monkeypatch.setattr(query, "augmented", lambda x, draws: seen.append(resnet.augmented(x, draws)) or seen[-1])
    one = trained(channels, network)
    assert len(seen) == times and all(x.shape == (4, 3, 8, 8) for x in seen)
    other = trained(channels, network)
    assert all(torch.equal(w, other.weights[name]) for name, w in one.weights.items())
    assert all(torch.equal(a, b) for a, b in zip(seen[:times], seen[times:], strict=True))


@pytest.mark.parametrize(("channels", "network"), [(1, None), (3, "resnet18")])
def test_the_watched_training_is_the_encoders_own(channels, network):
    work, settings = SimpleNamespace(resume=lambda: None), dict(seed=0, encoder_batch=4, encoder_rate=1e-2)
    told = query.accuracy_along(work, public(channels), **settings, encoder_steps=24, encoder_network=network)
    made = query.train_classifier(work, public(channels), **settings, encoder_steps=24, encoder_network=network)
    assert set(told.curves) == {"accuracy-held-out", "accuracy-training"}
    held_out = told.curves["accuracy-held-out"]
    assert held_out[:, 0].tolist() == list(range(2, 25, 2)) and held_out[-1, 1].item() == pytest.approx(
        100 * made.accuracy
    )
    assert ((told.curves["accuracy-training"][:, 1] >= 0) & (told.curves["accuracy-training"][:, 1] <= 100)).all()
