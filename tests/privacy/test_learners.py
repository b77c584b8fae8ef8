"""The touches of GANs, moment matching and Private Evolution, replayed on neighbours through the shipped functions."""

import pytest
import torch

from dpsynth import privacy
from dpsynth.artifacts import Encoder
from dpsynth.methods import dp_mepf, dpsda, gans
from dpsynth.models import gan
from dpsynth.models.classifier import Classifier
from dpsynth.models.pixels import scaled
from dpsynth.privacy import Charge, Coins, Counts, Fakes, Gradients, Plan, Private, Sums, engine
from dpsynth.stages import query

COINS = Coins(bytes(range(32)))
CLASSES = ("a", "b", "c")


def records(n, seed=0):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 1, 12, 12), generator=draws, dtype=torch.uint8)
    images[8:] = 255  # the last is as unlike the others as can be
    return images, torch.randint(0, 3, (n,), generator=draws)


def private(images, labels):
    return Private(name="toy", images=images, labels=labels, classes=CLASSES, n_records=9, builtin=True)


def charge(mechanism):
    return Charge(mechanism, Plan("toy", 9, 10.0, 1e-5, (mechanism,)), "release", COINS)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    model = Classifier(1, 7)
    return Encoder(model.state_dict(), list("abcdefg"), 0.0)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return gan.Gan(1, 12, 3, 8)


@pytest.mark.parametrize("case", ["plain", "constant", "duplicate", "empty set"])
def test_one_more_record_moves_a_discriminators_step_by_at_most_the_clipping_norm(networks, case):
    mechanism = Gradients("dp_sgd", 1.0, 1, 1e-9, 0.05, 1, 4.0)
    images, labels = records(9)
    if case == "plain":
        images[8] = images[0].flip(1)
    if case == "duplicate":
        images[8], labels[8] = images[7], labels[7]
    made = networks.generator(gan.latents(4, torch.Generator().manual_seed(0)), torch.arange(4) % 3).detach()
    steps = []
    for n in (0, 1) if case == "empty set" else (8, 9):
        wrapped = privacy.PerExample(networks.discriminator)
        fakes = Fakes(made, torch.arange(4) % 3, gans.losses(wrapped, False))
        private(images[:n], labels[:n]).gradient(wrapped, gans.losses(wrapped, True), charge(mechanism), 0, 4, fakes)
        steps.append(torch.cat([p.grad.double().flatten() for p in wrapped.parameters]))
        wrapped.close()
    moved = (steps[1] - steps[0]).norm().item() * mechanism.divisor  # in units of C
    assert 0.9 < moved <= 1.0


def test_the_fakes_of_a_step_are_as_many_as_the_plan_says_whatever_was_drawn(networks):
    for divisor in (1.0, 7.6, 400.0):
        assert gans.n_fakes(Gradients("dp_sgd", 0.1, 1, 1.0, 1.0, 1, divisor)) == max(1, round(divisor))


@pytest.mark.parametrize("n_moments", [1, 2])
@pytest.mark.parametrize("start", [0, 8])
def test_one_more_record_moves_the_mean_embedding_by_its_bound_in_its_own_row(encoder, n_moments, start):
    embed, dim = dp_mepf.perceptual(encoder, (1, 12, 12), n_moments)
    images, labels = records(9)
    mechanism = Sums("mean_embedding", n_moments**0.5, 1e-12, 1.0)
    before, after = (
        private(images[:n], labels[:n]).total(lambda x, y, d: embed(x), dim, charge(mechanism), by_label=True)
        for n in (start, start + 1)
    )
    moved = (after - before).norm(dim=1)
    assert moved.norm().item() == pytest.approx(mechanism.sensitivity * engine.MARGIN, rel=1e-5)
    assert moved.norm().item() <= mechanism.sensitivity
    assert (moved > 1e-9).nonzero().flatten().tolist() == [labels[start].item()]


@pytest.mark.parametrize("start", [0, 8])
def test_one_more_record_casts_one_vote_in_its_own_row_and_moves_no_other(encoder, start):
    net = query.classifier(encoder, 1)
    points = dpsda.embedded(net, records(15, seed=1)[0]).view(3, 5, -1)
    images, labels = records(9)
    before, after = (
        private(images[:n], labels[:n]).count(dpsda.nearest(net, points), 5, charge(Counts("votes", 1, 1e-3)))
        for n in (start, start + 1)
    )
    change = after - before
    assert change.abs().sum() == change[labels[start]].sum() == 1


def test_a_record_votes_for_the_nearest_candidate_of_its_own_label(encoder):
    net = query.classifier(encoder, 1)
    images, labels = records(9)
    points = dpsda.embedded(net, records(15, seed=1)[0]).view(3, 5, -1)
    cast = dpsda.nearest(net, points)(scaled(images), labels, None)[:, 0]
    for record, (vote, label) in enumerate(zip(cast.tolist(), labels.tolist(), strict=True)):
        distances = (dpsda.embedded(net, images[record : record + 1]) - points[label]).norm(dim=1)
        assert distances[vote] == pytest.approx(distances.min().item(), rel=1e-4)


def test_what_is_said_of_a_record_does_not_depend_on_its_companions_nor_on_its_place(encoder):
    """To the bit, in batches of the one shape that the verbs use: else a near tie could tell of another record."""
    net, (images, labels) = query.classifier(encoder, 1), records(256)
    images[8:] = torch.randint(0, 256, (248, 1, 12, 12), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    vote = dpsda.nearest(net, dpsda.embedded(net, images[:15]).view(3, 5, -1))
    embed, _ = dp_mepf.perceptual(encoder, (1, 12, 12), 2)
    moved = torch.randperm(256, generator=torch.Generator().manual_seed(3))
    others = images.clone()
    others[100:] = 0
    x = scaled(images)
    for say in (lambda x, y: net.features(x), lambda x, y: vote(x, y, None), lambda x, y: embed(x)):
        said = say(x, labels)
        assert torch.equal(said[moved], say(x[moved], labels[moved]))
        assert torch.equal(said[:100], say(scaled(others), labels)[:100])
