"""Codes: shapes for any size, a public encoder that sees one image at a time, and a sampler that yields images."""

import pytest
import torch

from dpsynth import privacy
from dpsynth.models import latent, networks, samplers


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 16), (3, 32), (1, 20)])
def test_codes_have_a_quarter_of_the_padded_side_and_images_come_back_in_shape(channels, size):
    architecture = dict(network="latent_denoiser", channels=channels, size=size, n_labels=2, width=8)
    model = networks.build(architecture)
    x = torch.rand(3, channels, size, size) * 2 - 1
    code = model.encode(x)
    side = -(-size // 16) * 4
    assert code.shape == (3, latent.CODES, side, side) and model.decode(code).shape == x.shape
    drawn = samplers.sample(model, torch.tensor([0, 1]), seed=0)
    assert drawn.shape == (2, channels, size, size) and drawn.dtype == torch.uint8
    again = networks.rebuild(model.architecture, model.state_dict())
    assert torch.equal(samplers.sample(again, torch.tensor([0, 1]), seed=0), drawn) and not again.training


def test_a_code_does_not_depend_on_its_companions_and_the_encoder_does_not_learn():
    model = latent.LatentDenoiser(1, 28, 2, 8)
    x = torch.rand(4, 1, 28, 28) * 2 - 1
    torch.testing.assert_close(model.encode(x)[:1], model.encode(x[:1]))
    assert not any(p.requires_grad for p in model.autoencoder.parameters())
    wrapped = privacy.PerExample(model)
    assert len(wrapped.parameters) == sum(1 for _ in model.net.parameters())


def test_standardised_codes_have_the_deviation_that_the_denoiser_expects():
    model = latent.LatentDenoiser(1, 28, 2, 8)
    x = torch.rand(64, 1, 28, 28) * 2 - 1
    model.autoencoder.standardise(x)
    code = model.encode(x)
    torch.testing.assert_close(code.std((0, 2, 3)), torch.full((4,), latent.SIGMA_DATA), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(model.decode(code), model.autoencoder.decode(model.autoencoder.encode(x)))


def test_the_autoencoder_learns_what_it_is_shown():
    torch.manual_seed(0)
    model, draws = latent.Autoencoder(1, 16, 8), torch.Generator().manual_seed(0)
    x = (torch.rand(8, 1, 1, 1) * 2 - 1).expand(8, 1, 16, 16).contiguous()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = model.loss(x, draws)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
