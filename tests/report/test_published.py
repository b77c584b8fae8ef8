"""The numbers that papers and benchmarks print: counted, named, and two tables held against the papers' own text."""

import os
from pathlib import Path

import pandas as pd
import pytest

from dpsynth.methods import METHODS
from dpsynth.report import results

PAPERS = os.environ.get("DPSYNTH_PAPERS")  # a folder with the papers' text, which no checkout has
KEYS = ["source", "table", "row", "dataset", "method", "epsilon", "metric"]
RPGEN, PRIVIMAGE, BENCH = "RPGen (AAAI 2026)", "PrivImage (USENIX Security 2024)", "DPImageBench (CCS 2025)"
PRO, SAPF, DPDM = "FETA-Pro (USENIX Security 2026)", "DP-SAPF (USENIX Security 2026)", "DPDM (TMLR 2023)"
COUNTS = {  # RPGen's Table 2 without NonPriv on CelebA64, which its text, as we have it, does not show
    (RPGEN, "Table 1"): 162, (RPGEN, "Table 2"): 14, (RPGEN, "text"): 29,
    (PRIVIMAGE, "Table 1"): 8, (PRIVIMAGE, "Table 2"): 108, (PRIVIMAGE, "Table 3"): 27, (PRIVIMAGE, "Table 4"): 30,
    (PRIVIMAGE, "Table 5"): 3, (PRIVIMAGE, "Table 6"): 6, (PRIVIMAGE, "Table 8"): 10, (PRIVIMAGE, "Figure 7"): 15,
    (PRIVIMAGE, "Figure 8"): 6, (PRIVIMAGE, "text"): 39,
    ("DP-FETA (S&P 2025)", "abstract"): 2, ("DP-MEPF (TMLR 2023)", "abstract"): 1, ("PE (ICLR 2024)", "abstract"): 1,
    ("PDP-Diffusion (2023)", "abstract"): 6, (DPDM, "Table 1"): 72, (DPDM, "Table 4"): 2,
    (BENCH, "README Sec. 7"): 171, (BENCH, "plot/plot_eps_change.py"): 5, (BENCH, "plot/plot_size_change.py"): 6,
    (BENCH, "training_demo"): 32, (PRO, "abstract"): 2, (PRO, "README"): 2, (PRO, "plot/ablation.py"): 24,
    (PRO, "plot/plot_eps_changes.py"): 24, (PRO, "results_demo"): 50, (SAPF, "plot/plot_param_change.py"): 24,
    (SAPF, "plot/plot_selection_ratio_combined.py"): 39, (SAPF, "plot/plot_models_mechanism.py"): 4,
}  # fmt: skip
SETS = {"MNIST", "F-MNIST", "CIFAR-10", "CIFAR-100", "EuroSAT", "CelebA", "CelebA32", "CelebA64", "Camelyon17"}
ACCURACIES = {"accuracy", "CA", "CA-LR", "CA-MLP", "CA-CNN", "CA-ResNet", "CA-WRN", "CA-ResNeXt"}
CHANGES = {f"{of} change" for of in ("FID", "CA", "CA-LR", "CA-MLP", "CA-CNN", "GB", "hours")}
SIZES = {"GB", "hours", "minutes", "M weights", "M images", "K images", "images", "k", "weights share", "public share"}
SETTINGS = {"epsilon", "delta", "noise multiplier", "gamma", "selection ratio", "seeds"}
COLUMNS = [
    (metric, dataset, epsilon)
    for epsilon in (10, 5, 1)
    for metric, dataset in [("CA-LR", "CIFAR-10"), ("CA-MLP", "CIFAR-10"), ("CA-CNN", "CIFAR-10")]
    + [("FID", dataset) for dataset in ("CIFAR-10", "CelebA32", "CelebA64")]
]  # of RPGen's Table 1 and PrivImage's Table 2


@pytest.fixture(scope="module")
def numbers():
    return results.published()


def test_every_source_and_table_has_all_its_numbers_and_none_twice(numbers):
    assert numbers.groupby(["source", "table"]).size().to_dict() == COUNTS
    assert not numbers.duplicated(KEYS).any()


def test_every_number_says_what_it_is(numbers):
    assert list(numbers.columns) == [*KEYS, "value", "note"]
    assert (numbers.drop(columns=["method", "epsilon", "value"]) != "").all().all() and numbers["value"].notna().all()
    assert set(numbers["method"]) == {*METHODS, "nonprivate", "real", ""}
    assert set(numbers["dataset"]) == SETS | {"OCTMNIST", "ImageNet", "all"}
    gains = {"fidelity gain", "utility gain", "FID ratio"}
    assert set(numbers["metric"]) == {"FID"} | ACCURACIES | CHANGES | SIZES | SETTINGS | gains
    assert set(numbers["epsilon"].dropna()) == {0.2, 0.67, 1, 2, 5, 10, 15, 20, float("inf")}
    assert numbers[numbers["method"] == "real"]["epsilon"].isna().all()
    assert (numbers[numbers["method"] == "nonprivate"]["epsilon"] == float("inf")).all()


def test_the_twin_of_the_gan_is_none_of_ours(numbers):
    table = numbers[(numbers["source"] == PRIVIMAGE) & (numbers["table"] == "Table 3")]
    twins = table[table["epsilon"] == float("inf")].groupby(["row", "method"])
    assert twins.size().to_dict() == {("NonPrivG", ""): 6, ("NonPrivD", "nonprivate"): 6}


def test_only_a_change_is_negative_and_an_accuracy_is_a_percentage(numbers):
    assert set(numbers[numbers["value"] < 0]["metric"]) <= CHANGES
    assert numbers[numbers["metric"].isin(ACCURACIES)]["value"].between(0, 100).all()


@pytest.mark.parametrize(
    ("source", "table", "row", "dataset", "epsilon", "metric", "value"),
    [
        (RPGEN, "Table 1", "RPGen (Ours)", "CIFAR-10", 5, "CA-CNN", 72.5),
        (RPGEN, "Table 1", "PRIVIMAGE+D", "CelebA64", 1, "FID", 71.4),
        (RPGEN, "Table 2", "NonPriv", "CelebA32", float("inf"), "FID", 9.0),
        (RPGEN, "text", "RPGen, selection ratio = 100%", "CIFAR-10", 10, "FID change", 48.1),
        (PRIVIMAGE, "Table 2", "DPGAN", "CIFAR-10", 10, "CA-LR", 9.17),
        (PRIVIMAGE, "Table 3", "PRIVIMAGE+D", "CIFAR-10", 10, "CA-CNN", 68.3),
        (PRIVIMAGE, "text", "PRIVIMAGE+G", "CelebA64", 1, "FID change", 18.1),
        (DPDM, "Table 1", "DPDM (Acc) (ours)", "F-MNIST", 1, "FID", 51.4),
        (BENCH, "README Sec. 7", "PrivImage", "CIFAR-100", 10, "accuracy", 15.8),
        (BENCH, "training_demo", "PE", "CIFAR-10", 1, "CA-ResNet", 10.0),
        (PRO, "results_demo", "FETA-Pro", "Camelyon17", 1, "CA-ResNeXt", 84.01),
        (PRO, "plot/plot_eps_changes.py", "FETA-Pro", "F-MNIST", 0.2, "FID", 99.7),
        (SAPF, "plot/plot_param_change.py", "DP-SAPF", "CelebA", 15, "FID", 23.1),
    ],
)
def test_single_cells_are_as_printed(numbers, source, table, row, dataset, epsilon, metric, value):
    of = {"source": source, "table": table, "row": row, "dataset": dataset, "epsilon": epsilon, "metric": metric}
    assert list(numbers[(numbers[list(of)] == pd.Series(of)).all(axis=1)]["value"]) == [value]


@pytest.mark.parametrize(
    ("source", "paper", "table", "rows"),
    [(RPGEN, "002", "Table 1", 9), (PRIVIMAGE, "004", "Table 2", 6)],
)
def test_all_cells_are_those_of_the_papers_text(numbers, source, paper, table, rows):
    if PAPERS is None:
        pytest.skip("the papers' texts are not here; DPSYNTH_PAPERS names their folder")
    (file,) = Path(PAPERS).glob(f"{paper}_*.txt")
    cells = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
    wide = [line for line in cells if len(line) == 1 + len(COLUMNS) and _are_numbers(line[1:])]
    assert len(wide) == rows
    of = numbers[(numbers["source"] == source) & (numbers["table"] == table)]
    ours = of.assign(row=of["row"].str.upper()).set_index(["row", "metric", "dataset", "epsilon"])["value"].to_dict()
    theirs = {
        (_name(name), *column): float(value)
        for name, *values in wide
        for column, value in zip(COLUMNS, values, strict=True)
    }
    assert ours == theirs


def _are_numbers(cells):
    return all(cell.replace(".", "", 1).isdigit() for cell in cells)


def _name(printed):
    """The row's name; the text reads one letter of RPGen's twice."""
    return printed.strip().upper().replace("RPGGEN", "RPGEN")


def test_results_has_a_copy():
    copy = results.COMMITTED / results.PUBLISHED.name
    assert copy.read_bytes() == results.PUBLISHED.read_bytes(), "run `make readme`"
