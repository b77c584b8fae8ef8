"""DP-SGD of the papers' network, rehearsed; and mirror images, by coins that are each record's own."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from dpsynth.artifacts import Corpus
from dpsynth.models import diffusion, networks
from dpsynth.privacy import Charge, Coins, Gradients, Plan, Private, engine
from dpsynth.stages import dp_sgd, pretrain

UNET = {"levels": [1, 2], "blocks": 1, "attention": [8]}
N, MECHANISM = 6, Gradients("dp_sgd", 1.0, 2, 1e-6, 0.1, 2, 6.0)


def images(n=N):
    return torch.randint(0, 256, (n, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_two_rehearsed_steps_move_every_weight_of_the_papers_network():
    model = networks.initial(pretrain.architecture((3, 16), 2, 8, "edm", "middle", UNET), 0)
    step_gradient = dp_sgd.rehearsal(model, images(), torch.arange(N) % 2, 2, MECHANISM, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    for step in range(2):
        step_gradient(step)
        norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
        assert 0 < norm <= 1.001 / MECHANISM.divisor * N  # in units of the clipping norm
        optimizer.step()
    assert all(not torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


class Watched:
    """Draws that hand on those of others, and count what is asked."""

    def __init__(self, draws):
        self.draws, self.asked = draws, []

    def normal(self, *shape):
        self.asked.append("normal")
        return self.draws.normal(*shape)

    def uniform(self):
        self.asked.append("uniform")
        return self.draws.uniform()


def test_nothing_more_is_drawn_where_nothing_is_flipped():
    model, x, labels = diffusion.Denoiser(3, 16, 2, 8), torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 0, 1])
    asked = {}
    for augment in (None, "flips"):
        draws = Watched(diffusion.PublicDraws(torch.Generator().manual_seed(0), 4))
        diffusion.losses(model, x, labels, draws, augment=augment)
        asked[augment] = draws.asked
    assert asked[None] == ["normal", "uniform", "normal"] and asked["flips"] == ["uniform", *asked[None]]


def test_an_image_and_its_mirror_image_are_half_each():
    x = torch.randn(1, 3, 4, 4).expand(2000, -1, -1, -1)
    seen = []
    model = SimpleNamespace(prediction="edm", null=2, encode=lambda x: seen.append(x) or x)
    draws = diffusion.PublicDraws(torch.Generator().manual_seed(0), 2000)
    labels = torch.zeros(2000, dtype=torch.int64)
    diffusion.losses(model, x, labels, draws, through=lambda x, sigma, label: x, augment="flips")
    mirrored = (seen[0] == x.flip(3)).flatten(1).all(1)
    assert torch.equal(seen[0][~mirrored], x[~mirrored]) and 900 < mirrored.sum() < 1100


def mirrored(records, views):
    """Which views of which record are mirrored: {record: tuple}."""
    draws, seen = engine.Draws(Coins(bytes(32)), 1, records, views), []
    model = SimpleNamespace(prediction="edm", null=2, encode=lambda x: seen.append(x) or x)
    x = torch.arange(16.0).view(1, 1, 4, 4).expand(len(records) * views, -1, -1, -1)
    labels = torch.zeros(len(x), dtype=torch.int64)
    diffusion.losses(model, x, labels, draws, through=lambda x, sigma, label: x, augment="flips")
    coins = (seen[0] != x).flatten(1).any(1).view(len(records), views)
    return dict(zip(records, map(tuple, coins.tolist()), strict=True))


def test_a_view_is_mirrored_by_a_coin_of_its_record_whoever_else_was_drawn():
    every = mirrored(list(range(20)), 4)
    for companions in ([7], [19, 7, 3], [7, 8]):
        assert mirrored(companions, 4) == {record: every[record] for record in companions}
    assert len(set(every.values())) > 5 and any(len(set(coins)) == 2 for coins in every.values())


@pytest.mark.parametrize("augment", [None, "flips"])
def test_flips_reach_pretraining_dp_sgd_and_the_twin(monkeypatch, augment):
    given = []
    monkeypatch.setattr(diffusion, "losses", lambda *a, augment=None, **k: given.append(augment) or 1 / 0)
    model = networks.initial(pretrain.architecture((3, 16), 2, 8, "edm", "middle"), 0)
    work = SimpleNamespace(resume=lambda: None)
    corpus = Corpus(images(), torch.zeros(N, dtype=torch.int64), 2, True, [], "")
    private = Private(
        name="toy", images=images(), labels=torch.arange(N) % 2, classes=("a", "b"), n_records=N, builtin=True
    )
    charge = Charge(MECHANISM, Plan("toy", N, 10.0, 1e-5, (MECHANISM,)), "release", Coins(bytes(32)))
    permit = SimpleNamespace(charge=lambda work, private: charge, mechanism=MECHANISM, plan=charge.plan)
    base = SimpleNamespace(architecture=model.architecture, averaged=model.state_dict(), private_labels=True)
    common = dict(seed=0, learning_rate=1e-3, average=0.9, trainable="all", augment=augment)
    for stage in (
        partial(pretrain.fit, work, model, corpus, 0, 2, 4, 1e-3, 0.9, augment=augment),
        partial(dp_sgd.dp_sgd, work, private, base, permit, **common),
        partial(dp_sgd.without_privacy, work, private, base, sample_rate=1.0, steps=2, noise_multiplicity=2, **common),
    ):
        with pytest.raises(ZeroDivisionError):
            stage()
    assert set(given) == {augment} and len(given) >= 3
