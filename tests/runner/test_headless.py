"""`dpsynth run`: what the notebooks compute, without them, and within a given time."""

import io
import os
import shutil
import subprocess
import sys
import textwrap
import time
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from dpsynth import __main__ as command
from dpsynth import deadline, experiments, mistakes, store
from dpsynth.pipeline import Run
from dpsynth.report import pictures, results
from dpsynth.runner import cells, headless, pages, reproduce

ROOT = Path(__file__).parents[2]
JUPYTER = ("papermill", "nbclient", "nbformat", "ipykernel", "IPython", "jupytext", "jupyter_client", "jupyterlab")


def table():
    """What was measured of all runs: no times."""
    frame = results.read_results("smoke")
    return frame[~frame["metric"].str.contains("seconds|peak")].to_csv()


@pytest.fixture
def whole(made):
    """A project where all of a run of RPGen was made at once."""
    return made("tiny")


def test_stopped_after_each_step_it_ends_with_the_same_bits_and_the_same_ledger(
    whole, enter, content, monkeypatch, capsys
):
    metrics = table()
    place = enter("stopped")
    monkeypatch.setattr(deadline, "is_near", lambda seconds: seconds > 0)  # after each step, and before none
    codes = []
    while not codes or codes[-1] == mistakes.OUT_OF_TIME:
        codes.append(command.main(["run", "tiny", "--minutes", "9"]))
        assert len(codes) < 40
    said = capsys.readouterr().err
    assert codes == [4] * (len(codes) - 1) + [0] and len(codes) > 3 + 3 + 2 + 2
    assert "stopped in [1/1] mnist5k" in said and "before 9 minutes were over; the same command continues" in said
    assert content(place) == content(whole) and table() == metrics


def executed(p, chosen):
    """Execute those cells of a run's pages for which `chosen(cell)` holds; their sources."""
    sources = []
    for page in pages.pages(p.method):
        book, names = pages.read(ROOT / "notebooks" / f"{page}.py", p), {}
        for cell in book.cells:
            if cell.cell_type == "code" and chosen(cell):
                exec(cell.source, names)
                sources.append(cell.source)
    return sources


def test_it_makes_what_the_notebooks_make_to_the_bit(whole, enter, content):
    metrics = table()
    place = enter("paged")
    experiment = experiments.load(Path("params/tiny.yaml"))
    (p,) = experiment.points()
    executed(p, lambda cell: not cells.shows(cell))
    here, there = content(place), content(whole)
    assert there.keys() - here.keys() == {path for path in there if path.startswith("votes-")}  # of a picture
    assert all(there[name] == here[name] for name in here)
    results.join("smoke", experiment, [p])
    assert table() == metrics


def test_the_notebooks_find_all_that_they_compute_and_make_nothing(whole, monkeypatch):
    monkeypatch.setattr(store, "_make", lambda recipe, timed: pytest.fail(f"a page made {recipe.kind}"))
    files = {path: path.read_bytes() for path in whole.glob("build/smoke/*/*.[jc]s*")}
    (p,) = experiments.load(Path("params/tiny.yaml")).points()
    slow = ("audit", "embedding", "preview", "source(", "toy(", "hero(", "displays.")
    asked = executed(p, lambda cell: "import" in cell.source or not any(word in cell.source for word in slow))
    assert any("recall_curve" in source for source in asked) and any("with_and_without" in s for s in asked)
    assert len(files) == 3 and files == {path: path.read_bytes() for path in files}


def test_the_answers_of_the_exercises_hold_on_a_whole_run_and_make_nothing(whole, monkeypatch, capsys):
    monkeypatch.setattr(store, "_make", lambda recipe, timed: pytest.fail(f"an answer made {recipe.kind}"))
    (p,) = experiments.load(Path("params/tiny.yaml")).points()
    answers = lambda cell: pages.FOLDED in cell.metadata.get("tags", ())  # noqa: E731
    asked = executed(p, lambda cell: not cells.shows(cell) or answers(cell))
    assert sum("assert" in source for source in asked) >= 10
    assert len(capsys.readouterr().out.splitlines()) >= 15


def test_what_stands_is_not_made_again_and_a_dry_run_makes_nothing(whole, monkeypatch, capsys):
    monkeypatch.setattr(store, "_make", lambda recipe, timed: pytest.fail(f"made {recipe.kind}"))
    assert command.main(["run", "tiny"]) == 0
    said = capsys.readouterr().out
    assert said.count(": stands") == 16 and "rpgen" in said and "results.csv" in said
    assert command.main(["run", "tiny", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "synthesiser stands" in said and "epsilon" in said and "results" not in said


def test_another_seed_joins_the_table_beside_what_stands(whole):
    assert command.main(["run", "tiny", "--seed", "4"]) == 0
    assert set(results.read_results("smoke")["seed"]) == {3, 4}
    (p,) = experiments.load(Path("params/tiny.yaml")).points()
    shutil.rmtree(Run(p).recipe("samples").path)  # as if what stands were of other code
    assert command.main(["run", "tiny", "--seed", "4"]) == 0
    assert set(results.read_results("smoke")["seed"]) == {4}


def test_it_needs_no_jupyter(enter):
    place = enter("bare")
    script = f"""
    import sys
    sys.modules.update(dict.fromkeys({JUPYTER}))  # so that an import of one fails
    from dpsynth.data import glyphs
    from dpsynth.metrics import classifiers
    glyphs.PER_CLASS = 4
    classifiers.accuracies = lambda *arguments: {{"CA-CNN": 50.0}}
    from dpsynth.__main__ import main
    assert main(["run", "tiny", "--method", "dpdm"]) == 0
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(process, cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "certificate and metrics: " in done.stdout and "could not be drawn" not in done.stderr


def test_work_without_steps_is_ended_when_the_time_is_over(enter, monkeypatch, capsys):
    place = enter("slow")
    monkeypatch.setattr(deadline, "MARGIN", 0.0)
    monkeypatch.setattr(headless, "checked", lambda points, lacks: [Run(p) for p in points])
    monkeypatch.setattr(headless, "show", lambda runs, reproduces: None)
    monkeypatch.setattr(
        headless, "pieces", lambda run, measured: [headless.Piece("a long sum", lambda: time.sleep(60))]
    )
    start = time.monotonic()
    assert command.main(["run", "tiny", "--minutes", "0.01"]) == mistakes.OUT_OF_TIME
    assert time.monotonic() - start < 20 and "a long sum" in capsys.readouterr().err
    assert not (place / "build/smoke").exists()


def test_work_without_steps_is_not_begun_in_less_time_than_it_took_before(enter, monkeypatch):
    enter("twice")
    begun, near = [], []
    monkeypatch.setattr(deadline, "is_near", lambda seconds: near.append(seconds) or seconds > 0.04)
    pieces = [headless.Piece("sum", lambda: begun.append(time.sleep(0.05)))]
    monkeypatch.setattr(headless, "pieces", lambda run, measured: pieces)
    runs = [Run(p) for p in experiments.load(Path("params/tiny.yaml"), seed=[1, 2]).points()]
    with (
        pytest.raises(mistakes.Failed, match=r"stopped in \[2/2\] .*: sum, before 5 minutes"),
        redirect_stdout(io.StringIO()),
    ):
        headless.perform(runs, 5)
    assert len(begun) == 1 and near[0] == 0 and near[1] >= 0.05


def test_no_alarm_rings_after_the_work_is_done(monkeypatch):
    with deadline.within(0.005):
        pass
    time.sleep(0.5)
    assert not deadline.is_near(1e9)


def test_a_set_of_the_users_own_takes_no_limit(enter, capsys):
    place = enter("own")
    own = "private: folder:photos\nnoise: secret\ndelta: 1e-3\nn_records: 40\nlabels: []\nsize: 32\n"
    (place / "params/mine.yaml").write_text((place / "params/small.yaml").read_text() + own)
    assert command.main(["run", "mine", "--minutes", "5"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --minutes: how far a run comes") and said.count("\n") == 1
    assert not (place / "ledger").exists()


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("measures: [quality, robustness]", "robustness"),
        ("measures: [recall]", "recall"),
        ("pictures: [samples]", "samples"),
    ],
)
def test_a_users_own_records_are_neither_measured_nor_shown(enter, capsys, asked, named):
    place = enter("own")
    own = "private: folder:photos\nnoise: secret\ndelta: 1e-3\nn_records: 40\nlabels: []\nsize: 32\n"
    (place / "params/mine.yaml").write_text((place / "params/small.yaml").read_text() + own + asked + "\n")
    for call in (lambda: command.main(["run", "mine"]), lambda: reproduce.main(["--experiment", "mine"])):
        assert call() == 2
        said = capsys.readouterr().err
        assert f"error: {named} is measured or drawn of benchmarks alone" in said and "a set of your own" in said
    assert not (place / "ledger").exists()


ITEM = """
measures: [%s]
items: [RPGen Figure 3]
compare:
  - {claim: x, rule: order, metric: %s, at: %s, better: {method: rpgen}, than: {row: %s}}
"""


@pytest.mark.parametrize(
    ("method", "measure"), [("dpdm", "recall"), ("dpdm", "similarity"), ("pdp_diffusion", "robustness")]
)
def test_what_a_method_has_not_is_refused_before_anything_is_asked(enter, capsys, method, measure):
    place = enter("lacking")
    text = (place / "params/tiny.yaml").read_text().replace("rpgen", method)
    (place / "params/item.yaml").write_text(text + f"measures: [{measure}]\n")
    assert command.main(["run", "item"]) == 2
    assert f"error: {measure} cannot be measured of {method} on mnist5k" in capsys.readouterr().err
    assert not list(place.glob("ledger/*.jsonl")) and not (place / "build/artifacts").exists()


def test_measures_make_no_more_than_they_look_at(enter, capsys):
    place = enter("measured")
    cheap = ITEM % ("learning, recall, similarity, sizes", "similarity", "null", "all_classes")
    (place / "params/item.yaml").write_text((place / "params/tiny.yaml").read_text() + cheap)
    assert command.main(["run", "item"]) == 0
    assert "RPGen Figure 3: x [similarity, rpgen less all_classes" in capsys.readouterr().out
    made = {path.name.partition("-")[0] for path in (place / "build/artifacts").iterdir() if path.is_dir()}
    assert {"encoder", "release", "corpus", "base", "votes", "curves"} <= made
    assert not {"synthesiser", "samples", "measurement"} & made
    frame = results.read_results("smoke")
    assert {"recall-of-picks", "accuracy-held-out", "similarity", "weights", "images-of-pretraining"} <= {
        *frame["metric"]
    }
    assert frame.loc[frame["metric"] == "recall-of-picks", "at"].tolist() == list(pictures.NOISE)
    assert frame.loc[frame["metric"] == "similarity", "method"].tolist() == ["rpgen", "all_classes"]
    assert set(frame["epsilon_spent"].isna()) == {True} and (place / "build/smoke/item-gaps.png").exists() is False


def test_measures_of_what_learned_and_of_a_base_with_public_labels(enter, capsys):
    place = enter("measured")
    dear = ITEM % ("robustness, clusters, start", "neighbours", "null", "real")
    (place / "params/item.yaml").write_text((place / "params/tiny.yaml").read_text() + dear)
    assert command.main(["run", "item"]) == 0
    frame = results.read_results("smoke").set_index("metric")
    assert frame.loc["rise-base-private-gaussian", "at"].tolist() == [0, 1, 2, 4, 8, 16]
    assert 0 <= frame.loc["neighbours", "value"] <= 1 and frame.loc["FD-convnet", "method"] == "pretrained"
    assert "not run" in capsys.readouterr().out  # real images have no such number
    text = (place / "params/tiny.yaml").read_text().replace("rpgen", "pdp_diffusion")
    (place / "params/other.yaml").write_text(text + "measures: [start]\n")
    assert command.main(["run", "other"]) == 0
    frame = results.read_results("smoke")
    of_other = frame[(frame["experiment"] == "other") & (frame["method"] == "pretrained")]
    assert {"FD-convnet", "recall"} <= {*of_other["metric"]} and not of_other["metric"].str.startswith("CA").any()


def test_of_a_users_own_set_no_time_is_told(capsys):
    piece = headless.Piece("synthesiser", lambda: None)
    headless._perform(piece, "[1/1] mine: synthesiser", {}, timed=False)
    assert capsys.readouterr().out == "[1/1] mine: synthesiser\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny", "--scale", "desk"], "no such scale 'desk'"), (["none"], "no experiment 'none'"),
        (["tiny", "--method", "gan"], "no method 'gan'"), (["tiny", "--epsilon", "-1"], "epsilon=-1"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_in_one_line(enter, capsys, arguments, said):
    enter("wrong")
    assert command.main(["run", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and said in err and err.count("\n") == 1


def test_no_minutes_are_no_limit(capsys):
    with pytest.raises(SystemExit):
        command.main(["run", "tiny", "--minutes", "0"])
    assert "expected a number of minutes above 0" in capsys.readouterr().err


def test_images_in_colour_are_run_and_packed_without_an_extractor_of_ours(enter, coloured, tmp_path, capsys):
    enter("colour")
    assert command.main(["run", "colour"]) == 0
    frame = results.read_results("smoke")
    assert {"FD-effnet", "CA-CNN"} <= set(frame["metric"]) and "FD-convnet" not in set(frame["metric"])
    assert command.main(["pack", "colour", str(tmp_path / "p.tar"), "--without-data"]) == 0
    enter("there")
    assert command.main(["unpack", str(tmp_path / "p.tar")]) == 0
    capsys.readouterr()
    assert command.main(["run", "colour"]) == 0
    made = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" s")]
    assert len(made) == 1 and "certificate and metrics" in made[0]  # all else stands


def test_an_alarm_between_two_pieces_is_a_stop_as_well(enter, monkeypatch, capsys):
    enter("between")
    usual = headless.pieces

    def late(run, measured):
        yield next(usual(run, measured))
        raise deadline.OutOfTime

    monkeypatch.setattr(headless, "pieces", late)
    assert command.main(["run", "tiny", "--minutes", "9"]) == mistakes.OUT_OF_TIME
    assert "encoder, before 9 minutes were over" in capsys.readouterr().err
