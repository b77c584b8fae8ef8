"""Paired differences of two rows: the arithmetic, and when a verdict is given."""

import math

import pandas as pd
import pytest

from dpsynth.report import paired
from dpsynth.report.paired import SHOWN, difference


def _row(values, metric="CA-LR", method="rpgen", variant="", epsilon=10.0, seeds=None):
    return pd.DataFrame(
        {
            "method": method, "variant": variant, "epsilon_target": epsilon, "metric": metric, "value": values,
            "seed": range(len(values)) if seeds is None else seeds, "n_reference": 1000,
        }
    )  # fmt: skip


def test_seeds_are_paired_whatever_their_order_and_those_of_one_row_alone_are_left_out():
    left, right = _row([80.0, 90.0, 70.0], seeds=[2, 0, 5]), _row([86.0, 77.0, 1.0], seeds=[0, 2, 9])
    found = difference(left, right, "CA-LR")
    assert (found.mean, found.n) == (3.5, 2)
    assert found.half_width == pytest.approx(12.706 * math.sqrt(0.5) / math.sqrt(2), rel=1e-4)  # t of one degree


def test_the_interval_is_students_over_seeds_with_the_error_of_the_test_set_beside():
    found = difference(_row([77.0, 78.0, 79.0]), _row([70.0, 70.0, 70.0]), "CA-LR")
    assert found.half_width == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert found.test_error == pytest.approx(math.sqrt(78 * 22 / 1000 + 70 * 30 / 1000))
    assert found.margin == pytest.approx(math.hypot(found.half_width, 1.95996 * found.test_error), rel=1e-5)


def test_metrics_that_are_no_accuracy_have_no_binomial_error():
    for metric in ("recall", "FD-convnet"):
        found = difference(_row([0.7, 0.8], metric), _row([0.2, 0.2], metric), metric)
        assert found.test_error == 0 and found.margin == found.half_width


def test_with_one_seed_there_is_no_interval_and_nothing_can_be_told():
    found = difference(_row([99.0]), _row([1.0]), "CA-LR")
    assert found.half_width is None and found.verdict == "cannot tell" and str(found) == "+98.0"


@pytest.mark.parametrize(
    ("metric", "ours", "verdict"),
    [
        ("CA-CNN", [90.0, 90.1], "better"), ("CA-CNN", [50.0, 50.1], "worse"), ("CA-CNN", [71.0, 71.1], "cannot tell"),
        ("FD-convnet", [60.0, 60.1], "better"), ("KID-convnet", [60.0, 60.1], "better"), ("FID", [80.0, 80.1], "worse"),
        ("recall", [71.0, 71.1], "better"), ("recall", [60.0, 90.0], "cannot tell"),
    ],
)  # fmt: skip
def test_a_verdict_needs_an_interval_without_zero_and_knows_which_way_is_better(metric, ours, verdict):
    assert difference(_row(ours, metric), _row([70.0, 70.0], metric), metric).verdict == verdict


def test_rows_without_a_common_seed_or_with_two_values_at_one_are_refused():
    with pytest.raises(ValueError, match="no seed has CA-LR of both rows"):
        difference(_row([1.0]), _row([1.0], seeds=[7]), "CA-LR")
    with pytest.raises(ValueError, match="two values of CA-LR at one seed"):
        difference(_row([1.0, 2.0], seeds=[0, 0]), _row([1.0]), "CA-LR")


def _results(*rows):
    """(method, variant, epsilon, value): all metrics at two seeds."""
    return pd.concat(
        [_row([v, v], metric, m, variant, e) for m, variant, e, v in rows for metric in SHOWN], ignore_index=True
    )


def test_each_method_is_compared_with_its_own_floor_and_base_and_with_no_others():
    results = _results(
        ("rpgen", "", 10.0, 90.0), ("rpgen", "", 1.0, 85.0), ("dpdm", "", 1.0, 50.0), ("privimage_g", "", 1.0, 60.0),
        ("rpgen", "kept 20", 1.0, 70.0), ("floor_public", "rpgen: kept 20", 1.0, 65.0),
        ("floor_public", "rpgen", 1.0, 80.0), ("floor_public", "rpgen", 10.0, 82.0), ("pretrained", "rpgen", 1.0, 81.0),
    )  # fmt: skip
    table = paired.table(paired.against(results)).set_index("difference")
    assert table["CA-LR"].str.split(" ").str[0].to_dict() == {
        "rpgen less its floor_public, ε 1": "+5.0", "rpgen less its pretrained, ε 1": "+4.0",
        "rpgen (kept 20) less its floor_public, ε 1": "+5.0", "rpgen less its floor_public, ε 10": "+8.0",
    }  # fmt: skip
    assert table.loc["rpgen less its floor_public, ε 10", "recall"] == "+8.000 ± 0.000, better"


def test_a_variant_is_compared_with_its_method_as_it_usually_runs():
    results = _results(
        ("dp_sapf", "learning_rate 0.02, share 0.1", 10.0, 60.0), ("dp_sapf", "learning_rate 0.02", 10.0, 80.0),
        ("dp_mepf", "", 10.0, 88.0),
    )  # fmt: skip
    table = paired.table(paired.beside_usual(results))
    assert table["difference"].tolist() == ["dp_sapf: learning_rate 0.02, share 0.1"]
    assert table["CA-LR"][0].startswith("-20.0 ±")


def test_images_without_labels_are_compared_by_distances_beside_sets_that_have_both():
    distances = ["recall", "FD-effnet"]
    labelled, plain = _results(("rpgen", "", 10.0, 9.0)), _results(("dpdm", "", 10.0, 8.0))
    labelled, plain = labelled[labelled["metric"] != "FID"], plain[plain["metric"].isin(distances)]
    table = paired.table([("one", labelled, labelled), ("other", labelled, plain)]).set_index("difference")
    assert "FID" not in table and list(table.columns[1:]) == [m for m in SHOWN if m != "FID"]
    assert table.loc["other", "CA-LR"] == "-" and table.loc["one", "CA-LR"].startswith("+0.0")
    assert table.loc["other", "FD-effnet"] == "+1.00 ± 0.00, worse"
    assert paired.stated(labelled, plain) == "better in recall (+1.000 ± 0.000); worse in FD-effnet (+1.00 ± 0.00)."


def test_what_is_said_of_two_rows_is_ordered_by_verdict():
    left, right = (_results(("rpgen", "", 10.0, value)) for value in (90.0, 70.0))
    left.loc[left["metric"] == "CA-MLP", "value"] = [60.0, 95.0]
    said = paired.stated(left, right)
    assert said.startswith("better in CA-LR (+20.0 ± ") and "; worse in FD-convnet (+20.00 ± 0.00)" in said
    assert said.endswith(".") and "; cannot tell in CA-MLP (+7.5 ± " in said
