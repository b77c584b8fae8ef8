"""The verbs, replayed on neighbours: what one record can change is at most the declared sensitivity."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from dpsynth import privacy
from dpsynth.models import diffusion
from dpsynth.models.pixels import scaled
from dpsynth.privacy import Charge, Coins, Counts, Gradients, Plan, Private, engine
from dpsynth.privacy.engine.philox import DeviceDraws

COINS = Coins(bytes(range(32)))


def private(images, labels, classes=("a", "b", "c"), builtin=True):
    return Private(
        name="toy", images=images, labels=labels, classes=classes, n_records=len(images), builtin=builtin
    )  # fmt: skip


def records(n, seed=0):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 1, 8, 8), generator=draws, dtype=torch.uint8)
    return images, torch.randint(0, 3, (n,), generator=draws)


def charge(mechanism):
    return Charge(mechanism, Plan("toy", 9, 10.0, 1e-5, (mechanism,)), "release", COINS)


def gradients(rate=0.5, noise=1e-9, clip=1.0, views=1, divisor=1.0):
    return Gradients("dp_sgd", rate, 3, noise, clip, views, divisor)


@pytest.fixture
def denoiser():
    torch.manual_seed(0)
    model = diffusion.Denoiser(1, 8, 3, 8)
    model.precision = torch.float32  # the proofs hold in bfloat16 as well (test_engine), equality with float64 does not
    for parameter in model.parameters():  # zero-initialised layers would hide their gradients
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


@pytest.fixture(params=["hooks", "carriers"], autouse=True)
def watching(request, monkeypatch):
    """What is proved of the one engine is proved of the other, which is a GPU's; here it runs without its compiler."""
    if request.param == "carriers":
        monkeypatch.setattr(privacy, "PerExample", partial(engine.Carried, compiler=None))
    return request.param


def draws_of(watching, record, views):
    """Those of a record in step 0, as the engine's step has them."""
    if watching == "hooks":
        return engine.Draws(COINS, 0, [record], views)
    word = int(COINS.words(("draw key",), 1)[0])
    key = torch.tensor([word % 2**32, word // 2**32])
    return DeviceDraws(key, torch.tensor(0), torch.tensor([record]), views)


def loss_of(model, prediction="edm"):
    return lambda x, y, draws: diffusion.loss(model, prediction, 3, x, y, draws)


def one_step(model, images, labels, mechanism, microbatch=8, loss=None, wrapped=None):
    wrapped = wrapped or privacy.PerExample(model)
    private(images, labels).gradient(wrapped, loss or loss_of(wrapped), charge(mechanism), 0, microbatch)
    found = [p.grad.double().flatten() for p in wrapped.parameters]
    wrapped.close()
    model.zero_grad()
    return torch.cat(found)


def drawn(n, rate):
    return np.flatnonzero(COINS.uniforms(("poisson", 0), n) < rate).tolist()


@pytest.mark.parametrize("views", [1, 3])
def test_a_step_is_the_clipped_sum_of_a_float64_loop_over_records(denoiser, views, watching):
    images, labels = records(12)
    mechanism = gradients(clip=0.2, views=views)
    ours = one_step(denoiser, images, labels, mechanism, microbatch=7)
    denoiser.double()
    expected = 0
    for record in drawn(12, mechanism.sample_rate):
        draws = draws_of(watching, record, views)
        double = type(
            "D", (), {"normal": lambda s, *a, d=draws: d.normal(*a).double(), "uniform": lambda s, d=draws: d.uniform()}
        )()
        x = scaled(images[[record] * views]).double()
        loss = diffusion.loss(denoiser, "edm", 3, x, labels[[record] * views], double).mean()
        g = torch.cat([p.flatten() for p in torch.autograd.grad(loss, list(denoiser.parameters()))])
        expected = expected + g * min(1, 0.2 * engine.MARGIN / g.norm().item())
    torch.testing.assert_close(ours, expected / 0.2, rtol=1e-3, atol=1e-5)


def test_a_record_does_not_depend_on_which_others_were_drawn(denoiser):
    images, labels = records(12)
    both = one_step(denoiser, images, labels, gradients(rate=1.0, clip=100.0))
    parts = [one_step(denoiser, *_only(images, labels, i), gradients(rate=1.0, clip=100.0)) for i in range(0, 12, 6)]
    assert len(parts) == 2 and not torch.allclose(both, sum(parts))
    fewer = one_step(denoiser, images[:11], labels[:11], gradients(rate=1.0, clip=100.0))
    last = engine.clipped_sum(
        w := privacy.PerExample(denoiser), lambda x, y, d: loss_of(w)(scaled(x), y, d), images, labels, [11],
        gradients(clip=100.0), COINS, 0, 8,
    )  # fmt: skip
    torch.testing.assert_close(both - fewer, torch.cat([t.flatten() for t in last]) / 100, rtol=1e-4, atol=1e-7)


def _only(images, labels, start):
    return images[start : start + 6], labels[start : start + 6]


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("watching", ["hooks"], indirect=True)  # on a GPU no threads of ours compute
def test_the_bits_of_a_step_do_not_depend_on_the_number_of_threads(denoiser, threads):
    images, labels = records(23)
    found = one_step(denoiser, images, labels, gradients(rate=0.9, views=2), microbatch=4)
    assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    assert torch.equal(found, one_step(denoiser, images, labels, gradients(rate=0.9, views=2), microbatch=4))


def test_parts_are_worked_on_in_order_a_few_at_once_and_an_error_comes_through(threads):
    begun = []

    def work(part):
        begun.append(part)
        assert torch.get_num_threads() == 1
        if part == 9:
            raise ValueError("part 9")
        return part

    done = []
    with pytest.raises(ValueError, match="part 9"):
        for result in engine.side_by_side(work, range(100)):
            done.append(result)
            assert len(begun) <= len(done) + threads
    assert done == list(range(9)) and len(begun) <= 10 + threads and torch.get_num_threads() == threads


@pytest.mark.parametrize("case", ["plain", "huge", "nan", "duplicate", "empty set"])
@pytest.mark.parametrize("views", [1, 4])
def test_one_more_record_moves_the_sum_by_at_most_the_clipping_norm(denoiser, case, views):
    images, labels = records(9)
    if case == "duplicate":
        images[8], labels[8] = images[7], labels[7]
    start = 8 if case != "empty set" else 0

    def loss(model):
        def value(x, y, draws):
            rows = diffusion.loss(model, "edm", 3, x, y, draws)
            last = (x == scaled(images[8])).flatten(1).all(1)
            if case == "huge":
                return torch.where(last, 1e12 * rows, rows)
            return torch.where(last, rows * float("nan"), rows) if case == "nan" else rows

        return value

    mechanism = gradients(rate=1.0, clip=0.3, views=views)
    sums = []
    for n in (start, start + 1):
        chosen = slice(9 - n, 9) if case == "empty set" else slice(0, n)
        wrapped = privacy.PerExample(denoiser)
        value = loss(wrapped)
        parts = engine.clipped_sum(
            wrapped, lambda x, y, d, v=value: v(scaled(x), y, d), images[chosen], labels[chosen],
            list(range(n)), mechanism, COINS, 0, 8,
        )  # fmt: skip
        sums.append(torch.cat([part.flatten() for part in parts]))
        wrapped.close()
    moved = (sums[1] - sums[0]).norm().item()
    assert torch.isfinite(sums[1]).all()
    assert moved <= mechanism.sensitivity
    assert moved == 0 if case == "nan" else moved > 0


class Toy(nn.Module):
    """The smallest network with every layer type; `scale` makes its gradients as large as one likes."""

    def __init__(self, channels, scale):
        super().__init__()
        self.scale = scale
        self.conv, self.norm = nn.Conv2d(1, 4 * channels, 3, stride=2, padding=1), nn.GroupNorm(2, 4 * channels)
        self.label, self.out = nn.Embedding(3, 4 * channels), nn.Linear(4 * channels, 1)

    def forward(self, x, label):
        h = self.norm(self.conv(x)) + self.label(label)[:, :, None, None]
        return self.scale * self.out(torch.tanh(h).mean((2, 3)))[:, 0]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    n=st.integers(0, 12), channels=st.integers(1, 3), views=st.sampled_from([1, 2, 3, 8]), clip=st.floats(1e-3, 1e3),
    rate=st.floats(0.1, 1.0), scale=st.floats(1e-6, 1e9), microbatch=st.integers(1, 20), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_for_any_shape_k_clip_and_rate_one_more_record_stays_within_the_sensitivity(
    n, channels, views, clip, rate, scale, microbatch, seed
):
    torch.manual_seed(seed)
    model, (images, labels) = Toy(channels, scale), records(n + 1, seed)
    mechanism = gradients(rate=rate, clip=clip, views=views)

    def loss(wrapped):
        return lambda x, y, draws: wrapped(x + draws.normal(1, 8, 8), y)

    steps = []
    for m in (n, n + 1):
        wrapped = privacy.PerExample(model)
        steps.append(one_step(model, images[:m], labels[:m], mechanism, microbatch, loss(wrapped), wrapped) * clip)
    moved = (steps[1] - steps[0]).norm().item()
    assert moved <= mechanism.sensitivity * (1 + 1e-6)  # a step is handed over in float32
    assert (moved > 0) == (n in drawn(n + 1, rate))


def test_each_clipped_record_stays_below_the_norm_in_float64():
    draws = torch.Generator().manual_seed(0)
    for scale in (1e-15, 1e-3, 1.0, 1e8, 1e15):
        g = [scale * torch.randn(1, 3, 4, generator=draws), scale * torch.randn(1, 5, generator=draws)]
        total = engine.clip([engine.Materialised([t]) for t in g], 0.7)
        norm = torch.cat([t.flatten() for t in total]).norm().item()
        assert norm <= 0.7
        assert norm == pytest.approx(
            min(0.7 * engine.MARGIN, torch.cat([t.double().flatten() for t in g]).norm().item()), rel=1e-5
        )


def test_the_norm_of_many_like_numbers_is_not_too_small():
    g = [torch.full((1, 4_000_000), 0.001), torch.full((1, 3_000_001), 0.001)]
    assert (
        torch.cat([t.flatten() for t in engine.clip([engine.Materialised([t]) for t in g], 0.7)]).norm().item() <= 0.7
    )


def test_a_uniform_draw_is_below_one_though_float32_rounds_up():
    class Last:
        fingerprint = "last"

        def words(self, address, n):
            return np.full(n, 2**64 - 1, dtype=np.uint64)

    assert engine.Draws(Last(), 0, [0, 1], 2).uniform().max().item() < 1


def test_views_are_averaged_before_the_one_clip():
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(1, 1, bias=False)

        def forward(self, x):
            return self.map(x)

    model = Linear()
    images, labels = torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
    signs = torch.tensor([3.0, 3.0, -3.0, 1.0])

    wrapped = privacy.PerExample(model)
    mechanism = gradients(rate=1.0, clip=1.5, views=4)
    private(images, labels).gradient(
        wrapped, lambda x, y, d: signs * wrapped(x.flatten(1))[:, 0], charge(mechanism), 0, 4
    )  # fmt: skip
    assert model.map.weight.grad.item() * 1.5 == pytest.approx(
        1.0, abs=1e-6
    )  # clipping each view would give (3 * 1.5 - 1.5) / 4


@pytest.mark.parametrize("views", [1, 8])
def test_noise_of_an_empty_draw_is_normal_at_the_declared_deviation_whatever_k(denoiser, views):
    images, labels = records(4)
    mechanism = Gradients("dp_sgd", 1e-9, 3, 2.5, 0.1, views, 50.0)
    assert drawn(4, 1e-9) == []
    noise = one_step(denoiser, images, labels, mechanism).numpy() / (2.5 / 50.0)  # in units of C over the divisor
    assert stats.kstest(noise, "norm").pvalue > 1e-3
    assert 1e-3 < stats.chi2.cdf((noise**2).sum(), len(noise)) < 1 - 1e-3


def test_no_coordinate_shares_its_noise_with_another_or_with_another_step(denoiser):
    images, labels = records(4)
    wrapped, steps = privacy.PerExample(denoiser), charge(Gradients("dp_sgd", 1e-9, 3, 2.5, 0.1, 1, 50.0))
    noise = []
    for step in range(2):
        private(images, labels).gradient(wrapped, loss_of(wrapped), steps, step, 8)
        noise += [p.grad.flatten() for p in wrapped.parameters]
    values = torch.cat(noise)
    assert len(values.unique()) > 0.9 * len(values)  # a few meet on the grid


def test_the_divisor_is_the_plans_constant_whatever_was_drawn(denoiser):
    images, labels = records(6)
    a, b = (one_step(denoiser, images, labels, gradients(rate=1.0, clip=9.0, divisor=d)) for d in (1.0, 4.0))
    torch.testing.assert_close(a, 4 * b, rtol=1e-5, atol=1e-8)
    images, labels = records(7)
    mechanism = Gradients("dp_sgd", 1e-9, 3, 2.5, 9.0, 1, 4.0)
    same = [one_step(denoiser, images[:n], labels[:n], mechanism) for n in (6, 7)]
    assert torch.equal(*same)


def who_took_part(n, rate, steps, coins=COINS):
    """(steps, n) bool: record i has a gradient along axis i alone, so a quiet step tells who was drawn."""
    mechanism = Gradients("dp_sgd", rate, steps, 1e-9, 1.0, 1, 1.0)
    asked = Charge(mechanism, Plan("toy", 9, 10.0, 1e-5, (mechanism,)), "release", coins)
    images = torch.zeros(n, 1, 1, 1, dtype=torch.uint8)
    toy = private(images, torch.arange(n), classes=tuple(map(str, range(n))))
    table = nn.Embedding(n, 1)
    wrapped = privacy.PerExample(table)
    found = []
    for step in range(steps):
        toy.gradient(wrapped, lambda x, y, draws: wrapped(y)[:, 0], asked, step, 64)
        found.append(table.weight.grad[:, 0].numpy() > 0.5)
    return np.stack(found)


def test_each_step_draws_each_record_at_the_rate_by_a_coin_of_its_own():
    n, rate, steps = 200, 0.3, 200
    took = who_took_part(n, rate, steps)
    variance = rate * (1 - rate)
    assert took.mean() == pytest.approx(rate, abs=4 * (variance / took.size) ** 0.5)
    for axis, count in ((1, n), (0, steps)):  # batch sizes, and how often each record was drawn, are binomial
        spread = took.sum(axis).var(ddof=1) / (count * variance)
        freedom = took.shape[1 - axis] - 1
        assert 1e-3 < stats.chi2.cdf(freedom * spread, freedom) < 1 - 1e-3
    assert abs(np.corrcoef(took[:-1].ravel(), took[1:].ravel())[0, 1]) < 4 / took.size**0.5
    assert abs(np.corrcoef(took[:, :-1].ravel(), took[:, 1:].ravel())[0, 1]) < 4 / took.size**0.5


def test_who_takes_part_is_as_secret_as_the_key_and_does_not_depend_on_the_others():
    took = who_took_part(50, 0.5, 20)
    assert (took == who_took_part(50, 0.5, 20)).all()
    assert (took[:, :40] == who_took_part(40, 0.5, 20)).all()
    assert abs((took == who_took_part(50, 0.5, 20, Coins(bytes(32)))).mean() - 0.5) < 0.07


def test_a_step_beyond_the_plan_is_refused(denoiser):
    images, labels = records(3)
    wrapped = privacy.PerExample(denoiser)
    with pytest.raises(ValueError, match="step=3 < steps=3: the plan pays for no more"):
        private(images, labels).gradient(wrapped, loss_of(wrapped), charge(gradients()), 3, 8)
    with pytest.raises(ValueError, match="is not planned as Gradients; nothing was touched"):
        private(images, labels).gradient(wrapped, loss_of(wrapped), charge(Counts("q", 1, 1.0)), 0, 8)


def test_no_noise_is_drawn_twice_and_no_charge_opens_another_set(denoiser):
    images, labels = records(4)
    toy, once = private(images, labels), charge(Counts("query", 2, 4.0))
    toy.count(votes(2), 20, once)
    with pytest.raises(ValueError, match="was drawn already under this charge"):
        toy.count(votes(2), 20, once)
    wrapped, steps = privacy.PerExample(denoiser), charge(gradients())
    toy.gradient(wrapped, loss_of(wrapped), steps, 0, 8)
    toy.gradient(wrapped, loss_of(wrapped), steps, 1, 8)
    with pytest.raises(ValueError, match="was drawn already under this charge"):
        toy.gradient(wrapped, loss_of(wrapped), steps, 1, 8)
    mechanism = Counts("query", 2, 4.0)
    with pytest.raises(ValueError, match="query is not in the plan as the charge has it; nothing was touched"):
        toy.count(votes(2), 20, Charge(mechanism, Plan("toy", 9, 10.0, 1e-5, ()), "release", COINS))
    other = Plan("other", 9, 10.0, 1e-5, ())
    with pytest.raises(ValueError, match="the charge is for other, not for toy; nothing was touched"):
        toy.count(votes(2), 20, Charge(Counts("query", 2, 4.0), other, "release", COINS))


def votes(k):
    def cast(x, labels, draws):
        return (x.flatten(1)[:, :1].abs() * 50).long() % 17 + torch.arange(k)

    return cast


@pytest.mark.parametrize(("k", "by_label"), [(1, True), (3, True), (3, False)])
@pytest.mark.parametrize("n", [0, 1, 20])
def test_one_more_record_moves_the_histogram_by_exactly_its_votes(k, by_label, n):
    images, labels = records(n + 1)
    mechanism = Counts("query", k, 4.0)
    a, b = (
        private(images[:m], labels[:m]).count(votes(k), 20, charge(mechanism), by_label=by_label).double()
        for m in (n, n + 1)
    )
    assert (b - a).norm().item() == pytest.approx(mechanism.sensitivity)
    assert a.shape == (3 if by_label else 1, 20)


def test_count_noise_is_integer_with_the_declared_standard_deviation():
    images, labels = records(0)
    mechanism = Counts("query", 5, 4.0)
    noise = private(images, labels).count(votes(5), 5000, charge(mechanism)).double()
    assert noise.std().item() == pytest.approx(4.0 * 5**0.5, rel=0.03)
    assert torch.equal(noise, noise.round())


def test_votes_that_would_break_the_proof_are_refused():
    images, labels = records(4)
    toy = private(images, labels)
    with pytest.raises(ValueError, match="voted twice"):
        toy.count(lambda x, y, d: torch.zeros(len(x), 2, dtype=torch.int64), 5, charge(Counts("query", 2, 4.0)))
    with pytest.raises(ValueError, match="must cast 2 votes"):
        toy.count(lambda x, y, d: torch.zeros(len(x), 3, dtype=torch.int64), 5, charge(Counts("query", 2, 4.0)))
    with pytest.raises(ValueError, match="bins below 5"):
        toy.count(lambda x, y, d: torch.tensor([[0, 5]]).expand(len(x), 2), 5, charge(Counts("query", 2, 4.0)))


def test_evaluation_opens_benchmarks_only_and_a_private_set_tells_nothing_else():
    images, labels = records(4)
    assert privacy.evaluation(private(images, labels), "a figure")[0] is images
    with pytest.raises(PermissionError, match="a figure: toy is not a public benchmark"):
        privacy.evaluation(private(images, labels, builtin=False), "a figure")
    public = [name for name in dir(private(images, labels)) if not name.startswith("_")]
    assert sorted(public) == [
        "builtin", "classes", "count", "gradient", "identity", "n_records", "name", "seal", "shape", "total",
    ]  # fmt: skip


def test_more_or_fewer_answers_than_rows_are_refused_as_it_is_not_known_whose_they_are(denoiser):
    images, labels = records(6)
    wrapped = privacy.PerExample(denoiser)

    def twice(x, y, draws):  # each record is seen in two rows, which lie apart
        return loss_of(wrapped)(torch.cat([x, x]), torch.cat([y, y]), draws_of_both(draws))

    def draws_of_both(draws):
        class Both:
            def normal(self, *shape):
                return torch.cat([draws.normal(*shape), draws.normal(*shape)])

            def uniform(self):
                return torch.cat([draws.uniform(), draws.uniform()])

        return Both()

    with pytest.raises(ValueError, match="8 rows were asked and gave answers of shape \\(16,\\): whose"):
        one_step(denoiser, images, labels, gradients(rate=1.0), loss=twice, wrapped=wrapped)
    sums, counts = privacy.Sums("sum", 1.0, 1.0, 6.0), Counts("votes", 1, 4.0)
    for rows in (1, 512):
        with pytest.raises(ValueError, match="256 rows were asked"):
            private(images, labels).total(lambda x, y, d, n=rows: torch.ones(n, 2), 2, charge(sums))
        with pytest.raises(ValueError, match="256 rows were asked"):
            private(images, labels).count(lambda x, y, d, n=rows: torch.zeros(n, 1).long(), 3, charge(counts))
