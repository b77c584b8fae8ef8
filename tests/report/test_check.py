"""`make check`: cells of build/ beside those of results/."""

import pandas as pd
import pytest

from dpsynth.mistakes import Failed
from dpsynth.report import check, results


def rows(**values: float) -> pd.DataFrame:
    known = {"experiment": "toy", "variant": "", "scale": "laptop", "dataset": "mnist5k", "public": "glyphs"}
    known |= {"method": "rpgen", "epsilon_target": 10.0, "seed": 0}
    frame = pd.DataFrame([known | {"metric": m.replace("_", "-"), "value": v} for m, v in values.items()])
    return frame.reindex(columns=results.COLUMNS)


@pytest.mark.parametrize(
    ("metric", "near", "far"),
    [("CA_CNN", 92.9, 93.1), ("FD_convnet", 94.4, 94.6), ("recall", 90.04, 90.06), ("similarity", 94.4, 94.6)],
)
def test_a_cell_moves_beyond_its_tolerance(metric, near, far):
    committed = rows(**{metric: 90.0})
    moved = [bool(check.compared(rows(**{metric: value}), committed)["moved"].iloc[0]) for value in (90.0, near, far)]
    assert moved == [False, False, True]


def test_times_are_no_results_and_what_only_one_side_has_does_not_count():
    built = rows(recall=0.5, seconds_finetune=9, precision=0.1)
    table = check.compared(built, rows(recall=0.5, seconds_finetune=1, CA_LR=3))
    assert table["metric"].tolist() == ["recall"]
    with pytest.raises(ValueError, match="nothing in build/ is a cell of results/"):
        check.compared(rows(recall=0.5), rows(precision=0.5))


@pytest.mark.parametrize("other", [{"scale": "smoke"}, {"dataset": "cifar10"}, {"public": "tiny_imagenet32"}])
def test_cells_of_another_scale_or_set_are_other_cells(other):
    with pytest.raises(ValueError, match="run one of its parameter files at their scale first"):
        check.compared(rows(recall=0.5).assign(**other), rows(recall=0.5))


def test_the_command_says_which_cells_moved(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "COMMITTED", tmp_path)
    rows(recall=0.5, CA_CNN=90).to_csv(tmp_path / "toy.csv", index=False)
    monkeypatch.setattr(results, "read_results", lambda scale: rows(recall=0.6, CA_CNN=90))
    with pytest.raises(Failed, match="1 of 2 cells moved by more than accuracies 3 points"):
        check.check("laptop")
    out = capsys.readouterr().out
    assert "recall" in out and "CA-CNN" not in out
    monkeypatch.setattr(results, "read_results", lambda scale: rows(recall=0.51, CA_CNN=92))
    check.check("laptop")
    assert "2 cells of toy are as committed" in capsys.readouterr().out
    monkeypatch.setattr(results, "read_results", lambda scale: rows(recall=0.51).assign(experiment="mine"))
    with pytest.raises(ValueError, match="results of no parameter file that results/ has"):
        check.check("laptop")
