"""What is special to the engine of a GPU: its draws, its shapes, its compiler; the rest is tested with the hooks'."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from dpsynth.models import diffusion
from dpsynth.privacy import Coins, Gradients, engine
from dpsynth.privacy.engine.clip import Materialised, clip, clip_at_once, rounded_down
from dpsynth.privacy.engine.philox import DeviceDraws, philox

COINS = Coins(bytes(range(32)))
# Of Random123's published vectors (Salmon et al. 2011): counter, key, answer.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_published_vectors(counter, key, answer):
    counter, key, answer = ([torch.tensor(int(word, 16)) for word in words.split()] for words in (counter, key, answer))
    assert philox(tuple(counter), tuple(key)) == answer


def draws(records, views=3, step=5, key=(123, 456)):
    return DeviceDraws(torch.tensor(key), torch.tensor(step), torch.tensor(records), views)


def test_a_draw_depends_on_its_own_address_alone():
    many, alone = draws([7, 3, 11]), draws([3])
    for _ in range(2):
        assert torch.equal(many.normal(2, 5).view(3, 3, 2, 5)[1], alone.normal(2, 5))
        assert torch.equal(many.uniform().view(3, 3)[1], alone.uniform())
    usual = draws([3]).normal(4)
    first = draws([3])
    first.normal(4)
    assert not torch.isin(first.normal(4), usual).any()  # another call of the same loss
    for other in (draws([4]), draws([3], step=6), draws([3], key=(123, 457)), draws([3], key=(124, 456))):
        assert not torch.isin(other.normal(4), usual).any()


def test_draws_are_standard_normals_and_uniforms():
    normal, uniform = draws(list(range(400)), 5).normal(7, 11).flatten(), draws(list(range(4000)), 5).uniform()
    assert stats.kstest(normal.numpy(), "norm").pvalue > 1e-3 and normal.isfinite().all()
    assert stats.kstest(uniform.numpy(), "uniform").pvalue > 1e-3 and (uniform < 1).all() and (uniform >= 0).all()
    assert len(normal.unique()) > 0.99 * len(normal)


def test_factors_in_bfloat16_never_rise():
    factors = torch.rand(10_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    down = rounded_down(factors)
    assert down.dtype == torch.bfloat16 and (down.double() <= factors * (1 + 2**-23)).all()
    assert (down.double() >= factors * (1 - 2**-7)).all()
    assert rounded_down(torch.tensor([0.0, 1.0])).tolist() == [0.0, 1.0]


def test_padding_is_not_summed_and_what_is_not_finite_is_told():
    block = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(0))
    parts = [Materialised([block])]
    sums, finite = clip_at_once(parts, 4, 0.5)
    assert finite and torch.allclose(sums[0], clip([parts[0].select(slice(4))], 0.5)[0])
    block[2, 0, 0] = float("nan")
    assert not clip_at_once(parts, 4, 0.5)[1]


@pytest.fixture
def denoiser():
    torch.manual_seed(0)
    model = diffusion.Denoiser(1, 8, 3, 8)
    model.precision = torch.float32
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def of_step(model, compiler, images, labels, records, mechanism, microbatch=8):
    watched = engine.Carried(model, compiler)
    loss = engine.Rescaled(partial(diffusion.loss, watched, "edm", 3))
    sums = engine.clipped_sum(watched, loss, images, labels, records, mechanism, COINS, 1, microbatch)
    watched.close()
    return torch.cat([total.flatten() for total in sums])


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # of torch 2.9, to itself
def test_the_compiled_step_is_the_step(denoiser):
    images = torch.randint(0, 256, (9, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    given = images, torch.arange(9) % 3, [0, 2, 3, 5, 8], Gradients("dp_sgd", 0.5, 3, 1.0, 0.1, 2, 5.0)
    compiled, plain = of_step(denoiser, "aot_eager", *given), of_step(denoiser, None, *given)
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-7)
    assert plain.norm() > 0.1
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


class Breaking(nn.Module):
    """A map whose gradient is not finite where a record says so."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(4, 2)

    def forward(self, x):
        return self.map(x.flatten(1)).sum(1)


def test_a_record_that_is_not_finite_is_left_out_of_its_micro_batch_and_no_other():
    torch.manual_seed(0)
    images = torch.randint(1, 256, (7, 1, 2, 2), dtype=torch.uint8)
    images[3] = 0
    watched = engine.Carried(Breaking(), None)

    def loss(x, labels, draws):
        return watched(x) / x.flatten(1).square().sum(1)  # 0 / 0 of a black record

    def summed(records):
        mechanism = Gradients("dp_sgd", 0.5, 3, 1.0, 1e-3, 1, 5.0)
        sums = engine.clipped_sum(watched, loss, images.float(), torch.zeros(7).long(), records, mechanism, COINS, 0, 2)
        return torch.cat([total.flatten() for total in sums])

    everyone = summed([0, 1, 2, 3, 4, 5, 6])
    assert everyone.isfinite().all() and everyone.norm() > 1e-3
    torch.testing.assert_close(everyone, summed([0, 1, 2, 4, 5, 6]))


def test_the_second_look_is_through_the_compiled_functions_of_the_first(denoiser):
    """Else the companions of a record that is left out would be computed otherwise because of it."""
    watched, asked = engine.Carried(denoiser, None), []
    forward = watched._forward
    watched._forward = lambda *given: asked.append(1) or forward(*given)
    images, mechanism = torch.zeros(6, 1, 8, 8, dtype=torch.uint8), Gradients("dp_sgd", 0.5, 3, 1.0, 0.1, 1, 5.0)
    loss = partial(diffusion.loss, watched, "edm", 3)

    def broken(x, labels, draws):
        return loss(x, labels, draws) * torch.where(labels == 2, float("nan"), 1.0)

    def summed(records):
        labels = torch.tensor([0, 1, 2, 0, 1, 0])
        sums = engine.clipped_sum(watched, engine.Rescaled(broken), images, labels, records, mechanism, COINS, 1, 6)
        return torch.cat([total.flatten() for total in sums])

    torch.testing.assert_close(summed([0, 1, 2, 3, 4, 5]), summed([0, 1, 3, 4, 5]), rtol=1e-5, atol=1e-7)
    assert len(asked) == 3  # a micro-batch twice, the other once


@pytest.mark.parametrize("compiler", [None, "eager"])
def test_no_layer_keeps_what_it_saw_after_the_step(denoiser, compiler):
    watched = engine.Carried(denoiser, compiler)
    loss, mechanism = partial(diffusion.loss, watched, "edm", 3), Gradients("dp_sgd", 0.5, 3, 1.0, 0.1, 1, 5.0)
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    engine.clipped_sum(watched, engine.Rescaled(loss), images, torch.zeros(4).long(), [0, 1, 2], mechanism, COINS, 0, 2)
    assert watched._layers and all(layer.tape is None for layer in watched._layers)
    with pytest.raises(ValueError, match="another watched network"):
        watched(torch.zeros(1, 1, 8, 8), torch.ones(1), torch.zeros(1).long())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: run where there is one")
def test_the_compiled_step_on_a_gpu_is_the_step_on_the_processor(denoiser):
    images = torch.randint(0, 256, (9, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    given = images, torch.arange(9) % 3, [0, 2, 3, 5, 8], Gradients("dp_sgd", 0.5, 3, 1.0, 0.1, 2, 5.0)
    here = of_step(denoiser, None, *given)
    there = of_step(denoiser.cuda().to(memory_format=torch.channels_last), "inductor", *given)
    torch.testing.assert_close(there.cpu(), here, rtol=1e-2, atol=1e-4)


def test_no_record_drawn_is_a_sum_of_zeros(denoiser):
    images, mechanism = torch.zeros(3, 1, 8, 8, dtype=torch.uint8), Gradients("dp_sgd", 0.5, 3, 1.0, 0.1, 2, 5.0)
    assert not of_step(denoiser, None, images, torch.zeros(3).long(), [], mechanism).any()


def test_carriers_are_made_once_for_a_shape(denoiser, monkeypatch):
    watched, checked = engine.Carried(denoiser, None), []
    usual = engine.Carried._checked
    monkeypatch.setattr(engine.Carried, "_checked", lambda self, losses: checked.append(1) or usual(self, losses))
    loss, mechanism = partial(diffusion.loss, watched, "edm", 3), Gradients("dp_sgd", 0.5, 3, 1.0, 0.1, 2, 5.0)
    images = torch.zeros(9, 1, 8, 8, dtype=torch.uint8)
    for step in range(3):
        how = replace(mechanism, steps=3 + step), COINS, step, 4
        engine.clipped_sum(watched, engine.Rescaled(loss), images, torch.zeros(9).long(), list(range(9)), *how)
    assert len(checked) == 1


def test_noise_may_be_begun_before_it_is_asked_for():
    begun = []
    for now in (False, True):
        with engine.begun(lambda part: begun.append(part) or part**2, [3, 4, 5], now) as answer:
            if not now:
                assert not begun
            assert [answer(number) for number in (2, 0)] == [25, 9]
    assert np.bincount(begun).tolist() == [0, 0, 0, 2, 1, 2]
