"""Verdicts by rules, on results that are made up so that the right verdict is known."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from dpsynth.artifacts import Answers
from dpsynth.experiments import Experiment
from dpsynth.pipeline import Run
from dpsynth.report import claims, measures, results, run_files
from dpsynth.report.verdicts import AGREES, CANNOT_TELL, DISAGREES, ILLUSTRATION, NOT_COMPARABLE, NOT_RUN, together

GAMMAS = [0.0, 0.1, 0.2, 0.5]
ORDER = {"rule": "order", "claim": "perturbation helps", "metric": "recall"}
PAIR = {"better": {"amp_gamma": 0.2}, "than": {"amp_gamma": 0.0}}


def experiment(*rules, scale="smoke", **given) -> Experiment:
    over = [{"method": ["rpgen"], "amp_gamma": GAMMAS, "seed": [0, 1, 2]}]
    return Experiment(
        name="toy", reproduces="a test", items=["RPGen Figure 3"], compare=list(rules), common={"scale": scale},
        **{"over": over, **given},
    )  # fmt: skip


def made(of: Experiment, value, metric="recall", at=None, seeds=(0, 1, 2), n=1000) -> pd.DataFrame:
    """Results in which each run's metric is `value(p)`."""
    rows = [
        {
            "experiment": of.name, "variant": "", "scale": p.scale, "dataset": p.private, "method": p.row_name,
            "epsilon_target": p.epsilon, "seed": p.seed, "metric": metric, "at": at, "value": value(p),
            "n_reference": n, "commit": "abc", "params_digest": p.digest,
        }
        for p in of.points() if p.seed in seeds
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=results.COLUMNS).astype({"at": float})


def verdicts(of: Experiment, *parts: pd.DataFrame) -> list[str]:
    return [one.verdict for one in claims.judge(of, pd.concat(parts))]


def gamma(p):
    return p.options["amp_gamma"]


def jitter(p):
    return 0.002 * (p.seed - 1) * (1 + gamma(p))


@pytest.mark.parametrize(
    ("slope", "expected"), [(1, AGREES), (-1, DISAGREES), (0, CANNOT_TELL)], ids=["better", "worse", "equal"]
)
def test_an_order_is_told_by_the_sign_of_the_paired_difference(slope, expected):
    of = experiment(ORDER | PAIR)
    (one,) = claims.judge(of, made(of, lambda p: slope * gamma(p) + jitter(p)))
    assert one.verdict == expected and one.seeds == 3
    low, high = map(float, one.interval.split(" to "))
    assert low < float(one.ours) < high and float(one.ours) == pytest.approx(slope * 0.2, abs=2e-3)


def test_lower_is_better_of_a_distance_and_the_one_that_was_measured_is_named():
    of = experiment(ORDER | PAIR | {"metric": "FD"})
    (one,) = claims.judge(of, made(of, lambda p: 10 - 20 * gamma(p) + jitter(p), "FD-effnet"))
    assert (one.verdict, one.metric) == (AGREES, "FD-effnet")


def test_seeds_are_paired_so_that_what_they_share_does_not_count():
    of = experiment(ORDER | PAIR)
    assert verdicts(of, made(of, lambda p: p.seed + gamma(p) + jitter(p))) == [AGREES]


def test_one_seed_cannot_tell():
    of = experiment(ORDER | PAIR)
    (one,) = claims.judge(of, made(of, gamma, seeds=(0,)))
    assert (one.verdict, one.interval, one.seeds) == (CANNOT_TELL, "", 1)


def test_the_test_sets_own_error_counts_for_accuracies():
    of = experiment(ORDER | PAIR | {"metric": "CA-CNN"})
    by_two_points = lambda p: 80 + 10 * gamma(p) + jitter(p)  # noqa: E731
    (one,) = claims.judge(of, made(of, by_two_points, "CA-CNN", n=1000))
    assert (one.verdict, one.needs) == (CANNOT_TELL, "a larger test set")
    (one,) = claims.judge(of, made(of, by_two_points, "CA-CNN", n=100_000))
    assert (one.verdict, one.needs) == (AGREES, "2 seeds")


def test_ca_is_the_mean_of_three_classifiers_and_wants_all_three():
    of = experiment(ORDER | PAIR | {"metric": "CA"})
    parts = [made(of, lambda p, k=k: 50 + k * gamma(p) + jitter(p), f"CA-{n}") for n, k in (("LR", 90), ("MLP", 90))]
    assert verdicts(of, *parts) == [NOT_RUN]
    (one,) = claims.judge(of, pd.concat([*parts, made(of, lambda p: 50 + jitter(p), "CA-CNN")]))
    assert float(one.ours) == pytest.approx((18 + 18 + 0) / 3, abs=0.1)


def test_seconds_are_summed_and_peaks_are_not():
    of = experiment(ORDER | PAIR | {"metric": ["seconds", "peak-MiB"]})
    parts = [made(of, lambda p: 10 * gamma(p) + jitter(p), f"{m}-{s}") for m in ("seconds", "peak-MiB") for s in "ab"]
    first, second = claims.judge(of, pd.concat(parts))
    assert (first.ours, second.ours) == ("+4", "+2") and first.verdict == second.verdict == DISAGREES


def test_beyond_is_the_difference_of_differences():
    other = {"better": {"amp_gamma": 0.5}, "than": {"amp_gamma": 0.1}}  # 0.4 apart, the first pair 0.2
    of = experiment(ORDER | PAIR | {"beyond": other})
    (one,) = claims.judge(of, made(of, lambda p: gamma(p) + jitter(p)))
    assert one.verdict == DISAGREES and float(one.ours) == pytest.approx(-0.2, abs=1e-3)


def test_lists_stand_for_pairs_and_all_must_hold():
    rule = ORDER | {"better": {"amp_gamma": [0.1, 0.2]}, "than": {"amp_gamma": 0.0}}
    of = experiment(rule)
    rows = claims.judge(of, made(of, lambda p: -abs(gamma(p) - 0.1) + jitter(p)))  # 0.2 is as good as 0
    assert [one.verdict for one in rows] == [AGREES, CANNOT_TELL] and claims.verdict_of(rows) == CANNOT_TELL
    with pytest.raises(ValidationError, match="lists of 2 and 3 values cannot be taken side by side"):
        experiment(rule | {"than": {"amp_gamma": [0.0, 0.0, 0.0]}})


@pytest.mark.parametrize(("loss", "expected"), [(0.05, AGREES), (0.1, CANNOT_TELL), (0.2, DISAGREES)])
def test_with_a_margin_no_worse_than_that_is_claimed(loss, expected):
    of = experiment(ORDER | PAIR | {"margin": 0.1})
    (one,) = claims.judge(of, made(of, lambda p: -loss * (gamma(p) == 0.2) + jitter(p)))
    assert one.verdict == expected and float(one.ours) == pytest.approx(-loss, abs=2e-3)
    of = experiment(ORDER | PAIR | {"margin": 0.1, "metric": "FD"})  # of which less is better
    (one,) = claims.judge(of, made(of, lambda p: loss * (gamma(p) == 0.2) + jitter(p), "FID"))
    assert one.verdict == expected


def test_intervals_of_several_pairs_hold_together():
    alone = experiment(ORDER | {"better": {"amp_gamma": 0.2}, "than": {"amp_gamma": 0.0}})
    pairs = experiment(ORDER | {"better": {"amp_gamma": [0.2, 0.2, 0.5]}, "than": {"amp_gamma": [0.0, 0.1, 0.0]}})

    def half(of):
        low, high = map(
            float, claims.judge(of, made(of, lambda p: gamma(p) + 10 * jitter(p)))[0].interval.split(" to ")
        )
        return (high - low) / 2

    assert half(pairs) / half(alone) == pytest.approx(stats.t.ppf(1 - 0.025 / 3, 2) / stats.t.ppf(0.975, 2), rel=0.2)


def test_the_interval_of_the_best_of_several_values_is_widened_by_their_number():
    rule = {"rule": "shape", "claim": "x", "over": "amp_gamma", "metric": "recall", "best": [0.0]}
    spread = {0: -1.0, 1: 0.0, 2: 1.0}  # of the differences at each seed: a deviation of 1
    for others in (1, 8):
        over = [{"method": ["rpgen"], "amp_gamma": [n / 10 for n in range(others + 1)], "seed": [0, 1, 2]}]
        of = experiment(rule, over=over)
        (one,) = claims.judge(of, made(of, lambda p: (5 + spread[p.seed]) * (gamma(p) == 0) - gamma(p)))
        low, high = map(float, one.interval.split(" to "))
        assert (high - low) / 2 == pytest.approx(stats.t.ppf(1 - 0.025 / others, 2) / math.sqrt(3), abs=2e-3)


@pytest.mark.parametrize(("best", "expected"), [([0.2], AGREES), ([0.1, 0.2], AGREES), ([0.0, 0.5], DISAGREES)])
def test_a_shape_has_its_best_where_it_is_claimed(best, expected):
    of = experiment({"rule": "shape", "claim": "x", "over": "amp_gamma", "metric": "recall", "best": best})
    assert verdicts(of, made(of, lambda p: -abs(gamma(p) - 0.2) + jitter(p))) == [expected]


def test_a_shape_that_is_flat_cannot_tell():
    of = experiment({"rule": "shape", "claim": "x", "over": "amp_gamma", "metric": "recall", "best": [0.2]})
    assert verdicts(of, made(of, lambda p: 0.5 + 0.01 * math.sin(7 * p.seed + 31 * gamma(p)))) == [CANNOT_TELL]


@pytest.mark.parametrize(("slope", "expected"), [(1, DISAGREES), (-1, AGREES), (0, CANNOT_TELL)])
def test_a_trend_is_the_sign_of_the_slope(slope, expected):
    of = experiment({"rule": "shape", "claim": "x", "over": "amp_gamma", "metric": "recall", "trend": "falls"})
    (one,) = claims.judge(of, made(of, lambda p: slope * GAMMAS.index(gamma(p)) + jitter(p)))
    assert one.verdict == expected and float(one.ours) == pytest.approx(slope, abs=1e-3)


def test_a_trend_over_a_curves_own_axis():
    rule = {"rule": "shape", "claim": "x", "over": "at", "metric": "recall-of-picks", "trend": "falls"}
    of = experiment(rule | {"where": {"amp_gamma": 0.0}})
    parts = [made(of, lambda p, a=a: 1 / a + jitter(p), "recall-of-picks", at=a) for a in (1.0, 2.0, 4.0)]
    assert verdicts(of, *parts) == [AGREES]
    assert verdicts(of, made(of, gamma)) == [NOT_RUN]


def test_a_value_is_judged_at_scale_paper_or_anywhere_if_the_claim_is():
    rule = {
        "rule": "value",
        "claim": "x",
        "of": {"amp_gamma": 0.2},
        "metric": "recall",
        "expected": 1,
        "tolerance": 0.1,
    }
    for value, expected in ((1.05, AGREES), (2.0, DISAGREES), (1.1, CANNOT_TELL)):
        of = experiment(rule | {"anywhere": True})
        assert verdicts(of, made(of, lambda p, v=value: v + jitter(p))) == [expected]
        of = experiment(rule)
        assert verdicts(of, made(of, lambda p, v=value: v + jitter(p))) == [NOT_COMPARABLE]


def test_published_cells_stand_beside_ours_and_are_not_comparable_on_other_data():
    of = experiment({"rule": "cells", "table": "RPGen, Table 1"}, over=[{"method": ["rpgen"], "seed": [0, 1]}])
    rows = claims.judge(of, made(of, lambda p: 70.0 + p.seed, "CA-CNN"))
    (cell,) = [one for one in rows if one.metric == "CA-CNN"]
    assert (cell.paper, cell.ours, cell.verdict, cell.seeds) == ("CA-CNN 73.4", "70.5", NOT_COMPARABLE, 2)
    assert {one.verdict for one in rows} == {NOT_COMPARABLE, NOT_RUN}


def test_on_the_papers_data_and_scale_a_cell_is_judged_within_its_tolerance():
    of = experiment(
        {"rule": "cells", "table": "RPGen, Table 1"}, scale="paper",
        over=[{"method": ["rpgen"], "private": ["cifar10"], "public": ["tiny_imagenet32"], "seed": [0, 1]}],
    )  # fmt: skip
    for value, expected in ((73.0, AGREES), (60.0, DISAGREES), (71.4, CANNOT_TELL)):
        rows = made(of, lambda p, v=value: v + 0.01 * p.seed, "CA-CNN", seeds=(0, 1), n=10_000)
        (cell,) = [one for one in claims.judge(of, rows) if one.metric == "CA-CNN"]
        assert cell.verdict == expected


def test_settings_and_illustrations_have_their_own_words():
    of = experiment(
        {"rule": "settings", "paper": "PrivImage", "table": "Table 7"},
        {"rule": "illustration", "claim": "x"},
        scale="laptop",
    )
    settings, drawing = claims.judge(of, made(of, gamma, seeds=()))
    assert (settings.verdict, drawing.verdict) == (NOT_COMPARABLE, ILLUSTRATION) and settings.paper == "3 settings"


def test_results_of_other_settings_than_todays_are_not_seen():
    of = experiment(ORDER | PAIR)
    assert verdicts(of, made(of, gamma).assign(params_digest="of before")) == [NOT_RUN]


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (
            ORDER | PAIR | {"better": {"amp_gamma": 0.3}},
            "toy: a rule names {'amp_gamma': 0.3}, which no run of the file",
        ),
        (ORDER | PAIR | {"than": {"amp_gamma": 0.3}}, "which no run of the file has"),
        (ORDER | PAIR | {"better": {"method": "rpgen"}}, "which several runs have at one seed"),
        (ORDER | PAIR | {"metric": "beauty"}, "no metric is called 'beauty'"),
        (
            {"rule": "shape", "claim": "x", "over": "votess", "metric": "recall", "trend": "falls"},
            "a rule is over 'votess', which its runs do not have",
        ),
        (
            {"rule": "cells", "table": "RPGen, Table 9"},
            "a rule names 'RPGen, Table 9', which published.csv does not have",
        ),
        (
            {"rule": "shape", "claim": "x", "over": "amp_gamma", "metric": "recall", "best": [0.3]},
            "a rule names amp_gamma 0.3, which no run of the file has",
        ),
    ],
)
def test_a_rule_that_names_what_there_is_not_is_refused(rule, sentence):
    of = experiment(rule)
    with pytest.raises(ValueError, match=sentence.replace("{", r"\{")):
        claims.judge(of, made(of, gamma))


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (
            ORDER | PAIR | {"item": "RPGen Figure 55"},
            "a rule is of the item 'RPGen Figure 55', and items has RPGen Figure 3",
        ),
        (ORDER | PAIR | {"metric": []}, "at least 1 item"),
        (
            ORDER | PAIR | {"beyond": {"better": {"amp_gamma": [0.1, 0.2]}, "than": {"amp_gamma": 0.0}}},
            "other numbers of",
        ),
        ({"rule": "shape", "claim": "x", "over": "amp_gamma", "metric": "recall", "best": []}, "at least 1 item"),
    ],
)
def test_a_rule_that_says_nothing_is_refused_when_the_file_is_read(rule, sentence):
    with pytest.raises(ValidationError, match=sentence):
        experiment(rule)


@pytest.mark.parametrize("column", ["scale", "dataset", "commit"])
def test_mixed_results_are_refused_by_name(column):
    of = experiment(ORDER | PAIR)
    rows = made(of, gamma)
    rows.loc[0, column] = "another"
    with pytest.raises(ValueError, match=f"results of toy mix several values of {column} .*another"):
        claims.judge(of, rows)


def test_one_verdict_for_several_cells():
    assert together([AGREES, NOT_RUN, CANNOT_TELL]) == NOT_RUN and together([AGREES, DISAGREES, NOT_RUN]) == DISAGREES


def test_where_each_images_answers_are_kept_the_error_is_of_the_images_on_which_both_differ():
    of = experiment(ORDER | PAIR | {"metric": "CA-CNN"})
    n, shared = 1000, np.arange(1000) < 800  # of which 30 more are right with perturbation, at each seed
    right = {p.digest: shared | (np.arange(n) >= 970) if gamma(p) == 0.2 else shared for p in of.points()}
    rows = made(of, lambda p: 100 * right[p.digest].mean() + jitter(p), "CA-CNN", n=n)
    (apart,) = claims.judge(of, rows)
    kept = {(digest, "CA-CNN"): answers.astype(float) for digest, answers in right.items()}
    (together_,) = claims.judge(of, rows, kept)
    assert (apart.verdict, together_.verdict) == (CANNOT_TELL, AGREES)
    low, high = map(float, together_.interval.split(" to "))
    assert (high - low) / 2 == pytest.approx(1.96 * 100 * math.sqrt(0.03 * 0.97 / n), abs=0.06)
    of_one_side = {key: answers for key, answers in kept.items() if key[0] == of.points()[0].digest}
    assert claims.judge(of, rows, of_one_side) == [apart]


def test_answers_are_written_joined_and_read_as_they_were(tmp_path, monkeypatch):
    of = experiment(ORDER | PAIR, measures=["quality", "answers"])
    monkeypatch.setattr(results.project, "root", lambda: tmp_path)
    right = {name: torch.arange(13) % k == 0 for k, name in enumerate(("CA-LR", "CA-MLP"), 2)}
    monkeypatch.setattr(measures, "answers", lambda run: Answers(right))
    points = of.points()[:2]
    for p in points:
        assert run_files.write_measure(Run(p), "answers").name == "answers.npz"
    assert results.tables_of(of) == ["metrics.csv"]
    read = results.read_answers(results.join_answers("smoke", of, points))
    assert set(read) == {(p.digest, name) for p in points for name in right}
    for (_, name), answers in read.items():
        assert answers[:13].tolist() == right[name].tolist() and not answers[13:].any()
    assert results.read_answers(tmp_path / "none.npz") == {}
