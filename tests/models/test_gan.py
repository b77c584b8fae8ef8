"""GAN networks, populations and the renderer: shapes, seeds, and what DP-SGD needs of the discriminator."""

import pytest
import torch

from dpsynth import privacy
from dpsynth.data import glyphs
from dpsynth.models import gan, networks, samplers
from dpsynth.models.pixels import scaled
from dpsynth.models.population import Population
from dpsynth.models.renderer import Renderer


@pytest.mark.parametrize(("channels", "size", "width"), [(1, 28, 24), (3, 32, 16), (3, 64, 8), (3, 12, 8)])
def test_one_network_serves_every_size_that_four_divides(channels, size, width):
    model = networks.build({"network": "gan", "channels": channels, "size": size, "n_labels": 3, "width": width})
    images = samplers.sample(model, torch.tensor([0, 1, 2, 2]), seed=1)
    assert images.shape == (4, channels, size, size) and images.dtype == torch.uint8
    assert torch.equal(images, samplers.sample(model, torch.tensor([0, 1, 2, 2]), seed=1))
    assert (images != samplers.sample(model, torch.tensor([0, 1, 2, 2]), seed=2)).any()
    assert model.discriminator(scaled(images), torch.tensor([0, 1, 2, 2])).shape == (4,)
    privacy.PerExample(model.discriminator).close()  # each of its layers has an exact per-record gradient


def test_a_size_that_four_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="size=30 to be a multiple of 4"):
        gan.Generator(1, 30, 3, 8)


def test_the_label_reaches_both_networks():
    torch.manual_seed(0)
    model = gan.Gan(1, 12, 3, 8)
    torch.nn.init.normal_(model.discriminator.label.weight)  # zero at first
    z, x = gan.latents(1, torch.Generator().manual_seed(0)), torch.zeros(1, 1, 12, 12)
    assert not torch.allclose(model.generator(z, torch.tensor([0])), model.generator(z, torch.tensor([1])))
    assert not torch.allclose(model.discriminator(x, torch.tensor([0])), model.discriminator(x, torch.tensor([1])))


def test_hinge_losses_rest_beyond_the_margin():
    values = torch.tensor([-2.0, 0.0, 2.0])
    assert gan.hinge(values, True).tolist() == [3.0, 1.0, 0.0]
    assert gan.hinge(values, False).tolist() == [0.0, 1.0, 3.0]


def test_bounding_scales_down_the_maps_of_more_than_unit_norm_and_nothing_else():
    torch.manual_seed(0)
    judge = gan.Discriminator(1, 12, 3, 8)
    torch.nn.init.normal_(judge.label.weight, std=9)
    with torch.no_grad():
        judge.conv.weight.mul_(20)
        judge.value.weight.mul_(0.1)
    before = {name: w.clone() for name, w in judge.named_parameters()}
    gan.scale_to_unit_norm(judge)
    for name, w in judge.named_parameters():
        norm = torch.linalg.svdvals(before[name].flatten(1))[0] if w.ndim > 1 and name != "label.weight" else 0
        torch.testing.assert_close(w, before[name] / max(norm, 1.0), msg=name)
    assert torch.linalg.svdvals(judge.conv.weight.flatten(1))[0].item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(judge.value.weight, before["value.weight"])


def test_a_population_draws_each_image_of_a_label_before_any_again():
    model = Population(1, 4, 2, 3)
    model.images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 1, 4, 4).contiguous()
    labels = torch.tensor([1, 0, 1, 1, 1, 0])
    drawn = model.sample(labels, seed=0)[:, 0, 0, 0]
    assert sorted(drawn[labels == 1][:3].tolist()) == [3, 4, 5] and drawn[labels == 1][3] >= 3
    assert len(set(drawn[labels == 0].tolist())) == 2 and (drawn[labels == 0] < 3).all()
    stored = networks.rebuild(model.architecture, model.state_dict())
    assert torch.equal(stored.sample(labels, seed=0)[:, 0, 0, 0], drawn)


def test_the_renderer_varies_less_as_the_amplitude_falls():
    model = Renderer(1, 28)
    labels = torch.full((20,), glyphs.characters().index("5"))
    state = model.random(labels, seed=0)
    still = state["images"]
    assert torch.equal(still, model.sample(labels, seed=0))
    changes = [
        (model.vary(state, amplitude, seed=1)["images"].float() - still.float()).square().mean()
        for amplitude in (0.0, 0.1, 1.0)
    ]
    assert changes[0] == 0 < changes[1] < changes[2]
    assert Renderer(3, 16).sample(labels[:2], seed=0).shape == (2, 3, 16, 16)
