"""Each table and figure of the two papers: a parameter file with a target of make, a rule, and a figure or table."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dpsynth import experiments
from dpsynth.figures.style import Picture
from dpsynth.project import PACKAGE
from dpsynth.report import artifact, claims, itempages, items, results
from dpsynth.report.verdicts import ILLUSTRATION, NOT_RUN

ROOT = PACKAGE.parent
FILES = items.files()
BEYOND = {"RPGen text ablations", "RPGen robustness transfer", "RPGen query noise"}
BEYOND |= {"DP-FETA against DPDM", "DP-MEPF headline", "DP-SAPF headline"}


QUALITY = ["CA-LR", "CA-MLP", "CA-CNN", "FD-convnet", "precision", "recall", "seconds-finetune", "peak-MiB-finetune"]
BESIDE = ["similarity", "neighbours", "images-of-pretraining", "weights"]
PLACES = (0, 0.2, 4, 39, 600)


def made(path: Path) -> items.Item:
    """The item with results that are made up: of every run, whatever a rule may name."""
    of = experiments.load(path)
    over_an_axis = [
        rule for rule in of.compare if getattr(rule, "at", None) is not None or vars(rule).get("over") == "at"
    ]
    curves = [metric for rule in over_an_axis for metric in rule.metric]
    draws, rows = np.random.default_rng(0), []
    for p in of.points():
        apart = of.variant(p)
        reference = f"{p.method}: {apart}" if apart else p.method
        for method in (p.row_name, "real", "pretrained", "all_classes"):
            numbers = BESIDE if method == "all_classes" else [*QUALITY, *BESIDE]
            moved = 0 if method == "real" else draws.normal()  # real images are the same in all runs
            row = {"scale": p.scale, "dataset": p.private, "public": p.public, "method": method, "seed": p.seed}
            row |= {"variant": apart if method == p.method else reference, "epsilon_target": p.epsilon}
            row |= {"params_digest": p.digest, "value": 50 + moved + 0.1 * p.seed}
            rows += [row | {"metric": metric} for metric in numbers]
            rows += [row | {"metric": metric, "at": at} for metric in curves for at in PLACES]
    frame = pd.DataFrame(rows).reindex(columns=results.COLUMNS).assign(experiment=of.name, commit="abc", device="cpu")
    frame = frame.assign(n_reference=1000, n_synthetic=2000, delta=1e-5)
    return items.Item(of, frame, claims.judge(of, frame), of.name)


@pytest.fixture(scope="module")
def targets() -> str:
    return subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_list_is_whole():
    named = [name for path in FILES for name in experiments.load(path).items]
    assert len(items.numbered()) == 29
    assert {*named} == {*items.numbered()} | BEYOND


@pytest.mark.parametrize("path", FILES, ids=lambda path: experiments.name_of(path))
def test_each_has_a_target_a_rule_and_a_head(path, targets):
    of = experiments.load(path)
    first, *_ = path.read_text(encoding="utf-8").splitlines()
    target = of.name.replace("_", "-", 1)
    assert target in targets.split() and first.startswith(f"# make {target} | ")
    assert len(first.split(" | ")) >= 3 and "expected: " in first
    dry = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"dpsynth run '{path.parent.name}/{path.stem}'" in dry
    for item in of.items:
        assert [rule for rule in of.compare if (rule.item or of.items[0]) == item], item


@pytest.mark.parametrize("path", FILES, ids=lambda path: experiments.name_of(path))
def test_each_gives_a_figure_or_a_table_and_a_verdict(path):
    item = made(path)
    assert {one.verdict for one in item.judged} - {ILLUSTRATION} != {NOT_RUN}
    drawn = items.draw(item)
    assert all(isinstance(figure, Picture) for figure in drawn.values())
    page = itempages.page(item, list(drawn))
    assert "## Verdicts" in page and (drawn or "## Results" in page or {"Table", "Figure"} & {*page.split()})
    assert page.count("](") >= 1 + len(drawn)


@pytest.mark.parametrize("path", FILES, ids=lambda path: experiments.name_of(path))
def test_without_results_a_figure_says_which_command_makes_them(path):
    of = experiments.load(path)
    empty = pd.DataFrame(columns=results.COLUMNS)
    item = items.Item(of, empty, claims.judge(of, empty), of.name)
    with pytest.raises(ValueError, match=f"has no results yet; `make {of.name.replace('_', '-', 1)}` makes them"):
        items.draw(item)
    assert "not run" in itempages.page(item, []).lower() or all(o.verdict == ILLUSTRATION for o in item.judged)


def test_claims_begin_with_the_29_items_and_name_each_rule():
    table = artifact.claims_table([made(path) for path in FILES[:3]] + [i for p in FILES[3:] for i in items.of(p)])
    assert list(table) == artifact.COLUMNS and table["item"].head(29).tolist() == items.numbered()
    assert table["id"].is_unique and table["verdict"].notna().all()
    assert (table["command"].str.startswith("make ")).all()


def test_committed_pages_and_claims_are_those_of_the_committed_results():
    every = items.every()
    held = pd.read_csv(itempages.CLAIMS, dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(held, artifact.claims_table(every).astype(str))
    for item in every:
        drawn = sorted(path.stem.removeprefix(f"{item.name}-") for path in itempages.FOLDER.glob(f"{item.name}-*.png"))
        page = (itempages.FOLDER / f"{item.name}.md").read_text(encoding="utf-8")
        assert all(f"]({item.name}-{name}.png)" in page for name in drawn), item.name
        assert itempages.page(item, list(items.draw(item)) if len(item.rows) else []) == page, item.name


def test_results_without_a_column_are_refused_by_name(tmp_path):
    path = tmp_path / "rpgen_fig5.csv"
    pd.DataFrame(columns=results.COLUMNS).drop(columns=["at", "commit"]).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"rpgen_fig5\.csv has no column at, commit"):
        results.read(path)


@pytest.mark.parametrize("column", ["scale", "commit"])
def test_a_file_of_mixed_results_is_refused_by_name_whatever_settings_they_are_of(tmp_path, column):
    path = next(path for path in FILES if path.stem == "fig5")
    rows = made(path).rows
    rows = pd.concat([rows, rows.head(1).assign(**{column: "another", "params_digest": "of before"})])
    rows.to_csv(tmp_path / "rpgen_fig5.csv", index=False)
    with pytest.raises(
        ValueError, match=rf"rpgen_fig5\.csv: results of rpgen_fig5 mix several values of {column} .*another"
    ):
        items._read(experiments.load(path), tmp_path / "rpgen_fig5.csv")


def test_a_name_that_no_file_has_is_refused():
    with pytest.raises(ValueError, match="no parameter file of a paper gives results called 'fig99'"):
        items.committed("fig99")
