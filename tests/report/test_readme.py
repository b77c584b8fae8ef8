"""The README says what results/ says."""

import pandas as pd
import pytest

from dpsynth import store
from dpsynth.report import readme, results
from dpsynth.runner import experiments


def test_every_number_in_the_readme_comes_from_results():
    text = readme.README.read_text()
    assert text == readme.filled(text, readme.blocks()), "run `make readme`"


def test_a_block_without_a_place_or_a_place_without_a_block_is_an_error():
    text = "a\n<!-- begin: x -->\nold\n<!-- end: x -->\nb"
    assert readme.filled(text, {"x": "new"}) == "a\n<!-- begin: x -->\nnew\n<!-- end: x -->\nb"
    for blocks in ({}, {"x": "", "y": ""}):
        with pytest.raises(ValueError, match="the README has markers for"):
            readme.filled(text, blocks)


def test_rows_made_with_other_settings_than_today_are_said_to_be():
    today = [p.replace(seed=2) for p in experiments.load("table").points()]
    columns = {"experiment": "table", "scale": "laptop", "seed": 2, "commit": "abc"}
    rows = pd.DataFrame([{**columns, "params_digest": p.digest} for p in today])
    assert readme._provenance(rows) == "Made at commit `abc`."
    rows.loc[0, "params_digest"] = today[0].replace(steps=7).digest
    assert "other settings than `params/rpgen/table.yaml` has today" in readme._provenance(rows)


def test_record_takes_whole_experiments_with_their_figures_and_a_table_only_if_it_was_timed(tmp_path, monkeypatch):
    before = results.read_committed("table")
    (tmp_path / "build" / "laptop").mkdir(parents=True)
    rows = [before.assign(experiment=name) for name in ("table", "table1", "mine")]
    pd.concat(rows).to_csv(tmp_path / "build" / "laptop" / "results.csv", index=False)
    (tmp_path / "build" / "overnight").mkdir()
    pd.concat(rows).to_csv(tmp_path / "build" / "overnight" / "results.csv", index=False)
    committed = tmp_path / "results"
    committed.mkdir()
    monkeypatch.setattr(store, "root", lambda: tmp_path)
    monkeypatch.setattr(results, "COMMITTED", committed)
    readme.record()
    names = ["overnight.csv", "table1-mnist5k-CA-CNN.png", "table1.csv"]
    assert sorted(path.name for path in committed.iterdir()) == names
    for name in ("table1", "overnight"):
        pd.testing.assert_frame_equal(results.read_committed(name), before.assign(experiment="table1"))
    assert "![table1 mnist5k CA CNN](results/table1-mnist5k-CA-CNN.png)" in readme._budgets(committed / "table1.csv")


def test_of_the_overnight_runs_those_that_were_made_are_shown_and_the_others_counted(tmp_path, monkeypatch):
    points = experiments.load(readme.PROJECT / "params" / "overnight" / "table1.yaml").points()
    rows = results.read_committed("table").query("method == 'rpgen' and seed == 0")
    rows = rows.assign(profile="overnight", experiment="table1", params_digest=points[0].digest)
    rows.to_csv(tmp_path / "overnight.csv", index=False)
    monkeypatch.setattr(results, "COMMITTED", tmp_path)
    said, fashion = readme._overnight(tmp_path / "overnight.csv"), sum(p.private == "fashion_mnist" for p in points)
    assert said.startswith("`mnist5k`:\n\n| row |") and "| rpgen | 10 | 1 |" in said and "other settings" not in said
    assert f"1 of {len(points)} runs of `params/overnight/table1.yaml`; not run:" in said
    assert f"not run: {len(points) - fashion - 1} of `mnist5k`, {fashion} of `fashion_mnist`. Made at" in said


def test_methods_that_public_images_equal_are_named_at_each_budget():
    columns = ["metric", "method", "variant", "epsilon_target", "value"]
    rows = [
        ("CA-CNN", "floor_public", "rpgen", 1.0, 80.0), ("CA-CNN", "floor_public", "privimage_d", 1.0, 10.0),
        ("CA-CNN", "rpgen", "", 1.0, 85.0), ("CA-CNN", "dpdm", "", 1.0, 50.0), ("recall", "rpgen", "", 1.0, 0.0),
        ("CA-CNN", "floor_public", "rpgen", 10.0, 80.0), ("CA-CNN", "rpgen", "", 10.0, 90.0),
    ]  # fmt: skip
    assert readme._below(pd.DataFrame(rows, columns=columns)) == [
        "Not above RPGen's `floor_public` (80.0) at epsilon 1: dpdm (-30.0).",
        "Not above RPGen's `floor_public` (80.0) at epsilon 10: none.",
    ]
