"""Claims of the papers beside their own cells: each number, each verdict, and that these follow from published.csv."""

import pandas as pd
import pytest

from dpsynth.report import arithmetic, printed, results
from dpsynth.report.printed import Claim
from dpsynth.report.rounding import Rounded

# What is printed, a reading as it is shown, the verdict; in the order of `checks`.
RPGEN = [
    ("-20.18", "-15.59 (-15.90 to -15.28); percent, of sums -20.20 (-20.45 to -19.95)", "agrees"),
    ("5.45", "cells 4.05 (3.79 to 4.30); percent, of sums 4.49 (4.26 to 4.72)", "disagrees"),
    ("18", "columns 18", "agrees"),
    ("4.6", "points 4.60 (4.50 to 4.70)", "agrees"),
    ("-3.99", "percent -3.99 (-4.34 to -3.63)", "agrees"),
    ("-13.76", "percent -13.76", "agrees"),
    ("-13.05", "percent -13.05", "agrees"),
    ("-3.5", "points, mean over cells -3.53", "agrees"),
    ("-8.2", "points, mean over cells -8.23", "agrees"),
    ("4.3", "percent 4.15 (3.77 to 4.54)", "agrees"),
    (
        "-3.6",
        "points, mean over cells -2.20 (-2.30 to -2.10); percent, mean over cells -3.95 (-4.18 to -3.72)",
        "disagrees",
    ),
    ("2", "1.48 (1.48 to 1.48); not as said: PDP-Diffusion in Table 1, without selection and AMP 2.52", "disagrees"),
    ("5", "by its ablation 20", "disagrees"),
    ("5", "by its ablation 5", "agrees"),
    ("202525", "sum of its parts 202599", "disagrees"),
    ("60000", "sum of its parts 60000", "agrees"),
    ("108", "equal cells 108", "agrees"),
    ("5", "equal cells 5", "agrees"),
]
PRIVIMAGE = [
    ("12", "equal cells 9", "disagrees"),  # its Table 3 beside its Table 2
    ("-30.1", "percent, mean over cells -30.13", "agrees"),
    ("12.6", "points, mean over cells 13.07 (12.97 to 13.17)", "disagrees"),
    ("18", "columns 18", "agrees"),
    ("-44.5", "PRIVIMAGE+G, percent -57.93 (-58.04 to -57.83); not as said: PRIVIMAGE+D", "disagrees"),
    ("-16.4", "PRIVIMAGE+G, percent -16.37", "agrees"),
    ("-26.0", "PRIVIMAGE+G, percent -25.97", "agrees"),
    ("37.9", "points, with +D of Table 3 37.90 (37.80 to 38.00)", "agrees"),
    ("7.8", "percent 7.97 (7.59 to 8.35)", "agrees"),
    ("7.2", "percent 69.04 (68.56 to 69.52)", "disagrees"),
    ("23.7", "percent 30.99 (30.82 to 31.16); not as said: percent of that at 1 23.66", "disagrees"),
    ("41.0", "percent 41.05", "agrees"),
    ("36.1", "percent 36.13", "agrees"),
    ("18.1", "percent 18.06", "agrees"),
    ("49.1", "percent 49.12", "agrees"),
    ("50.6", "percent 50.58", "agrees"),
    ("68.2", "percent 68.25 (67.55 to 68.97)", "agrees"),
    ("-6.5", "points, mean over cells -6.57 (-6.67 to -6.47)", "agrees"),
    ("-1.4", "points, mean over cells -1.33 (-1.43 to -1.23)", "agrees"),
    ("-11.2", "points, mean over cells -11.27 (-11.37 to -11.17)", "agrees"),
    ("-50", "percent, of peaks -49.72 (-50.14 to -49.29); percent, of sums -43.67", "agrees"),
    ("-48", "percent, of sums -47.79", "agrees"),
    ("-5", "percent -5.28", "agrees"),
    ("29", "points, mean over cells 29.10", "agrees"),
    ("46.6", "points 46.64", "agrees"),
    ("18.0", "points 18.04", "agrees"),
    ("22.6", "points 22.61", "agrees"),
    ("-5.7", "points, mean over cells -5.66", "agrees"),
    ("7.6", "Sec. 6.2 7.62", "agrees"),
    ("1.8", "both 11.79 (11.78 to 11.80)", "disagrees"),
    ("1.8", "Table 5 1.75", "agrees"),
    ("1", "CIFAR-10, images of Table 1 4.92", "agrees"),  # for CelebA
    ("1", "images of Table 1 4.92 (4.70 to 5.16); caption of Figure 7 5.00", "disagrees"),
    ("5", "caption of Figure 7 1.00", "disagrees"),
    ("0.01", "by Theorem E.2 0.01", "agrees"),
    ("0.001", "by Theorem E.2 0.001", "agrees"),
]
OTHERS = [
    ("97.3", "best of three classifiers 97.26 (97.26 to 97.27); their mean, as its code logs 96.76", "agrees"),
    ("83.4", "their mean, as its code logs 82.23", "agrees"),
    ("90.0", "their mean, as its code logs 88.47", "agrees"),
    ("84.0", "their mean, as its code logs 81.45", "agrees"),
    ("24.5", "by its abstract 25.70 (25.65 to 25.75)", "disagrees"),
    ("2.8", "by its abstract 4.10", "disagrees"),
    ("28.8", "plotted by FETA-Pro, with the same accuracy 53.50", "disagrees"),
]


@pytest.fixture(scope="module")
def checks():
    return arithmetic.checks()


@pytest.mark.parametrize("k", range(len(RPGEN + PRIVIMAGE + OTHERS)))
def test_each_claim_has_its_numbers_and_its_verdict(checks, k):
    (number, reading, verdict), row = (RPGEN + PRIVIMAGE + OTHERS)[k], checks.iloc[k]
    assert (row["printed"], row["verdict"]) == (number, verdict) and reading in row["recomputed"], row.to_dict()


def test_every_claim_is_a_sentence_with_the_printed_number_and_there_are_no_others(checks):
    assert list(checks.columns) == ["source", "claim", "printed", "recomputed", "verdict"]
    sources = ["RPGen"] * len(RPGEN) + ["PrivImage"] * len(PRIVIMAGE) + ["FETA-Pro"] * 6 + ["DPImageBench"]
    assert list(checks["source"]) == sources
    assert not checks["claim"].duplicated().any()
    for claim, number in zip(checks["claim"], checks["printed"], strict=True):
        assert claim.endswith(".") and "{" not in claim and f"{number.lstrip('-')}" in claim


def test_every_change_that_a_text_prints_is_checked_or_comes_from_no_table(checks):
    text = printed.numbers().query("table == 'text' and metric.str.endswith('change')")
    unchecked = text[~text["value"].isin(set(checks["printed"]))]
    ablation = "RPGen, selection ratio = 100%"  # of a figure; its FID is checked as a ratio
    assert set(unchecked["row"]) == {"PRIVIMAGE+D, 2.2M more parameters, against NonPriv", ablation}


@pytest.mark.parametrize(
    ("number", "reading", "agrees"),
    [
        ("50", 49.5, True), ("50", 49.49, False), ("-3.5", -3.53, True), ("-3.5", 3.53, False), ("2.0", 2.06, False),
        ("0.001", 0.00099, True), ("12", 11, False), ("50", Rounded(60, 50.5, 70), True),
        ("50", Rounded(60, 50.51, 70), False), ("50", Rounded(40, 30, 49.5), True),
        ("50", Rounded(40, 30, 49.4), False), ("50", Rounded(50.2, 30, 70), True),
    ],
)  # fmt: skip
def test_a_reading_agrees_if_its_range_has_what_rounds_to_the_printed_number(number, reading, agrees):
    assert Claim("a", "{}.", number, {"other": 1e6, "it": reading}).agrees == agrees
    assert not Claim("a", "{}.", number, {"other": 1e6}, instead={"it": reading}).agrees


def test_what_is_not_said_is_shown_beside_a_disagreement_alone():
    claim = Claim("a", "It is {} % less.", "-1.5", {"so": -1.54}, instead={"else": 2.0})
    row = {
        "source": "a",
        "claim": "It is 1.5 % less.",
        "printed": "-1.5",
        "recomputed": "so -1.54",
        "verdict": "agrees",
    }
    assert claim.row() == row
    recomputed = claim._replace(readings={"so": Rounded(-3.0, -3.125, -2.5), "cells": 7}).row()["recomputed"]
    assert recomputed == "so -3.00 (-3.12 to -2.50); cells 7; not as said: else 2.00"


def test_a_number_that_is_not_there_is_an_error():
    with pytest.raises(ValueError):
        printed.printed("RPGen", "RPGen", "FID change", "MNIST")


@pytest.mark.parametrize(
    ("cell", "value", "claim"),
    [
        ({"table": "Table 1", "row": "RPGen (Ours)", "dataset": "CelebA64", "epsilon": "1", "metric": "FID"}, "46", 2),
        (
            {"table": "Table 1", "row": "PRIVIMAGE+D", "dataset": "CelebA64", "epsilon": "1", "metric": "FID"},
            "71.3",
            16,
        ),
        ({"table": "text", "row": "test", "dataset": "CelebA", "epsilon": "", "metric": "images"}, "19888", 14),
    ],
)
def test_a_verdict_follows_from_the_cells(checks, tmp_path, monkeypatch, cell, value, claim):
    changed = printed.numbers().copy()
    at = (changed[list(cell)] == pd.Series(cell)).all(axis=1) & changed["source"].str.startswith("RPGen")
    assert at.sum() == 1
    changed.loc[at, "value"] = value
    changed.to_csv(tmp_path / "published.csv", index=False)
    monkeypatch.setattr(results, "PUBLISHED", tmp_path / "published.csv")
    printed.numbers.cache_clear()
    try:
        verdicts = arithmetic.checks()["verdict"]
    finally:
        printed.numbers.cache_clear()
    assert verdicts[claim] != checks["verdict"][claim]
