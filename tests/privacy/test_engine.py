"""Per-record gradients against two oracles: torch in float64 on one record at a time, and Opacus's hooks."""

import warnings
from collections import OrderedDict
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from opacus.grad_sample import GradSampleModule
from torch import nn
from torch.utils.checkpoint import checkpoint

from dpsynth.bench.library_layers import plain
from dpsynth.models import diffusion
from dpsynth.models.unet import UNet
from dpsynth.privacy import PerExample
from dpsynth.privacy.engine import MARGIN, Carried, clip
from dpsynth.privacy.engine.clip import Ghost
from dpsynth.privacy.engine.layers import RULES, _conv2d, _conv2d_shifted
from dpsynth.privacy.engine.norm import GroupNormSwish

DTYPES = (torch.float32, torch.bfloat16)

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
    "conv 3x3 with strides": (nn.Conv2d(2, 3, 3, stride=(3, 2), padding=(1, 0)), (2, 8, 7)),
    "group norm": (nn.GroupNorm(2, 4), (4, 3, 5)),
    "layer norm": (nn.LayerNorm(5), (7, 5)),
    "our norm": (GroupNormSwish(8), (8, 3, 5)),
    "our norm without swish": (GroupNormSwish(8, swish=False), (8, 3, 5)),
}
PAPERS = {"levels": [1, 2, 3], "blocks": 1, "attention": [4, 8]}  # a small network of the papers' kind
KERNELS = {"materialised": 1e9, "ghost": 0.0}  # what `GHOST_IF_BELOW` must be for either


@pytest.fixture(params=KERNELS)
def kernel(request, monkeypatch):
    monkeypatch.setattr("dpsynth.privacy.engine.model.GHOST_IF_BELOW", dict.fromkeys(DTYPES, KERNELS[request.param]))
    return request.param


@pytest.fixture(params=["hooks", "carriers"], autouse=True)
def watching(request, monkeypatch):
    """Each test holds of both engines: that of the CPU, and that of a GPU, which runs here without its compiler."""
    if request.param == "carriers":
        monkeypatch.setitem(globals(), "PerExample", partial(Carried, compiler=None))


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


@pytest.mark.parametrize("views", [1, 3, 8])
@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_agrees_with_a_float64_loop_over_records(name, views, kernel):
    torch.manual_seed(0)
    layer, shape = LAYERS[name]
    x = [torch.randn(4 * views, *shape)]
    for a, b in zip(ours(Squared(layer), x, 4), one_by_one(Squared(layer), x, 4), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_the_clipped_sum_of_each_layer_agrees_with_a_float64_loop(name, views, kernel):
    torch.manual_seed(0)
    layer, shape = LAYERS[name]
    model, x, bound = Squared(layer), [torch.randn(5 * views, *shape)], 0.7
    engine = PerExample(model)
    found = engine.clipped(lambda: engine(*x), 5, 4, bound)  # the fifth is padding
    engine.close()
    each = torch.cat([g.double().flatten(1) for g in one_by_one(model, x, 5)], dim=1)[:4]
    factors = (bound * MARGIN / each.norm(dim=1)).clamp(max=1)
    assert (factors < 1).any()
    torch.testing.assert_close(torch.cat([t.flatten() for t in found]), factors @ each, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("views", [1, 4])
def test_each_contribution_of_the_denoiser_stays_below_the_norm_in_float64(kernel, precision, views):
    model, x, label, draws = denoiser(precision, 6 * views)
    engine = PerExample(model)

    def losses():
        return 1e4 * diffusion.loss(engine, "edm", 3, x, label, draws(0))

    for first in range(6):  # one record at a time is counted; the others are its companions
        order = torch.cat([torch.arange(first * views, (first + 1) * views), torch.arange(6 * views)])[: 6 * views]
        norm = torch.cat([t.flatten() for t in engine.clipped(lambda o=order: losses()[o], 6, 1, 0.3)]).norm().item()
        assert 0.29 < norm <= 0.3
    engine.close()


@pytest.mark.parametrize("layer", [nn.Linear(64, 64, bias=False), nn.Conv2d(64, 64, 3, padding=1, bias=False)])
def test_a_gradient_that_cancels_is_bounded_all_the_same(kernel, layer):
    """What is left of a sum of large products that cancel is rounding: the norm must not be believed to be less."""
    torch.manual_seed(0)
    shape = (64,) if isinstance(layer, nn.Linear) else (64, 4, 4)
    a, g = torch.randn(1, 25, *shape), 1e3 * torch.randn(1, 25, *shape)
    a, g = torch.cat([a, a], 1), torch.cat([g, -g], 1)
    rule = RULES[type(layer)]
    part = Ghost(a, g, rule, layer)
    (total,) = clip([part if kernel == "ghost" else part.materialised()], 1e-6)
    assert total.norm().item() <= 1e-6
    left = (part if kernel == "ghost" else part.materialised()).weighted_sum(torch.ones(1))
    assert left.norm() > 1e-6  # so that the clip had to act


def test_a_gradient_that_nearly_cancels_is_bounded_all_the_same(kernel):
    """What float32 loses of a sum of large products that nearly cancel, the norm must not lose."""
    torch.manual_seed(0)
    layer = nn.Linear(64, 64, bias=False)
    a = torch.randn(1, 1, 64).repeat(1, 50, 1)
    g = torch.randn(1, 1, 64) * torch.tensor([1.0, -1.0]).repeat(25)[None, :, None] * 1e3
    g = g + 1e-3 * torch.randn(1, 50, 64)
    part = Ghost(a[:, None], g[:, None], RULES[nn.Linear], layer)
    (total,) = clip([part if kernel == "ghost" else part.materialised()], 0.5)
    assert total.norm().item() <= 0.5
    exact = (g.double().mT @ a.double())[0]
    assert exact.norm() > 0.5  # so that the clip had to act


@pytest.mark.parametrize("layer", [nn.Linear(7, 5, bias=False), nn.Conv2d(7, 5, (3, 2), padding=1, bias=False)])
def test_what_rounding_may_hide_is_counted_from_every_product(layer):
    torch.manual_seed(0)
    a = torch.randn(3, 2, 7) if isinstance(layer, nn.Linear) else torch.randn(3, 2, 7, 4, 4)
    with torch.no_grad():
        g = torch.randn_like(layer(a.flatten(0, 1))).unflatten(0, (3, 2))
    squares, reach, terms = RULES[type(layer)].products.squares(layer, a, g)
    if isinstance(layer, nn.Linear):
        patches, grads, inner = a, g, 2  # the products are added over positions, in float64
    else:
        patches = nn.functional.unfold(a.flatten(0, 1), (3, 2), padding=1).mT.unflatten(0, (3, 2)).flatten(1, 2)
        grads, inner = g.flatten(3).mT.flatten(1, 2), 7 + 3 * 2 + 5  # channels, the kernel's taps, channels
    assert terms == inner
    torch.testing.assert_close(reach, (patches.norm(dim=2) * grads.norm(dim=2)).sum(1).double())
    torch.testing.assert_close(squares, (grads.mT @ patches).double().square().sum((1, 2)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("views", "unet"), [(1, None), (3, None), (8, None), (1, PAPERS), (3, PAPERS)]
)  # fmt: skip
def test_the_whole_denoiser_agrees_with_a_float64_loop_in_ragged_micro_batches(kernel, views, unet):
    model, x, label, draws = denoiser(torch.float32, 5 * views, unet)
    engine = PerExample(model)
    found = engine.clipped(lambda: diffusion.loss(engine, "edm", 3, x, label, draws(0)) / views, 5, 3, 0.2)
    engine.close()
    model.double()
    expected = 0
    for r in range(3):
        rows = slice(r * views, (r + 1) * views)
        loss = diffusion.loss(model, "edm", 3, x.double(), label, draws(0, torch.float64))[rows].mean()
        g = torch.cat([p.flatten() for p in torch.autograd.grad(loss, list(model.parameters()))])
        expected = expected + g * min(1, 0.2 * MARGIN / g.norm().item())
    found = torch.cat([t.flatten() for t in found])
    if kernel == "ghost":  # errs towards smaller contributions, by what rounding may hide
        assert (found - expected).norm() < 0.01 * expected.norm() and found.norm() < expected.norm()
    else:
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_bfloat16_is_close_to_float32():
    found = []
    for precision in DTYPES:
        model, x, label, draws = denoiser(precision, 6)
        engine = PerExample(model)
        losses = partial(diffusion.loss, engine, "edm", 3, x, label, draws(0))
        parts = engine.clipped(losses, 6, 6, 0.2)
        found.append(torch.cat([t.flatten() for t in parts]))
    assert (found[0] - found[1]).norm() < 0.03 * found[0].norm()


def denoiser(precision, rows, unet=None):
    """A denoiser without zeros, images and labels for it, and repeatable draws."""
    torch.manual_seed(0)
    model = diffusion.Denoiser(1, 16, 3, 8, unet=unet)
    model.precision = precision
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)

    def draws(seed, dtype=torch.float32):
        public = diffusion.PublicDraws(torch.Generator().manual_seed(seed), rows)
        normal, uniform = lambda *s: public.normal(*s).to(dtype), lambda: public.uniform().to(dtype)
        return SimpleNamespace(normal=normal, uniform=uniform)

    return model, torch.randn(rows, 1, 16, 16), torch.arange(rows) % 3, draws


def test_where_opacus_is_wrong_about_padding_the_layer_is_refused_and_a_stale_norm_cannot_be():
    """Opacus takes any padding for zeros, and keeps a skipped layer's norm of the step before."""
    with pytest.raises(ValueError, match="conv"):
        PerExample(nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"))))

    class Skips(nn.Module):
        def __init__(self):
            super().__init__()
            self.always, self.sometimes = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)

        def forward(self, x, skip):
            return self.always(x if skip else self.sometimes(x)).sum(1)

    torch.manual_seed(0)
    model, x = Skips(), torch.randn(2, 3)
    engine = PerExample(model)
    engine.clipped(lambda: engine(100 * x, False), 2, 2, 1.0)
    always, sometimes = engine.clipped(lambda: engine(x, True), 2, 2, 1e3)
    torch.testing.assert_close(always, x.double().sum(0).expand(3, 3))  # not clipped: nothing of the step before counts
    assert not sometimes.any()


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 3)

    def forward(self, x):
        return self.map(torch.cat([x, 1 - x])).square().sum(1).view(2, -1).sum(0)


def test_a_network_that_does_not_keep_one_row_a_row_is_refused_by_name():
    engine, x = PerExample(Doubled()), torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"map worked on \[8\] rows, where the loss has 4: whose are they"):
        engine.gradients(lambda: engine(x), 4)


def test_a_weight_used_with_many_positions_and_with_few_gets_the_sum():
    torch.manual_seed(0)
    layer, many, few = nn.Linear(16, 16, bias=False), torch.randn(2, 30, 16), torch.randn(2, 16)
    engine = PerExample(layer)
    for order in (1, -1):
        uses = [lambda: engine(many).square().sum((1, 2)), lambda: engine(few).square().sum(1)][::order]
        (found,) = engine.gradients(lambda u=uses: u[0]() + u[1](), 2)
        for r in range(2):
            rows = torch.cat([many[r], few[r : r + 1]])
            torch.testing.assert_close(found[r], 2 * (rows @ layer.weight.T).T @ rows, rtol=1e-4, atol=1e-3)


def test_an_embedding_counts_each_use_of_an_entry():
    torch.manual_seed(0)
    model, x = Squared(nn.Embedding(5, 3)), [torch.tensor([0, 0, 4, 2, 1, 1])]
    for a, b in zip(ours(model, x, 3), one_by_one(model, x, 3), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 3, (5, 3)])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_a_gpus_way_with_several_views_is_the_processors(kernel_size, padding):
    torch.manual_seed(0)
    layer, a = nn.Conv2d(3, 4, kernel_size, padding=padding), torch.randn(6, 3, 7, 6)
    g = torch.randn_like(layer(a))
    for ours, theirs in zip(_conv2d_shifted(layer, a, g, 2), _conv2d(layer, a, g, 2), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


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
    opacus = GradSampleModule(plain(model), loss_reduction="sum")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        losses(opacus).sum().backward()
    for gradient, parameter in zip(found, opacus.parameters(), strict=True):
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


@pytest.mark.parametrize("kind", ["a network", "a tensor", "a network under watch"])
def test_a_loss_that_reaches_other_weights_is_refused_and_leaves_no_gradient_there(kind):
    """A teacher, a second discriminator, learned latents: their gradients would be exact sums over the records."""
    torch.manual_seed(0)
    network, other, x = nn.Linear(4, 3), nn.Linear(3, 2), torch.randn(6, 4)
    latents = torch.randn(6, 3, requires_grad=True)
    wrapped = PerExample(network)
    second = PerExample(other) if kind == "a network under watch" else other
    reach = {"a tensor": lambda h: h * latents}.get(kind, second)
    with pytest.raises(ValueError, match=r"reaches a tensor of shape .* would be exact|another watched network"):
        wrapped.clipped(lambda: reach(wrapped(x)).sum(1), 6, 6, 1.0)
    assert latents.grad is None and all(p.grad is None for p in (*network.parameters(), *other.parameters()))
    if kind == "a network":  # frozen it may stand in the loss
        other.requires_grad_(False)
        assert [g.shape for g in wrapped.clipped(lambda: other(wrapped(x)).sum(1), 6, 6, 1.0)] == [(3, 4), (3,)]


def test_a_network_behind_a_checkpoint_gets_no_gradient_either():
    """Reentrant checkpoints run their backward apart, where no graph shows what it reaches."""
    torch.manual_seed(0)
    network, other, x = nn.Linear(4, 3), nn.Linear(3, 2), torch.randn(6, 4)
    wrapped = PerExample(network)
    with pytest.raises(RuntimeError, match=r"inputs"):
        wrapped.clipped(lambda: checkpoint(other, wrapped(x), use_reentrant=True).sum(1), 6, 6, 1.0)
    assert all(parameter.grad is None for parameter in (*network.parameters(), *other.parameters()))
