"""Denoiser, loss and sampler against what can be computed by hand."""

import math

import pytest
import torch
from torch import nn

from dpsynth.models import diffusion, samplers, training
from dpsynth.models.unet import UNet


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = diffusion.Denoiser(1, 8, 3, 8)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def test_a_fresh_denoiser_is_the_skip_of_the_preconditioning():
    model = diffusion.Denoiser(1, 8, 3, 8)  # its last layer is zero, so F = 0
    x, sigma = torch.randn(4, 1, 8, 8), torch.tensor([0.01, 0.5, 1.0, 80.0])
    share = (1 / 3) / (sigma**2 + 1 / 3)
    torch.testing.assert_close(model(x, sigma, torch.zeros(4, dtype=torch.int64)), x * share[:, None, None, None])


@pytest.mark.parametrize(("shape", "labels"), [((1, 28), 10), ((3, 32), 1), ((3, 64), 2)])
def test_the_network_keeps_the_shape_for_grey_colour_and_larger_images(shape, labels):
    net = UNet(*shape, labels, 8)
    x = torch.randn(2, shape[0], shape[1], shape[1])
    assert net(x, torch.zeros(2), torch.full((2,), labels)).shape == x.shape


def test_a_side_that_cannot_be_halved_twice_is_refused():
    with pytest.raises(ValueError, match="size=30 to be a multiple of 4"):
        UNet(1, 30, 10, 8)


def test_no_record_sees_another(model):
    x, sigma, label = torch.randn(5, 1, 8, 8), torch.rand(5) + 0.1, torch.tensor([0, 1, 2, 3, 0])
    together = model(x, sigma, label)
    alone = torch.cat([model(x[i : i + 1], sigma[i : i + 1], label[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_noise_level_and_label_matter(model):
    x = torch.randn(1, 1, 8, 8)
    outputs = [model(x, torch.tensor([s]), torch.tensor([y])) for s, y in ((0.5, 0), (0.6, 0), (0.5, 1))]
    assert not torch.allclose(outputs[0], outputs[2], atol=1e-4)
    assert not torch.allclose(outputs[0] - x * 0.5714, outputs[1] - x * 0.5714, atol=1e-4)


@pytest.mark.parametrize(("prediction", "mean", "deviation"), [("edm", 0.0, 1.4), ("edm_published", -1.2, 1.2)])
def test_the_edm_loss_is_a_unit_weight_regression_on_f(model, prediction, mean, deviation):
    x, label = torch.randn(6, 1, 8, 8), torch.zeros(6, dtype=torch.int64)

    class Fixed:
        def normal(self, *shape):
            return torch.randn(6, *shape, generator=torch.Generator().manual_seed(len(shape)))

        def uniform(self):
            return torch.ones(6)  # no label is dropped

    loss = diffusion.loss(model, prediction, 3, x, label, Fixed())
    noise, sigma = Fixed().normal(1, 8, 8), (mean + deviation * Fixed().normal()).exp()
    s, sd = sigma[:, None, None, None], diffusion.SIGMA_DATA
    f = model.net((x + s * noise) / (s**2 + sd**2).sqrt(), sigma.log() / 4, label)
    target = (x - (x + s * noise) * sd**2 / (s**2 + sd**2)) * (s**2 + sd**2).sqrt() / (s * sd)
    torch.testing.assert_close(loss, (f - target).square().mean((1, 2, 3)), rtol=1e-3, atol=1e-4)


def test_ddpm_predicts_epsilon_with_unit_weight():
    torch.manual_seed(0)
    model = diffusion.Denoiser(1, 8, 3, 8, prediction="ddpm")  # F = 0, so the error is epsilon itself
    draws = diffusion.PublicDraws(torch.Generator().manual_seed(0), 2000)
    loss = diffusion.loss(model, "ddpm", 3, torch.zeros(2000, 1, 8, 8), torch.zeros(2000, dtype=torch.int64), draws)
    assert loss.mean().item() == pytest.approx(1.0, abs=4 * math.sqrt(2 / (64 * 2000)))


def test_labels_are_dropped_at_the_declared_rate():
    seen = []

    def spy(x, sigma, label):
        seen.append(label)
        return x

    draws = diffusion.PublicDraws(torch.Generator().manual_seed(0), 5000)
    diffusion.loss(spy, "edm", 7, torch.zeros(5000, 1, 2, 2), torch.zeros(5000, dtype=torch.int64), draws)
    assert (seen[0] == 7).float().mean().item() == pytest.approx(0.1, abs=0.02)


def test_noise_levels_are_the_papers():
    levels = samplers.noise_levels(18)
    assert len(levels) == 19 and levels[-1] == 0
    assert levels[0].item() == pytest.approx(80, rel=1e-5) and levels[-2].item() == pytest.approx(0.002, rel=1e-4)
    assert (levels.diff() < 0).all()
    assert levels[9].item() == pytest.approx(
        (80 ** (1 / 7) + 9 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7, rel=1e-4
    )


class Gaussian(nn.Module):
    """The best denoiser of data N(0.2, 0.3^2) a pixel: it is linear, and its ODE has a solution on paper."""

    def __init__(self):
        super().__init__()
        self.net = type("Net", (), {"shape": (1, 16, 16)})()

    def forward(self, x, sigma, label):
        s = sigma[:, None, None, None] ** 2
        return (0.09 * x + 0.2 * s) / (0.09 + s)


@pytest.mark.parametrize(("solver", "order"), [(samplers.ddim, 1), (samplers.heun, 2), (samplers.dpm_solver, 2)])
def test_each_solver_converges_to_the_solution_at_its_order(solver, order):
    labels = torch.zeros(8, dtype=torch.int64)
    start = 80 * torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    solution = 0.2 + (start - 0.2) * 0.3 / (0.09 + 80**2) ** 0.5
    errors = []
    for n_steps in (20, 40):
        *_, x = samplers.trajectory(Gaussian(), labels, 0, solver, n_steps)
        errors.append((x - solution).norm().item())
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.35)
    *_, x = samplers.trajectory(Gaussian(), labels, 0, solver, 400)
    torch.testing.assert_close(x, solution, atol=0.01, rtol=0)


def test_samples_are_bytes_and_follow_their_seed(model):
    labels = torch.arange(5) % 3
    a, b, c = (samplers.denoised(model, labels, seed, n_steps=3) for seed in (0, 0, 1))
    assert a.dtype == torch.uint8 and a.shape == (5, 1, 8, 8)
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_the_average_warms_up_and_can_be_resumed():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = training.Average(model, 0.9)
    model.weight.data.fill_(1.0)
    average.update(model)
    assert average.weights["weight"].item() == pytest.approx(0.9)  # decay 1/10
    other = training.Average(model, 0.9)
    other.load_state_dict(average.state_dict())
    other.update(model)
    assert other.weights["weight"].item() == pytest.approx(0.9 + 0.1 * (1 - 2 / 11))
