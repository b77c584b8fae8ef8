"""What a verb makes of a sum: noise of its own in each row, a constant grid, a clip of one record at a time."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dpsynth.privacy import Charge, Coins, Counts, Gradients, PerExample, Plan, Private, Sums, accounting
from dpsynth.privacy.engine import MARGIN

COINS = Coins(bytes(range(32)))


def charge(mechanism):
    return Charge(mechanism, Plan("toy", 9, 10.0, 1e-5, (mechanism,)), "release", COINS)


def private(images, labels, n_classes=3):
    classes = tuple("abc"[:n_classes])
    return Private(name="toy", images=images, labels=labels, classes=classes, n_records=9, builtin=True)


def test_no_label_shares_its_noise_with_another():
    nobody = private(torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    counts = nobody.count(lambda x, y, d: y[:, None], 4000, charge(Counts("votes", 1, 8.0))).double().numpy()
    sums = nobody.total(lambda x, y, d: x.flatten(1), 4000, charge(Sums("sum", 1.0, 8.0, 1.0)), by_label=True).numpy()
    for table in (counts, sums):
        assert np.abs(np.corrcoef(table) - np.eye(3)).max() < 0.08


@pytest.mark.parametrize("votes", [1, 5, 196])
@pytest.mark.parametrize("steps", [1, 3])
def test_replacing_a_record_costs_a_histogram_what_its_replace_sensitivity_says(votes, steps):
    counts = Counts("query", votes, 6.0, steps=steps)
    moved = counts.sensitivity_replace / counts.scale
    as_sum = Sums("query", 1.0, 1 / moved, 1.0, steps=steps)  # the same shift over the same noise, added or removed
    found, expected = accounting.epsilon([counts], 1e-5, replace=True), accounting.epsilon([as_sum], 1e-5)
    assert expected * (1 - 1e-3) < found < expected * 1.01


class Weighed(nn.Module):
    """Images of four pixels, whose gradient is the image itself."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 1, bias=False)

    def forward(self, x):
        return self.line(x.flatten(1))[:, 0]


SIZES = torch.tensor([0.01, 1.0, 50.0])  # what a record of each label multiplies its gradient by


def step(labels, mechanism):
    """The noisy sum of a step of `Weighed` in units of 1, and each record's plain gradient (N, 4)."""
    images = torch.randint(
        0, 256, (len(labels), 1, 2, 2), generator=torch.Generator().manual_seed(3), dtype=torch.uint8
    )
    labels = torch.tensor(labels)
    model = PerExample(Weighed())
    loss = lambda x, y, draws: SIZES[y] * model(x)  # noqa: E731
    private(images, labels).gradient(model, loss, charge(mechanism), 0, 16)
    x = (images.double() / 127.5 - 1).flatten(1)
    (parameter,) = model.parameters
    found = parameter.grad[0].double() * mechanism.max_grad_norm * mechanism.divisor
    return found, x * SIZES[labels][:, None].double()


@pytest.mark.parametrize("noise", [1.0, 3.7, 40.0])
def test_each_coordinate_of_a_gradient_lies_on_a_constant_grid(noise):
    mechanism = Gradients("dp_sgd", 1.0, 1, noise, 0.5, 1, 8.0)  # powers of two: exact in float32
    found, _ = step([0, 1, 1, 2, 0], mechanism)
    grid = 2.0 ** (math.frexp(mechanism.scale)[1] - 20)
    assert torch.equal((found / grid).round() * grid, found)


@pytest.mark.parametrize("labels", [[0] * 8, [2] * 8, [0, 0, 0, 2, 2, 2, 2, 2], [2, 0, 0, 0, 0, 0, 0, 0], [0, 1] * 4])
def test_the_clip_of_a_record_does_not_depend_on_how_large_its_companions_are(labels):
    found, each = step(labels, Gradients("dp_sgd", 1.0, 1, 1e-9, 1.0, 1, 1.0))
    factors = (MARGIN / each.norm(dim=1)).clamp(max=1)  # below C as it is; above it exactly to C (1 - 2^-10)
    torch.testing.assert_close(found, factors @ each, rtol=1e-5, atol=1e-6)
    said = Sums("sum", 1.0, 1e-12, 1.0)
    records = private(torch.zeros(8, 1, 2, 2, dtype=torch.uint8), torch.tensor(labels))
    answered = torch.cat([each, each[-1:].expand(248, -1)])
    total = records.total(lambda x, y, draws: answered, 4, charge(said))[0]
    torch.testing.assert_close(total, factors @ each, rtol=1e-5, atol=1e-6)
