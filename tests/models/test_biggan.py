"""The papers' GAN at 32 and 64 pixels: shapes, sizes, labels, and what DP-SGD needs of the discriminator."""

import pytest
import torch

from dpsynth import privacy
from dpsynth.models import biggan, gan, networks, samplers

LABELS = torch.tensor([0, 1, 2, 2])


def built(size, width=8, channels=3):
    torch.manual_seed(0)
    return networks.build({"network": "biggan", "channels": channels, "size": size, "n_labels": 3, "width": width})


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_draws_and_judges_images_of_its_two_sizes(channels, size):
    model = built(size, channels=channels)
    images = samplers.sample(model, LABELS, seed=1)
    assert images.shape == (4, channels, size, size) and images.dtype == torch.uint8 and images.float().std() > 10
    alone = networks.rebuild(model.generator.architecture, model.generator.state_dict())
    assert torch.equal(images, samplers.sample(alone, LABELS, seed=1))
    assert model.discriminator(torch.zeros(4, channels, size, size), LABELS).shape == (4,)


def test_another_size_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match=r"^gan_network: biggan draws images of 32 or 64 pixels, and these have 28"):
        built(28)


@pytest.mark.parametrize("size", [32, 64])
def test_label_and_every_part_of_the_latents_reach_the_image(size):
    model = built(size)
    model.generator.attention.gain.data.fill_(1.0)
    z, label = torch.randn(1, biggan.LATENT), torch.tensor([0])
    image = model.generator(z, label)
    for place in range(0, biggan.LATENT, model.generator.part):
        other = z.clone()
        other[:, place] += 1
        assert not torch.allclose(model.generator(other, label), image, atol=1e-5), place
    assert not torch.allclose(model.generator(z, label + 1), image, atol=1e-5)
    torch.nn.init.normal_(model.discriminator.label.weight)  # zero at first
    assert not torch.allclose(model.discriminator(image, label), model.discriminator(image, label + 1))


def test_no_record_sees_another_and_each_gradient_is_its_own():
    model = built(32).discriminator
    torch.nn.init.normal_(model.label.weight)
    x = torch.randn(4, 3, 32, 32)
    wrapped = privacy.PerExample(model)
    found = wrapped.gradients(lambda: gan.hinge(wrapped(x, LABELS) / 100, True), 4)
    wrapped.close()
    model.double()
    for row in range(4):
        loss = gan.hinge(model(x[row : row + 1].double(), LABELS[row : row + 1]) / 100, True).sum()
        for ours, exact in zip(found, torch.autograd.grad(loss, list(model.parameters())), strict=True):
            torch.testing.assert_close(ours[row], exact.float(), rtol=1e-3, atol=1e-5)


def test_attention_adds_nothing_at_first():
    torch.manual_seed(0)
    attention, x = biggan.Attention(16), torch.randn(2, 16, 8, 8)
    assert torch.equal(attention(x), x)
    attention.gain.data.fill_(1.0)
    assert attention(x).shape == x.shape and not torch.allclose(attention(x), x, atol=1e-3)


def test_the_norm_of_a_large_matrix_is_its_largest_singular_value():
    torch.manual_seed(0)
    for shape in ((130, 400), (400, 130), (20, 400)):
        matrix = torch.randn(shape)
        torch.testing.assert_close(gan.spectral_norm(matrix), torch.linalg.svdvals(matrix)[0], rtol=1e-5, atol=0)
