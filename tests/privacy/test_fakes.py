"""Fakes of a GAN beside the records: a public constant of each step, that adds nothing to the sensitivity."""

import numpy as np
import pytest
import torch
from torch import nn

from dpsynth import privacy
from dpsynth.models.pixels import scaled
from dpsynth.privacy import Charge, Coins, Fakes, Gradients, Plan, Private, engine

COINS = Coins(bytes(range(32)))


@pytest.fixture
def critic():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 36, 1))


def images(n, seed=0):
    return torch.randint(0, 256, (n, 1, 6, 6), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def step(critic, n, n_fakes=5, rate=0.6, clip=0.2, noise=1e-9, views=1, loss=None):
    """One step on `n` records beside `n_fakes` fakes: the gradient, in units of C over the divisor."""
    mechanism = Gradients("dp_sgd", rate, 1, noise, clip, views, 8.0)
    charge = Charge(mechanism, Plan("toy", 9, 10.0, 1e-5, (mechanism,)), "release", COINS)
    wrapped = privacy.PerExample(critic)
    labels = torch.zeros(n, dtype=torch.int64)
    toy = Private(name="toy", images=images(n), labels=labels, classes=("a",), n_records=9, builtin=True)
    made = scaled(images(n_fakes, seed=1)) if n_fakes else None
    fakes = Fakes(made, torch.zeros(n_fakes, dtype=torch.int64), (loss or hinge)(wrapped, 1)) if n_fakes else None
    toy.gradient(wrapped, hinge(wrapped, -1), charge, 0, 4, fakes)
    found = torch.cat([p.grad.double().flatten() for p in wrapped.parameters])
    wrapped.close()
    return found


def hinge(model, sign):
    return lambda x, y, draws: torch.relu(1 + sign * model(x)[:, 0])


def test_one_more_record_moves_a_step_with_fakes_by_at_most_the_clipping_norm(critic):
    drawn = COINS.uniforms(("poisson", 0), 40) < 0.6
    assert drawn[:9].any() and not drawn[:9].all()
    moved = [8.0 * (step(critic, n + 1) - step(critic, n)).norm().item() for n in range(9)]
    for n, distance in enumerate(moved):
        assert distance <= 1.0  # in units of C
        assert (distance > 1e-6) == drawn[n]


def test_the_fakes_add_their_mean_clipped_gradient_whatever_was_drawn(critic):
    made = scaled(images(5, seed=1))
    expected = 0
    for fake in made:
        critic.zero_grad()
        torch.relu(1 + critic(fake[None])[:, 0]).sum().backward()
        g = torch.cat([p.grad.double().flatten() for p in critic.parameters()])
        expected = expected + g * min(1.0, 0.2 * engine.MARGIN / g.norm().item()) / 5
    critic.zero_grad()
    for n in (0, 1, 9):
        beside = step(critic, n) - step(critic, n, n_fakes=0)
        np.testing.assert_allclose(beside, expected / 0.2, atol=1e-5)


def test_a_fake_is_seen_once_however_many_views_a_record_has(critic):
    rows = []

    def counted(model, sign):
        def loss(x, y, draws):
            rows.append(len(x))
            return hinge(model, sign)(x, y, draws)

        return loss

    step(critic, 3, n_fakes=5, views=1, loss=counted)
    once = sum(rows)
    step(critic, 3, n_fakes=5, views=4, loss=counted)
    assert sum(rows) - once == once
