"""Adapters: nothing changes until they learn, their per-record gradients are exact, and merging keeps the function."""

import pytest
import torch

from dpsynth import device, privacy
from dpsynth.models import diffusion, lora, trainable


@pytest.fixture
def denoiser():
    torch.manual_seed(0)
    model = diffusion.Denoiser(1, 8, 3, 8, attention="every")
    model.precision = torch.float32
    for parameter in model.parameters():  # zero-initialised layers would hide what lies before them
        parameter.data += 0.05 * torch.randn_like(parameter)
    return device.placed(model)


@pytest.fixture
def batch():
    draws = torch.Generator().manual_seed(1)
    return torch.randn(4, 1, 8, 8, generator=draws), torch.rand(4, generator=draws) + 0.1, torch.tensor([0, 1, 2, 3])


def test_candidates_are_the_matrices_and_with_convolutions_the_kernels(denoiser):
    maps, every = (lora.candidates(denoiser, convolutions) for convolutions in (False, True))
    assert len(maps) == 12 and {"net.time.0", "net.attention_up.qkv", "net.down.shift"} < set(maps) < set(every)
    assert len(every) == 12 + 12 and "net.head" in every and "net.label" not in every
    trainable.restrict(denoiser, "light")
    assert "net.down.shift" not in lora.candidates(denoiser, True)


@pytest.mark.parametrize("convolutions", [False, True])
def test_an_adapter_changes_nothing_until_it_learns_and_nothing_when_it_is_merged(denoiser, batch, convolutions):
    names, before = lora.candidates(denoiser, convolutions), denoiser(*batch)
    keys = list(denoiser.state_dict())
    lora.adapt(denoiser, names, seed=0)
    assert torch.equal(denoiser(*batch), before)
    learn = [name for name, p in denoiser.named_parameters() if p.requires_grad]
    assert len(learn) == 2 * len(names) and all(".inward." in name or ".outward." in name for name in learn)
    for parameter in denoiser.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    adapted = denoiser(*batch)
    assert not torch.allclose(adapted, before, atol=1e-2)
    lora.merge(denoiser)
    assert list(denoiser.state_dict()) == keys
    torch.testing.assert_close(denoiser(*batch), adapted, rtol=1e-4, atol=1e-5)


def test_adapters_depend_on_the_seed_alone(denoiser):
    twin = diffusion.Denoiser(1, 8, 3, 8, attention="every")
    for model in (denoiser, twin):
        torch.rand(1)
        lora.adapt(model, ["net.time.0"], seed=5)
    assert torch.equal(denoiser.net.time[0].inward.weight, twin.net.time[0].inward.weight)


def test_gradients_of_adapters_are_those_of_a_loop_over_records(denoiser, batch):
    lora.adapt(denoiser, lora.candidates(denoiser, True), seed=0)
    for parameter in denoiser.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    parameters = [p for p in denoiser.parameters() if p.requires_grad]
    x, sigma, label = batch
    expected = [
        torch.autograd.grad(denoiser(x[i : i + 1], sigma[i : i + 1], label[i : i + 1]).square().sum(), parameters)
        for i in range(4)
    ]
    wrapped = privacy.PerExample(denoiser)
    found = wrapped.gradients(lambda: wrapped(*batch).square().sum((1, 2, 3)), 4)
    for place, gradient in enumerate(found):
        for record in range(4):
            torch.testing.assert_close(gradient[record], expected[record][place], rtol=1e-3, atol=1e-4)


def test_the_light_form_is_a_part_of_the_network(denoiser):
    every = trainable.by_part(denoiser)
    trainable.restrict(denoiser, "light")
    light = trainable.by_part(denoiser)
    assert all(learn == n for learn, n in every.values())
    assert {part for part, (learn, _) in light.items() if learn} == {
        "time", "label", "stem", "attention", "attention_down", "attention_up",
    }  # fmt: skip
    assert {part: n for part, (_, n) in light.items()} == {part: n for part, (_, n) in every.items()}
