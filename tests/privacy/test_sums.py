"""`total`: bounded sums over a constant, replayed on neighbours; and the counts of label-aware, repeated votes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dpsynth import privacy
from dpsynth.budget.calibration import make_plan
from dpsynth.privacy import Charge, Coins, Counts, Plan, Private, Sums, accounting, engine

COINS = Coins(bytes(range(32)))
CLASSES = ("a", "b", "c")


def private(vectors, labels):
    """A set whose record i holds the vector `vectors[i]`, coded as bytes that `decode` turns back."""
    images = torch.from_numpy(
        np.asarray(vectors, dtype=np.float32).view(np.uint8).reshape(len(vectors), 1, 1, 4 * vectors.shape[1])
    )
    return Private(name="toy", images=images, labels=labels, classes=CLASSES, n_records=9, builtin=True)


def decode(x, labels, draws):
    """The vector that each record holds: (B, D)."""
    bytes_ = ((x + 1) * 127.5).round().to(torch.uint8).flatten(1).numpy()
    return torch.from_numpy(np.ascontiguousarray(bytes_).view(np.float32).copy())


def charge(mechanism):
    return Charge(mechanism, Plan("toy", 9, 10.0, 1e-5, (mechanism,)), "release", COINS)


def total(vectors, labels, mechanism, by_label=False, step=0):
    return private(vectors, labels).total(decode, vectors.shape[1], charge(mechanism), step, by_label=by_label)


def quiet(bound=1.0, divisor=1.0, rate=1.0):
    return Sums("means", bound, 1e-12, divisor, rate, 3)


def vectors(n, dim=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


@pytest.mark.parametrize("by_label", [False, True])
def test_a_total_is_the_sum_of_the_scaled_down_vectors_over_the_constant(by_label):
    v, labels = vectors(300), torch.arange(300) % 3
    found = total(v, labels, quiet(bound=2.0, divisor=7.0), by_label)
    norms = np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True)
    short = v * np.minimum(1, 2.0 * engine.MARGIN / norms)
    rows = [short[labels == c].sum(0) for c in range(3)] if by_label else [short.sum(0)]
    np.testing.assert_allclose(found.numpy(), np.stack(rows) / 7.0, atol=1e-9)


def test_what_leaves_lies_on_a_constant_grid():
    """Else a coordinate near zero would tell, by its last digits, how large the sum under the noise was."""
    mechanism = Sums("means", 1.0, 3.0, 1.0, 1.0, 3)
    found = total(vectors(300), torch.arange(300) % 3, mechanism).numpy()
    places = found / 2.0 ** (math.frexp(3.0)[1] - 20)
    assert np.array_equal(places, places.round()) and np.abs(places).max() > 2**10
    noisy = np.array([1.0, -2.0]) / 3
    assert np.abs(mechanism.snapped(noisy) - noisy).max() <= 3.0 * 2.0**-20


@pytest.mark.parametrize("case", ["plain", "huge", "nan", "inf", "zero", "duplicate", "empty set", "empty class"])
@pytest.mark.parametrize("by_label", [False, True])
def test_one_more_record_moves_a_total_by_at_most_the_bound(case, by_label):
    v, labels = vectors(9), torch.arange(9) % 3
    extreme = {"huge": 1e30, "nan": math.nan, "inf": math.inf, "zero": 0.0}
    if case in extreme:
        v[8] = extreme[case]
    if case == "duplicate":
        v[8] = v[7]
    if case == "empty class":
        labels = torch.tensor([0, 1] * 4 + [2])
    start = 8 if case != "empty set" else 0
    mechanism = quiet(bound=0.5, divisor=1.0)
    before, after = (
        total(v[9 - n :] if start == 0 else v[:n], labels[:n], mechanism, by_label) for n in (start, start + 1)
    )
    moved = (after - before).norm().item()
    assert torch.isfinite(after).all()
    assert moved <= mechanism.sensitivity
    assert (moved < 1e-9) == (case in ("nan", "inf", "zero"))
    if by_label and moved > 1e-9:
        assert ((after - before).abs().sum(1) > 1e-9).sum() == 1  # its own row alone


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    n=st.integers(0, 40), dim=st.integers(1, 20), bound=st.floats(1e-3, 1e3), scale=st.floats(1e-6, 1e6),
    rate=st.floats(0.05, 1.0), divisor=st.floats(0.5, 1e4), by_label=st.booleans(), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_for_any_shape_bound_and_rate_one_more_record_stays_within_the_sensitivity(
    n, dim, bound, scale, rate, divisor, by_label, seed
):
    v, labels = (scale * vectors(n + 1, dim, seed)).astype(np.float32), torch.arange(n + 1) % 3
    mechanism = Sums("means", bound, 1e-12, divisor, rate)
    before, after = (total(v[:m], labels[:m], mechanism, by_label) for m in (n, n + 1))
    moved = (after - before).norm().item() * divisor
    drawn = COINS.uniforms(("poisson", 0), n + 1)[n] < rate
    assert moved <= mechanism.sensitivity
    assert moved == pytest.approx(
        min(bound * engine.MARGIN, np.linalg.norm(v[n].astype(float))) * drawn, abs=1e-6 * bound
    )


def test_the_first_release_is_step_zero():
    v, labels, once = vectors(9), torch.zeros(9, dtype=torch.int64), Sums("means", 1.0, 2.0, 1.0, 1.0, 1)
    by_default = private(v, labels).total(decode, v.shape[1], charge(once))
    np.testing.assert_array_equal(by_default, total(v, labels, once, step=0))


def test_noise_of_a_total_is_normal_at_the_declared_deviation_and_fresh_each_step():
    mechanism = Sums("means", 0.3, 5.0, 20.0, 1.0, 2)
    nothing, labels = np.zeros((0, 20_000), dtype=np.float32), torch.zeros(0, dtype=torch.int64)
    first, second = (total(nothing, labels, mechanism, step=step).flatten().numpy() for step in (0, 1))
    for noise in (first, second):
        assert stats.kstest(noise / (0.3 * 5.0 / 20.0), "norm").pvalue > 1e-3
        spread = len(noise) * noise.var() / (0.3 * 5.0 / 20.0) ** 2
        assert 1e-3 < stats.chi2.cdf(spread, len(noise)) < 1 - 1e-3
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


def test_the_divisor_of_a_total_does_not_know_how_many_records_there_are():
    v, labels = np.zeros((6, 4), dtype=np.float32), torch.zeros(6, dtype=torch.int64)
    mechanism = Sums("means", 1.0, 1.0, 9.0)
    assert torch.equal(total(v[:5], labels[:5], mechanism), total(v, labels, mechanism))


def test_a_vector_of_another_shape_is_refused():
    toy, asked = private(vectors(4), torch.zeros(4, dtype=torch.int64)), charge(quiet())
    with pytest.raises(ValueError, match=r"must give a vector of 5 numbers, got shape \(6,\)"):
        toy.total(decode, 5, asked)
    with pytest.raises(ValueError, match="is not planned as Sums; nothing was touched"):
        toy.total(decode, 6, charge(Counts("query", 1, 1.0)))


def test_sums_cost_what_the_gaussian_mechanism_costs():
    def analytic_delta(noise, epsilon):  # Balle and Wang 2018, Theorem 8
        return stats.norm.cdf(0.5 / noise - epsilon * noise) - math.exp(epsilon) * stats.norm.cdf(
            -0.5 / noise - epsilon * noise
        )

    for steps, bound in ((1, 1.0), (4, 3.0)):
        once = [Sums("means", bound, 3.0 * steps**0.5, 1.0, 1.0, steps)]
        epsilon, replaced = (accounting.epsilon(once, 1e-5, replace=replace) for replace in (False, True))
        assert analytic_delta(3.0, epsilon) == pytest.approx(1e-5, rel=0.02)
        assert analytic_delta(1.5, replaced) == pytest.approx(1e-5, rel=0.02)
    drawn, sgd = Sums("means", 2.0, 2.0, 1.0, 0.3, 150), privacy.Gradients("sgd", 0.3, 150, 2.0, 7.0, 1, 1.0)
    assert accounting.epsilon([drawn], 1e-5) == accounting.epsilon([sgd], 1e-5)


def test_a_learner_that_counts_or_sums_is_calibrated_as_dp_sgd_is():
    for touches in ([Counts("query", 5, 6.0), Sums("means", 1.0, 1.0, 1.0)], [Counts("votes", 1, 1.0, steps=5)]):
        plan = make_plan("set", 4000, 2.0, 1e-5, touches)
        assert 2.0 * (1 - 1e-3) <= plan.spent() <= 2.0
        assert [m.noise_multiplier for m in plan.mechanisms[:-1]] == [m.noise_multiplier for m in touches[:-1]]


def test_repeated_histograms_draw_fresh_noise_and_compose():
    toy, votes = private(vectors(0, 1), torch.zeros(0, dtype=torch.int64)), charge(Counts("votes", 1, 4.0, steps=2))
    first, second = (toy.count(lambda x, y, d: y[:, None], 4000, votes, step) for step in range(2))
    assert abs(np.corrcoef(first.flatten(), second.flatten())[0, 1]) < 0.05
    with pytest.raises(ValueError, match="step=2 < steps=2: the plan pays for no more"):
        toy.count(lambda x, y, d: y[:, None], 4000, votes, 2)
    one, two = (accounting.epsilon([Counts("votes", 1, 4.0, steps=n)], 1e-5) for n in (1, 2))
    assert accounting.epsilon([Counts("votes", 1, 4.0)] * 2, 1e-5) == pytest.approx(two) and two > 1.3 * one


def test_votes_may_depend_on_the_label_and_on_addressed_draws():
    labels = torch.arange(50) % 3

    def cast(x, y, draws):
        return (y * 10 + (draws.uniform() * 10).long())[:, None]

    quiet_counts = Counts("votes", 1, 1e-3)
    found = [private(vectors(n, 1), labels[:n]).count(cast, 30, charge(quiet_counts)) for n in (49, 50)]
    assert all(found[1][c, 10 * c : 10 * c + 10].sum() == (labels == c).sum() for c in range(3))
    assert (found[1] - found[0]).abs().sum() == 1  # the draws of the other records did not move
