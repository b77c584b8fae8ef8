"""Adversarial model perturbation against its definition on a loss whose maximum is known."""

import pytest
import torch
from torch import nn

from dpsynth.models import amp


class Point(nn.Module):
    """Two weight tensors and the loss (a - 1)^2 + |b|^2."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor([3.0])), nn.Parameter(torch.tensor([0.3, -0.4]))

    def here(self):
        loss = ((self.a - 1) ** 2).sum() + (self.b**2).sum()
        return loss.detach(), torch.autograd.grad(loss, [self.a, self.b])


def perturb(gamma, eta=0.4, normalise=False):
    model = Point()
    found, gradients = amp.gradient([model.a, model.b], model.here, gamma, eta, normalise)
    model.a.grad, model.b.grad = gradients
    return model, found


def test_inside_the_ball_the_step_is_eta_times_the_gradient():
    model, found = perturb(gamma=100.0)
    assert found.clean == pytest.approx(4.25) and not found.binds
    delta_a, delta_b = 0.4 * 4.0, 0.4 * torch.tensor([0.6, -0.8])
    assert found.perturbed == pytest.approx(
        (2 + delta_a) ** 2 + ((torch.tensor([0.3, -0.4]) + delta_b) ** 2).sum().item()
    )
    assert model.a.grad.item() == pytest.approx(2 * (2 + delta_a))


def test_the_weights_are_left_clean_and_the_loss_beside_them_is_higher():
    model, found = perturb(gamma=0.2)
    assert model.a.item() == 3.0 and torch.equal(model.b.data, torch.tensor([0.3, -0.4]))
    assert found.perturbed > found.clean and found.binds


def test_the_ball_is_one_for_all_weights():
    gradient = torch.tensor([4.0, 0.6, -0.8])
    model, _ = perturb(gamma=0.2)
    moved = 0.2 * gradient / gradient.norm()
    assert model.a.grad.item() == pytest.approx(2 * (2 + moved[0].item()))
    torch.testing.assert_close(model.b.grad, 2 * (torch.tensor([0.3, -0.4]) + moved[1:]))


def test_normalised_the_perturbation_always_reaches_the_ball():
    model, found = perturb(gamma=5.0, eta=1e-6, normalise=True)
    gradient = torch.tensor([4.0, 0.6, -0.8])
    assert found.binds
    assert model.a.grad.item() == pytest.approx(2 * (2 + (5.0 * gradient / gradient.norm())[0].item()), rel=1e-5)


def test_weights_come_back_even_if_the_loss_fails():
    model, calls = Point(), []

    def here():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return model.here()

    with pytest.raises(KeyboardInterrupt):
        amp.gradient([model.a, model.b], here, 0.2, 0.4, False)
    assert model.a.item() == 3.0
