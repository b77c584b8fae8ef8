"""README.md and docs/ say what results/ says, and name only what exists."""

import contextlib
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import torch

from dpsynth import experiments, project
from dpsynth.report import items, pictures, readme, record, results

FIGURES = [experiments.name_of(path).replace("_", "-", 1) for path in items.files()]
PAGES = readme.pages()
MAKEFILE = (readme.PROJECT / "Makefile").read_text()
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)


def _file(name):
    """The parameter file of that name, or None."""
    with contextlib.suppress(ValueError):
        return experiments.find(name)


def _commands(program):
    """What follows `program` in the code of the pages, (page, words)."""
    found = [(page, code) for page, text in PAGES.items() for code in CODE.findall(text)]
    lines = ((page, line.strip("` ").partition("#")[0].split()) for page, code in found for line in code.splitlines())
    return [(page, words[1:]) for page, words in lines if words[:1] == [program]]


def test_every_number_in_the_pages_comes_from_results(root):
    assert readme.filled(PAGES, readme.blocks()) == PAGES, "run `make readme`"


def test_the_readme_can_be_read_in_one_sitting():
    assert len(PAGES[Path("README.md")].splitlines()) <= 160


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_to_files_that_exist(page):
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", PAGES[page]) if not re.match(r"\w+:", link)]
    missing = [link for link in links if not (readme.PROJECT / page.parent / link).exists()]
    assert not missing


def test_every_page_is_linked_in_the_readme():
    missing = [page for page in PAGES if page != Path("README.md") and f"({page})" not in PAGES[Path("README.md")]]
    assert not missing


def test_every_make_target_and_variable_that_is_named_exists():
    named = _commands("make")
    assert len(named) > 20
    for page, words in named:
        for word in words:
            name, given, value = word.partition("=")
            an_item = not given and name in FIGURES
            assert an_item or re.search(rf"^{name} \?=" if given else rf"^{name}:.*##", MAKEFILE, re.MULTILINE), words
            if name == "EXPERIMENT" and value not in ("mine", "photos"):  # which users write
                assert _file(value), (page, words)
            if name == "SCALE":
                assert (readme.PROJECT / "params" / "scales" / f"{value}.yaml").exists(), (page, words)


def test_every_command_of_ours_that_is_named_exists():
    known = (readme.PROJECT / "dpsynth" / "__main__.py").read_text()
    named = _commands(".venv/bin/dpsynth")
    assert named and all(f'"{words[0]}"' in known for _, words in named)


def test_a_block_without_a_place_or_a_place_without_a_block_is_an_error():
    text = "a\n<!-- begin: x -->\nold\n<!-- end: x -->\nb"
    pages = {Path("README.md"): text, Path("docs/more.md"): text.replace("x", "y")}
    new = readme.filled(pages, {"x": "new", "y": "![a](results/a.png) [b](https://b)"})
    assert new[Path("README.md")] == "a\n<!-- begin: x -->\nnew\n<!-- end: x -->\nb"
    assert "![a](../results/a.png) [b](https://b)" in new[Path("docs/more.md")]
    for blocks in ({}, {"x": ""}, {"x": "", "y": "", "z": ""}):
        with pytest.raises(ValueError, match="the pages have markers for"):
            readme.filled(pages, blocks)


def test_a_block_that_stands_in_two_places_or_does_not_end_is_an_error():
    text = "<!-- begin: x -->\nold\n<!-- end: x -->\n"
    for pages in ({Path("a.md"): text, Path("b.md"): text}, {Path("a.md"): text + text}):
        with pytest.raises(ValueError, match="the pages have markers for"):
            readme.filled(pages, {"x": ""})
    with pytest.raises(ValueError, match="has no end"):
        readme.filled({Path("a.md"): "<!-- begin: x -->"}, {"x": ""})


def test_rows_made_with_other_settings_than_today_are_said_to_be():
    today = [p.replace(seed=2) for p in experiments.load(_file("table")).points()]
    rows = pd.DataFrame([{"experiment": "table", "seed": 2, "commit": "abc", "params_digest": p.digest} for p in today])
    assert readme._provenance(rows) == "Made at commit `abc`; seed 2 (`make reproduce EXPERIMENT=table SEED=2`)."
    rows.loc[0, "params_digest"] = today[0].replace(steps=7).digest
    assert "`abc`, with other settings than today; seed 2" in readme._provenance(rows)


def test_the_command_beside_a_table_names_seeds_only_if_they_are_not_the_files_own():
    p, *_ = experiments.load(_file("table")).points()
    rows = pd.DataFrame([{"experiment": "table", "seed": p.seed, "commit": "abc", "params_digest": p.digest}])
    assert readme._provenance(rows).endswith(f"seed {p.seed} (`make reproduce EXPERIMENT=table`).")


def test_record_takes_whole_experiments_with_their_figures_and_a_table_only_if_it_was_timed(tmp_path, monkeypatch):
    before = results.read_committed("table")
    (tmp_path / "build" / "laptop").mkdir(parents=True)
    rows = [before.assign(experiment=name) for name in ("table", "rpgen_table1_digits", "choosing", "mine")]
    pd.concat(rows).to_csv(tmp_path / "build" / "laptop" / "results.csv", index=False)
    committed = tmp_path / "results"
    committed.mkdir()
    monkeypatch.setattr(project, "root", lambda: tmp_path)
    monkeypatch.setattr(results, "COMMITTED", committed)
    record.record()
    names = ["choosing.csv", "rpgen_table1_digits-mnist5k-CA-CNN.png", "rpgen_table1_digits.csv"]
    assert sorted(path.name for path in committed.iterdir()) == names
    table1 = results.read_committed("rpgen_table1_digits")
    pd.testing.assert_frame_equal(table1, before.assign(experiment="rpgen_table1_digits"))
    assert "![rpgen_table1_digits mnist5k CA CNN](results/rpgen_table1_digits-mnist5k-CA-CNN.png)" in readme._budgets(
        table1
    )


def test_record_takes_a_timed_table_with_its_times_and_its_picture(root, monkeypatch):
    (root / "build" / "laptop").mkdir(parents=True)
    results.read_committed("table").to_csv(root / "build" / "laptop" / "results.csv", index=False)
    (root / "build" / "laptop" / "measured.json").write_text('{"reproduce_minutes": 9.5}')
    (root / "build" / "test.json").write_text('{"test_minutes": 3.5}')
    (root / "results").mkdir()
    asked = []
    monkeypatch.setattr(results, "COMMITTED", root / "results")
    strip = {"real": torch.zeros(10, 1, 28, 28, dtype=torch.uint8)}
    monkeypatch.setattr(pictures, "strip", lambda run: asked.append(run.params) or strip)
    record.record()
    assert sorted(path.name for path in (root / "results").iterdir()) == ["hero.png", "measured.json", "table.csv"]
    assert json.loads((root / "results/measured.json").read_text()) == {"reproduce_minutes": 9.5, "test_minutes": 3.5}
    assert asked == experiments.load("table").points()[:1]


def test_the_claim_gives_each_metric_its_interval_and_verdict_and_leads_with_those_that_discriminate():
    frame = results.read_committed("table")
    floor, twin = re.findall(r"^- (.*)$", readme._claim(frame), re.MULTILINE)
    for said in (floor, twin):
        assert [
            metric for metric in ("CA-LR", "CA-MLP", "recall", "CA-CNN", "FD-convnet") if f"{metric} (" not in said
        ] == []
        assert re.search(r"(better|worse|cannot tell) in ", said) and "no better" not in said
    one = readme._claim(frame[frame["seed"] == 0])
    assert "over 1 seed:" in one and "better in" not in one and "±" not in one.partition("± is half")[0]


def test_the_claim_quotes_the_papers_own_difference():
    assert "RPGen's Table 1 has, on CIFAR-10, CA-CNN +4.6" in readme._claim(results.read_committed("table"))


def test_the_bench_of_a_gpu_names_its_card_and_is_not_run_where_nothing_is_recorded(root, monkeypatch):
    monkeypatch.setattr(results, "COMMITTED", root / "results")
    assert readme._recorded("bench-gpu", readme._bench_gpu) == "`make bench-gpu`: not run, or not recorded."
    first = dict(width=80, channels=3, size=32, views=1, card="NVIDIA H100", seconds=1.0, GiB=2.0, busy=0.9)
    speeds = {"ours": 60.0, "ordinary, compiled": 100.0, "opacus hooks": 10.0}
    rows = [first | {"step": step, "images_per_second": speed} for step, speed in speeds.items()]
    (root / "build").mkdir()
    (root / "results").mkdir()
    pd.DataFrame(rows).to_csv(root / "build" / "bench-gpu.csv", index=False)
    monkeypatch.setattr(results, "read_results", lambda scale: pd.DataFrame({"experiment": []}))
    record.record()
    said = readme._recorded("bench-gpu", readme._bench_gpu)
    assert "| speed of ours over the compiled ordinary step, K = 1 | 0.6 | 0.5 |" in said
    assert "| speed of ours over Opacus at its best batch, K = 1 | 6.0 | 5.0 |" in said
    assert said.endswith("On NVIDIA H100; 3x32x32 pixels, width 80.")
