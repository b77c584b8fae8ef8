"""Per-record gradients against two oracles: torch on one record at a time, and Opacus's hooks."""

import warnings

import pytest
import torch
from opacus.grad_sample import GradSampleModule
from torch import nn

from dpsynth.models.unet import UNet
from dpsynth.privacy import PerExample

LAYERS = {
    "linear": (nn.Linear(5, 3), (5,)),
    "linear on tokens": (nn.Linear(5, 3), (7, 5)),
    "linear without bias": (nn.Linear(5, 3, bias=False), (5,)),
    "conv 3x3": (nn.Conv2d(2, 3, 3, padding=1), (2, 6, 5)),
    "conv 3x3 without padding": (nn.Conv2d(2, 3, 3), (2, 6, 5)),
    "conv 5x3 with uneven padding": (nn.Conv2d(2, 3, (5, 3), padding=(2, 0)), (2, 6, 5)),
    "conv 1x1": (nn.Conv2d(2, 3, 1), (2, 6, 5)),
    "conv 1x1 with padding": (nn.Conv2d(2, 3, 1, padding=1), (2, 6, 5)),
    "conv 3x3 with stride": (nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 6, 5)),
    "group norm": (nn.GroupNorm(2, 4), (4, 3, 5)),
}


class Squared(nn.Module):
    """A layer twice behind a non-linearity, so that gradients depend on the record."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return (self.layer(x).sin() ** 2).flatten(1).sum(1)


def ours(model, x, records):
    engine = PerExample(model)
    found = engine.gradients(lambda: engine(*x), records)
    engine.close()
    return found


def one_by_one(model, x, records):
    model.double()
    rows = len(x[0]) // records
    loop = []
    for r in range(records):
        part = [t[r * rows : (r + 1) * rows] for t in x]
        part = [t.double() if t.is_floating_point() else t for t in part]
        loop.append(torch.autograd.grad(model(*part).sum(), list(model.parameters())))
    model.float()
    return [torch.stack(gradients).float() for gradients in zip(*loop, strict=True)]


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_agrees_with_a_float64_loop_over_records(name, views):
    torch.manual_seed(0)
    layer, shape = LAYERS[name]
    x = [torch.randn(4 * views, *shape)]
    for a, b in zip(ours(Squared(layer), x, 4), one_by_one(Squared(layer), x, 4), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_an_embedding_counts_each_use_of_an_entry():
    torch.manual_seed(0)
    model, x = Squared(nn.Embedding(5, 3)), [torch.tensor([0, 0, 4, 2, 1, 1])]
    for a, b in zip(ours(model, x, 3), one_by_one(model, x, 3), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.map, self.idle = nn.Linear(3, 3), nn.Linear(2, 2)

    def forward(self, x):
        return self.map(self.map(x).tanh()).square().sum(1)


def test_a_layer_used_twice_gets_the_sum_and_one_not_used_gets_zero():
    torch.manual_seed(0)
    model, x = Twice(), torch.randn(4, 3)
    weight, bias, idle_weight, idle_bias = ours(model, [x], 4)
    oracle = Twice()
    oracle.load_state_dict(model.state_dict())
    for r in range(4):
        oracle.zero_grad()
        oracle(x[r : r + 1]).sum().backward()
        torch.testing.assert_close(weight[r], oracle.map.weight.grad, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(bias[r], oracle.map.bias.grad, rtol=1e-4, atol=1e-6)
    assert not idle_weight.any() and not idle_bias.any()


def test_frozen_parameters_get_none():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    model[0].weight.requires_grad_(False)
    engine = PerExample(model)
    assert [tuple(p.shape) for p in engine.parameters] == [(3,), (1, 3), (1,)]
    found = engine.gradients(lambda: engine(torch.randn(2, 3))[:, 0], 2)
    assert [tuple(g.shape) for g in found] == [(2, 3), (2, 1, 3), (2, 1)] and all(g.any() for g in found)
    engine.close()
    assert not model[0].weight.requires_grad and model[0].bias.requires_grad


def test_the_whole_network_agrees_with_opacus_and_leaves_no_plain_gradient():
    torch.manual_seed(0)
    model = UNet(1, 8, 3, 8)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    x, noise, label = torch.randn(6, 1, 8, 8), torch.rand(6), torch.arange(6) % 4

    def losses(network):
        return network(x, noise, label).square().flatten(1).sum(1)

    engine = PerExample(model)
    found = engine.gradients(lambda: losses(engine), 6)
    assert all(p.grad is None for p in model.parameters())
    engine.close()
    opacus = GradSampleModule(model, loss_reduction="sum")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        losses(opacus).sum().backward()
    for gradient, parameter in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad_sample, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 4, 3), nn.PReLU(), nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), nn.Conv2d(4, 4, 3, dilation=2),
        nn.Embedding(3, 4, max_norm=1.0), nn.BatchNorm2d(4, affine=False), nn.InstanceNorm2d(4), nn.Dropout(0.1),
    ],
)  # fmt: skip
def test_layers_without_a_proved_gradient_are_refused_by_name(layer):
    with pytest.raises(ValueError, match=rf"1 \({type(layer).__name__}\)"):
        PerExample(nn.Sequential(nn.Conv2d(1, 4, 3), layer))
