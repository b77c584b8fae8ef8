"""What the saliency probe, the central images and the label counts ask, replayed on neighbours under quiet noise."""

import math

import pytest
import torch

from dpsynth import privacy
from dpsynth.artifacts import CentralImages
from dpsynth.methods import dp_feta, dp_sapf
from dpsynth.models import diffusion, lora
from dpsynth.models.pixels import scaled
from dpsynth.privacy import Charge, Coins, Counts, Plan, Private, Sums
from dpsynth.stages import label_prior, query

COINS = Coins(bytes(range(32)))
CLASSES = ("a", "b", "c")


def records(n, seed=0):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 1, 8, 8), generator=draws, dtype=torch.uint8)
    images[n - 1 :, :, ::2], images[n - 1 :, :, 1::2] = 255, 0
    return images, torch.arange(n) % 3


def private(images, labels):
    return Private(name="toy", images=images, labels=labels, classes=CLASSES, n_records=9, builtin=True)


def charge(mechanism):
    return Charge(mechanism, Plan("toy", 9, 10.0, 1e-5, (mechanism,)), "release", COINS)


def asked(function, mechanism, n):
    """`function(private, charge)` on the first `n` of nine records."""
    images, labels = records(9)
    return function(private(images[:n], labels[:n]), charge(mechanism))


class Permitted:
    """A permit that gives the charge it was made with."""

    def __init__(self, given):
        self.charge, self.mechanism = lambda work, private: given, given.mechanism


@pytest.fixture
def base(monkeypatch):
    """A base whose every weight has a gradient; `dp_sgd.ready` hands it over as it is."""
    torch.manual_seed(0)
    model = diffusion.Denoiser(1, 8, 3, 8, attention="every")
    model.precision = torch.float32
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    monkeypatch.setattr(dp_sapf.dp_sgd, "ready", lambda base, n_classes, seed: base)
    yield model
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def probed(base, mechanism, n, norm=0.3):
    for parameter in base.parameters():
        parameter.requires_grad_(True)
    ask = lambda toy, given: dp_sapf.probe(  # noqa: E731
        None, toy, base, Permitted(given), seed=0, max_grad_norm=norm, convolutions=True
    )
    return asked(ask, mechanism, n)


@pytest.mark.parametrize("norm", [1e-4, 0.3, 1e6])
def test_one_more_record_moves_the_squared_norms_by_at_most_one(base, norm):
    quiet = Sums("saliency", 1.0, 1e-12, 1.0)
    before, after = (probed(base, quiet, n, norm) for n in (8, 9))
    moved = after.scores - before.scores
    assert moved.min() > -1e-9 and 0 < moved.norm() <= quiet.sensitivity
    assert moved.sum() <= 1 + 1e-6  # even in l1
    assert before.names == after.names and len(before.names) == 24


def test_scores_are_the_shares_of_each_records_clipped_gradient(base):
    names = lora.candidates(base, True)
    images, labels = records(4)
    x, wrapped = scaled(images), privacy.PerExample(base)
    draws = privacy.engine.Draws(COINS, 0, [0, 1, 2, 3], 1)
    found = dp_sapf.squared_norms(wrapped, names, x, labels, draws, max_grad_norm=0.01)
    wrapped.close()
    for record in range(4):
        alone = privacy.engine.Draws(COINS, 0, [record], 1)
        loss = diffusion.loss(base, "edm", 3, x[[record]], labels[[record]], alone).sum()
        parameters = list(base.parameters())
        g = dict(zip(map(id, parameters), torch.autograd.grad(loss, parameters), strict=True))
        total = torch.stack([part.square().sum() for part in g.values()]).sum().sqrt()
        factor = min(1, 0.01 / total.item())
        expected = [(factor * g[id(base.get_submodule(n).weight)] / 0.01).square().sum().item() for n in names]
        torch.testing.assert_close(found[record], torch.tensor(expected, dtype=torch.float64), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("case", ["plain", "nan"])
def test_one_more_record_moves_the_saliency_votes_by_exactly_its_votes(base, case, monkeypatch):
    if case == "nan":
        monkeypatch.setattr(
            dp_sapf, "squared_norms", lambda w, names, x, *_: torch.full((len(x), len(names)), math.nan)
        )
    quiet = Counts("saliency", 3, 1e-3)
    before, after = (probed(base, quiet, n) for n in (8, 9))
    moved = after.scores - before.scores
    assert moved.abs().sum() == 3 and moved.abs().max() == 1 and moved.norm() <= quiet.sensitivity


def central_of(mechanism, n):
    return asked(lambda toy, given: dp_feta.central_images(None, toy, Permitted(given)), mechanism, n).values


def test_one_more_record_moves_the_mean_of_its_own_label_by_at_most_the_root_of_the_pixels():
    quiet = Sums("central_images", 4.0, 1e-12, 3.0)
    before, after = (central_of(quiet, n) for n in (8, 9))
    moved = (after - before).flatten(1).norm(dim=1)
    assert 0 < moved[2] * 3.0 <= quiet.sensitivity and moved[:2].max() < 1e-9
    images, labels = records(9)
    images[:], mechanism = 255, Sums("central_images", 4.0, 1e-12, 3.0)
    white = dp_feta.central_images(None, private(images, labels), Permitted(charge(mechanism))).values
    torch.testing.assert_close(white, torch.ones(3, 1, 4, 4, dtype=torch.float64), rtol=2e-3, atol=0)


def test_one_more_record_votes_once_for_each_pixel():
    images, _ = records(9)
    for n in (2, 16):
        cast = dp_feta.level_votes(scaled(images), n)
        assert cast.shape == (9, 16) and all(len(set(row)) == 16 for row in cast.tolist())
        assert cast.min() >= 0 and cast.max() < 16 * n
    quiet = Counts("central_images", 16, 1e-3)
    counted = [
        asked(lambda toy, given: toy.count(lambda x, y, d: dp_feta.level_votes(x, 2), 32, given), quiet, n)
        for n in (8, 9)
    ]
    moved = (counted[1] - counted[0]).float()
    assert moved.abs().sum() == 16 and moved.norm() <= quiet.sensitivity and not moved[:2].any()
    assert central_of(quiet, 9).unique().tolist() == [0.0, 1.0]


def test_one_more_record_moves_one_label_count_by_one():
    quiet = Counts("label_histogram", 1, 1e-3)
    before, after = (
        asked(lambda toy, given: label_prior.label_histogram(None, toy, Permitted(given)), quiet, n).counts
        for n in (8, 9)
    )
    assert before.tolist() == [3, 3, 2] and after.tolist() == [3, 3, 3]


def test_central_images_are_shown_in_range_and_moved_copies_keep_their_labels():
    noisy = CentralImages(3 * torch.randn(3, 1, 14, 14, dtype=torch.float64))
    shown = dp_feta.images(noisy, 28)
    assert shown.shape == (3, 1, 28, 28) and shown.dtype == torch.uint8
    corpus = dp_feta.central_corpus(None, noisy, shape=(1, 28), seed=0)
    assert corpus.images.shape == (3 * dp_feta.COPIES, 1, 28, 28) and corpus.private_labels
    assert corpus.labels.bincount().tolist() == [dp_feta.COPIES] * 3
    assert len(corpus.images.flatten(1).unique(dim=0)) > 2 * dp_feta.COPIES
    assert torch.equal(corpus.images, dp_feta.central_corpus(None, noisy, shape=(1, 28), seed=0).images)
    plain = CentralImages(torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64))
    assert set(dp_feta.images(plain, 8).flatten().tolist()) == {128}


def test_as_many_votes_and_classes_are_asked_for_as_there_are_and_no_more():
    def histogram(votes, kept, mode):
        constants = dict(query_noise=None, public="few", n_public_classes=6, n_classes=3)
        return query.histogram_mechanism(lambda votes: 5.0 * votes, votes=votes, kept=kept, mode=mode, **constants)

    assert histogram(6, 2, "per_class") == Counts("semantic_histogram", 6, 30.0)
    assert histogram(1, 6, "global") == Counts("semantic_histogram", 1, 5.0)
    for votes, kept, mode in ((7, 2, "per_class"), (6, 3, "per_class"), (6, 7, "global")):
        with pytest.raises(ValueError, match=f"votes={votes} and kept={kept} .* more classes than the 6 of few"):
            histogram(votes, kept, mode)


def test_as_many_matrices_are_voted_for_as_there_are_and_no_more():
    network = dict(shape=(1, 8), n_classes=3, width=8, prediction="edm", attention="every", convolutions=True)

    def votes(n):
        settings = dict(score="votes", saliency_votes=n, saliency_noise=None, n_records=9, unet=None)
        return dp_sapf.probe_mechanism(lambda votes: 5.0 * votes, **settings, **network)

    assert votes(24) == Counts("saliency", 24, 120.0)
    with pytest.raises(ValueError, match="saliency_votes=25, but the network has only 24 candidate matrices"):
        votes(25)


NAMES = ["net.time.0", "net.time.2", "net.head", "net.up.shift", "net.up.conv1"]
SCORES = torch.tensor([0.1, 0.2, 0.25, -0.3, 0.24])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (dict(choice="saliency", unit="matrix", share=0.4), ["net.head", "net.up.conv1"]),
        (dict(choice="saliency", unit="matrix", share=0.05), ["net.head"]),
        (dict(choice="saliency", unit="layer", share=0.34), ["net.time.0", "net.time.2"]),
        (dict(choice="all", unit="matrix", share=0.1), NAMES),
    ],
)
def test_the_top_share_of_matrices_or_blocks_is_chosen(settings, expected):
    assert dp_sapf.pick(NAMES, SCORES, **settings, seed=0) == expected


def test_a_random_choice_takes_as_many_and_asks_nothing():
    chosen = [dp_sapf.pick(NAMES, None, choice="random", unit="matrix", share=0.4, seed=seed) for seed in range(9)]
    assert {len(one) for one in chosen} == {2} and len({tuple(one) for one in chosen}) > 2
