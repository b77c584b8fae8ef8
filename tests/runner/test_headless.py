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
from dpsynth.metrics import classifiers
from dpsynth.models import training
from dpsynth.pipeline import Run
from dpsynth.report import results
from dpsynth.runner import headless, pages

ROOT = Path(__file__).parents[2]
JUPYTER = ("papermill", "nbclient", "nbformat", "ipykernel", "IPython", "jupytext", "jupyter_client", "jupyterlab")
FILE = """
reproduces: A test.
scale: smoke
over: {method: [rpgen], seed: [3]}
steps: 3
sample_rate: 0.02
width: 8
pretrain_steps: 3
encoder_steps: 2
extractor_steps: 2
n_synthetic: 40
"""


def accuracies(images, labels, held_out, truth, n_classes, seed):
    """In place of classifiers that take half a minute: a number that tells images apart."""
    return {"CA-CNN": images.double().mean().item()}


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory):
    """A cache with four glyphs a class."""
    from dpsynth.data import glyphs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glyphs, "PER_CLASS", 4)
        yield tmp_path_factory.mktemp("cache")


@pytest.fixture
def enter(glyphs, tmp_path, monkeypatch):
    """Makes an empty project by name, and enters it."""
    monkeypatch.setattr(classifiers, "accuracies", accuracies)
    monkeypatch.setattr(training, "PATIENCE", 0.0)

    def entered(name):
        place = tmp_path / name
        (place / "notebooks").mkdir(parents=True)
        (place / "notebooks" / "01_semantic_query.py").touch()
        shutil.copytree(ROOT / "params" / "scales", place / "params" / "scales")
        (place / "params" / "tiny.yaml").write_text(FILE)
        (place / "cache").symlink_to(glyphs)
        monkeypatch.chdir(place)
        monkeypatch.setenv("DPSYNTH_ROOT", str(place))
        return place

    return entered


def made(place):
    """The tensors of each artifact, by its name, and the ledger."""
    artifacts = {p.parent.name: p.read_bytes() for p in place.glob("build/artifacts/*/tensors.safetensors")}
    return artifacts | {"ledger": (place / "ledger/mnist5k.jsonl").read_bytes()}


def table():
    """What was measured of all runs: no times."""
    frame = results.read_results("smoke")
    return frame[~frame["metric"].str.contains("seconds|peak")].to_csv()


@pytest.fixture
def whole(enter, capsys):
    """A project where all was made at once."""
    place = enter("whole")
    assert command.main(["run", "tiny"]) == 0
    return place


def test_stopped_after_each_step_it_ends_with_the_same_bits_and_the_same_ledger(whole, enter, monkeypatch, capsys):
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
    assert made(place) == made(whole) and table() == metrics


def test_the_notebooks_find_all_that_they_compute_and_make_nothing(whole, monkeypatch):
    monkeypatch.setattr(store, "_make", lambda recipe, timed: pytest.fail(f"a page made {recipe.kind}"))
    before = {path: path.read_bytes() for path in whole.glob("build/smoke/*/*.json")}
    (p,) = experiments.load(Path("params/tiny.yaml")).points()
    metrics = (results.run_folder(p) / "metrics.csv").read_bytes()
    asked = []
    for page in pages.pages(p.method):
        book, names = pages.read(ROOT / "notebooks" / f"{page}.py", p), {}
        for cell in book.cells:
            heavy = ("audit", "pictures.embedding", "pictures.preview", "source(", "toy(", "hero(", "displays.")
            if cell.cell_type == "code" and ("import" in cell.source or not any(word in cell.source for word in heavy)):
                exec(cell.source, names)
                asked.append(cell.source)
    assert any("recall_curve" in source for source in asked) and any("with_and_without" in s for s in asked)
    assert before and before == {path: path.read_bytes() for path in before}
    assert (results.run_folder(p) / "metrics.csv").read_bytes() == metrics


def test_what_stands_is_not_made_again_and_a_dry_run_makes_nothing(whole, monkeypatch, capsys):
    capsys.readouterr()
    monkeypatch.setattr(store, "_make", lambda recipe, timed: pytest.fail(f"made {recipe.kind}"))
    assert command.main(["run", "tiny"]) == 0
    said = capsys.readouterr().out
    assert said.count(": stands") == 14 and "rpgen" in said and "results.csv" in said
    assert command.main(["run", "tiny", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "synthesiser stands" in said and "epsilon" in said and "results" not in said


def test_another_seed_joins_the_table_beside_what_stands(whole, capsys):
    assert command.main(["run", "tiny", "--seed", "4"]) == 0
    assert set(results.read_results("smoke")["seed"]) == {3, 4}
    shutil.rmtree(next(whole.glob("build/artifacts/samples-*")))  # as if it were of other code
    samples = {Run(p).recipe("samples").path.exists() for p in experiments.load(Path("params/tiny.yaml")).points()}
    assert command.main(["run", "tiny", "--seed", "4"]) == 0
    assert set(results.read_results("smoke")["seed"]) == ({3, 4} if samples == {True} else {4})


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
    monkeypatch.setattr(headless, "checked", lambda points: [Run(p) for p in points])
    monkeypatch.setattr(headless, "show", lambda runs, reproduces: None)
    monkeypatch.setattr(headless, "pieces", lambda run: [headless.Piece("a long sum", lambda: time.sleep(60))])
    start = time.monotonic()
    assert command.main(["run", "tiny", "--minutes", "0.01"]) == mistakes.OUT_OF_TIME
    assert time.monotonic() - start < 20 and "a long sum" in capsys.readouterr().err
    assert not (place / "build/smoke").exists()


def test_work_without_steps_is_not_begun_in_less_time_than_it_took_before(enter, monkeypatch):
    enter("twice")
    begun, near = [], []
    monkeypatch.setattr(deadline, "is_near", lambda seconds: near.append(seconds) or seconds > 0.04)
    pieces = [headless.Piece("sum", lambda: begun.append(time.sleep(0.05)))]
    monkeypatch.setattr(headless, "pieces", lambda run: pieces)
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
    (place / "params/mine.yaml").write_text(FILE + own)
    assert command.main(["run", "mine", "--minutes", "5"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --minutes: how far a run comes") and said.count("\n") == 1
    assert not (place / "ledger").exists()


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
