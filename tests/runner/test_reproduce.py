import json
import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from dpsynth import experiments, mistakes, privacy, recipes, store
from dpsynth.budget import planning
from dpsynth.data import catalog
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy import Counts
from dpsynth.report import comparison, results, run_files
from dpsynth.runner import execute, pages, reproduce, workers

SCALES = Path(__file__).parents[2] / "params" / "scales"
POINTS = [*(Params(method=method) for method in METHODS), Params(epsilon=math.inf)]
FILE = "reproduces: A test.\nscale: smoke\nover: {method: [rpgen, privimage_d], seed: [0]}\nalso: [{method: dpdm}]\n"


@pytest.fixture
def sealed():
    images = torch.zeros(4, 1, 28, 28, dtype=torch.uint8)
    digits = tuple("0123456789")
    return privacy.Private(
        name="mnist5k", images=images, labels=torch.arange(4), classes=digits, n_records=4000, builtin=True
    )


@pytest.fixture
def quick(root, monkeypatch, sealed):
    """A project folder where plans are not calibrated and no set is read."""
    monkeypatch.chdir(root)

    def plan(p, questions):
        asked = questions if math.isfinite(p.epsilon) else questions[:-1]
        return privacy.Plan(p.private, 4000, p.epsilon, p.delta, tuple(asked))

    monkeypatch.setattr(planning, "plan", plan)
    monkeypatch.setattr(planning, "query_noise", lambda p, votes, learn: 4.0)
    monkeypatch.setattr(privacy.Ledger, "check", lambda *arguments: None)
    monkeypatch.setattr(catalog, "private", lambda name, split, **declared: sealed)
    few = SimpleNamespace(images=torch.zeros(2, 1, 28, 28, dtype=torch.uint8), labels=torch.arange(2), n_classes=1000)
    few.name, few.identity, few.version = "glyphs", "glyphs", "as it is"
    monkeypatch.setattr(catalog, "public", lambda *key, **settings: few)
    monkeypatch.setattr(catalog, "refuse_shared_files", lambda *names: None)
    monkeypatch.setattr(reproduce, "privacy_of", lambda run: run.params.run_name)
    for name in {page for method in METHODS for page in pages.pages(method)}:
        path = Path("notebooks", f"{name}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"title = {name!r}\n")
    shutil.copytree(SCALES, "params/scales")
    Path("params/table.yaml").write_text(FILE)
    return root


@pytest.fixture
def performed(quick, monkeypatch):
    """Execution replaced: `done` lists it, `stop` names a notebook that fails, `undrawn` what another could not draw;
    05 leaves its metrics. `forgotten` lists the folders whose decoded records were removed."""
    state = SimpleNamespace(root=quick, done=[], stop=None, undrawn={}, forgotten=[])
    monkeypatch.setattr(catalog, "forget_decoded", state.forgotten.append)

    def executed(p, notebook, out, params_file, shared, margin):
        state.done.append((p.method, p.epsilon, p.seed, notebook.stem))
        if notebook.stem == state.stop:
            raise mistakes.Failed("a cell failed", 1)
        out.parent.mkdir(parents=True, exist_ok=True)
        stamp = {
            "source": str(notebook),
            "digest": execute.digest_of(p, notebook),
            "seconds": 1.0,
            "peak_MiB": None,
            "commit": "0a1b",
            "undrawn": state.undrawn.get(notebook.stem, []),
        }
        out.write_text(json.dumps({"metadata": {"dpsynth": stamp}}))
        if notebook.stem == "05_eval_figures":
            row = {"scale": p.scale, "dataset": p.private, "public": p.public, "method": p.method, "seed": p.seed}
            row |= {"epsilon_target": p.epsilon, "delta": p.delta, "adjacency": "add or remove", "n_synthetic": 9}
            row |= {"metric": "CA-CNN", "value": 90.0 + p.seed, "params_digest": p.digest, "commit": "c"}
            pd.DataFrame([row], columns=results.COLUMNS).to_csv(out.parent / "metrics.csv", index=False)
        else:
            (out.parent / "certificate.json").write_text("{}")

    monkeypatch.setattr(execute, "execute", executed)
    nothing = pd.DataFrame(columns=["kind", "seconds", "peak_MiB", "written"])
    monkeypatch.setattr(run_files, "artifacts", lambda run: nothing)
    monkeypatch.setattr(results, "COMMITTED", Path("results"))
    return state


def test_the_plans_artifacts_are_those_that_the_stages_build(quick, sealed, monkeypatch):
    monkeypatch.setattr(privacy.Ledger, "settle", lambda *arguments: None)
    for p in (*POINTS, Params(options={"prior": "noisy"})):
        asked = {}

        def build(name, timed, asked=asked):
            asked[name.kind] = (name.path, name.identity, name.ancestors)
            artifact = recipes.Artifact(name.path, name.identity, {"lineage": list(name.ancestors)})
            return recipes.Stored(artifact=artifact)

        monkeypatch.setattr(store, "build", build)
        run = Run(p, sealed)
        names = run.recipes()
        assert not asked and run.synthesiser
        assert asked == {name.kind: (name.path, name.identity, name.ancestors) for name in names.values()}, p.method
        permits = [name.inputs["permit"].name for name in names.values() if "permit" in name.inputs]
        assert permits == [m.name for m in run.plan.mechanisms]


def of_each(jobs):
    """The notes of each method's private run."""
    runs = {job.p.digest: job.p for job in jobs if math.isfinite(job.p.epsilon)}
    return {p.method: [job.note for job in jobs if job.p == p] for p in runs.values()}


def test_shared_work_counts_once(quick, sealed):
    jobs = list(reproduce.schedule([Run(p, sealed) for p in POINTS]))
    assert len(jobs) == sum(len(pages.pages(p.method)) for p in POINTS) and not any(job.cached for job in jobs)
    notes, shared = of_each(jobs), f"shares the work of {POINTS[0].run_name}"
    assert notes["rpgen"] == [""] * 5 and notes["privimage_d"] == [shared, shared, "", "", ""]
    assert {method: own for method, own in notes.items() if own != ["", ""]}.keys() == {"rpgen", "privimage_d"}
    again = [Params(), Params(method="dpdm"), Params(method="dpdm", n_synthetic=300)]
    (page, evaluation) = of_each(list(reproduce.schedule([Run(p, sealed) for p in again])))["dpdm"]
    assert page == f"shares the work of {again[1].run_name}" and evaluation == ""


def test_expected_minutes_come_from_committed_results_and_a_twins_from_its_own_method(quick, sealed, monkeypatch):
    folder = Path("results")
    folder.mkdir()
    monkeypatch.setattr(results, "COMMITTED", folder)
    (folder / "published.csv").write_text("source,metric,value\nx,seconds-query,1\n")
    rows = [("smoke", "rpgen", "", "pretrain", 60), ("smoke", "rpgen", "", "pretrain", 120),
            ("laptop", "rpgen", "", "finetune", 60), ("smoke", "nonprivate", "pdp_diffusion", "finetune", 30),
            ("smoke", "nonprivate", "rpgen: votes 2", "finetune", 90), ("smoke", "dpdm", "", "pretrain", 6),
            ("smoke", "dpdm", "", "finetune", 60)]  # fmt: skip
    lines = [f"{scale},{row},{variant},seconds-{stage},{value}" for scale, row, variant, stage, value in rows]
    lines = ["scale,method,variant,metric,value", *lines, "smoke,rpgen,,CA-CNN,90"]
    (folder / "smoke.csv").write_text("\n".join(lines))
    twins = [Params(method=method, epsilon=math.inf) for method in ("rpgen", "pdp_diffusion")]
    minutes = {
        (job.p.method, job.p.epsilon, job.page): job.minutes
        for job in reproduce.schedule([Run(p, sealed) for p in (Params(), *twins, Params(method="dpdm"))])
    }
    assert minutes["rpgen", 10, "03_pretrain_amp"] == 1.5 and minutes["rpgen", 10, "04_dp_finetune"] is None
    assert minutes["rpgen", math.inf, "04_dp_finetune"] == 1.5
    assert minutes["pdp_diffusion", math.inf, "methods/without_selection"] is None  # of whose base nothing is known
    assert minutes["dpdm", 10, "methods/without_selection"] == pytest.approx(1.1)  # it has no query and no selection


def test_what_stands_needs_only_its_notebook(quick, sealed):
    run = Run(Params(), sealed)
    for kind in ("encoder", "release"):
        run.recipe(kind).path.mkdir(parents=True)
    query, selection, *_ = reproduce.schedule([run])
    assert (query.note, query.minutes, query.cached) == ("its work is done", 0.0, False)
    assert selection.note == ""


def test_axes_of_the_command_line_replace_those_of_the_file(quick):
    path = Path("params/table.yaml")
    assert [p.method for p in experiments.load(path).points()] == ["rpgen", "privimage_d", "dpdm"]
    axes = {"method": ["dpdm", "rpgen"], "seed": [1, 2], "epsilon": ["5", "inf", "5"]}
    points = experiments.load(path, **axes).points()
    assert [(p.method, p.seed, p.epsilon) for p in points[:3]] == [
        ("dpdm", 1, 5),
        ("dpdm", 1, math.inf),
        ("dpdm", 2, 5),
    ]
    assert len(points) == 8
    assert [p.method for p in experiments.load(path, epsilon=["1"]).points()] == ["rpgen", "privimage_d"]


def test_reproduce_plans_runs_joins_and_skips_what_is_done(performed, capsys):
    done = performed.done
    assert reproduce.main(["--scale", "smoke"]) == 0
    first = capsys.readouterr().out
    of = {m: [Path(page).name for page in pages.pages(m)] for m in ("rpgen", "privimage_d", "dpdm")}
    assert done == [(m, 10.0, 0, page) for m, own in of.items() for page in own]
    assert "12 notebooks, 0 cached, 12 to do" in first
    assert first.index("to do") < first.index("[1/12] mnist5k-glyphs-rpgen")
    frame = results.read_results("smoke")
    assert set(frame["experiment"]) == {"table"} and list(frame["method"]) == ["rpgen", "privimage_d", "dpdm"]
    assert "90.0" in first and "not run" in first and "total time:" in first
    assert f"build/smoke/{Params().run_name}" in first
    assert "table-mnist5k-CA-CNN.png" in first and Path("build/smoke/table-mnist5k-CA-CNN.png").exists()
    done.clear()
    assert reproduce.main(["--scale", "smoke"]) == 0
    assert done == [] and "12 cached, 0 to do" in capsys.readouterr().out
    Path("notebooks/02_selection.py").write_text("changed = True")
    (results.run_folder(Params()) / "metrics.csv").unlink()
    assert reproduce.main(["--scale", "smoke", "--method", "rpgen"]) == 0
    assert done == [("rpgen", 10.0, 0, "02_selection"), ("rpgen", 10.0, 0, "05_eval_figures")]
    assert list(results.read_results("smoke")["method"]) == ["rpgen", "privimage_d", "dpdm"]
    capsys.readouterr()


def test_another_seed_joins_the_table_beside_those_of_the_file(performed, capsys):
    reproduce.main(["--scale", "smoke"])
    reproduce.main(["--scale", "smoke", "--method", "rpgen", "--seed", "1"])
    frame = results.read_results("smoke")
    assert len(frame) == 4 and "90.5 ± 0.7" in capsys.readouterr().out


def test_a_dry_run_executes_nothing(performed, capsys):
    assert reproduce.main(["--scale", "smoke", "--dry-run"]) == 0
    assert performed.done == [] and not (performed.root / "build" / "smoke").exists()
    assert "12 to do" in capsys.readouterr().out


def test_one_failure_ends_it_and_the_same_command_resumes(performed, capsys):
    done, performed.stop = performed.done, "03_pretrain_amp"
    assert reproduce.main(["--scale", "smoke", "--method", "rpgen"]) == 1
    assert [stage for *_, stage in done] == ["01_semantic_query", "02_selection", "03_pretrain_amp"]
    assert "a cell failed" in capsys.readouterr().err and not (performed.root / "build/smoke/results.csv").exists()
    done.clear()
    performed.stop = None
    assert reproduce.main(["--scale", "smoke", "--method", "rpgen"]) == 0
    assert [stage for *_, stage in done] == ["03_pretrain_amp", "04_dp_finetune", "05_eval_figures"]
    capsys.readouterr()


def test_a_picture_that_is_not_drawn_stops_nothing_and_is_told_last(performed, capsys):
    performed.undrawn = {"01_semantic_query": ["cell [9], IndexError: no such class"]}
    call = ["--scale", "smoke", "--method", "rpgen"]
    assert reproduce.main(call) == reproduce.UNDRAWN == 3
    said = capsys.readouterr()
    name = next(p.run_name for p in experiments.load(Path("params/table.yaml"), method="rpgen").points())
    assert said.err == (
        f"1 picture could not be drawn: {name}/01_semantic_query.ipynb cell [9], IndexError: no such class; "
        "all else is done\n"
    )
    assert list(results.read_results("smoke")["method"]) == ["rpgen"] and "total time:" in said.out
    assert len(performed.done) == 5 and not (performed.root / "build/smoke/measured.json").exists()
    performed.done.clear()
    performed.undrawn = {}
    assert reproduce.main(call) == 0
    assert [stage for *_, stage in performed.done] == ["01_semantic_query"]
    assert "its pictures are drawn anew" in capsys.readouterr().out
    performed.done.clear()
    assert reproduce.main(call) == 0 and performed.done == []


@pytest.mark.parametrize(("module", "name"), [(comparison, "table"), (results, "draw")])
def test_the_last_table_and_figures_cannot_undo_a_run(performed, monkeypatch, capsys, module, name):
    def fails(*arguments):
        raise ZeroDivisionError("no\nvalues")

    monkeypatch.setattr(module, name, fails)
    assert reproduce.main(["--scale", "smoke", "--method", "dpdm"]) == 3
    said = capsys.readouterr()
    assert said.err == "1 picture could not be drawn: mnist5k, ZeroDivisionError: no values; all else is done\n"
    assert "results: " in said.out and len(results.read_results("smoke")) == 1


@pytest.mark.parametrize(
    ("page", "name", "text"),
    [
        ("05_eval_figures", "metrics.csv", b""), ("05_eval_figures", "metrics.csv", b"a,b\n1,2\n"),
        ("05_eval_figures", "metrics.csv", b"\xff\xfe\x00"), ("04_dp_finetune", "certificate.json", b'{"epsilon": '),
        ("04_dp_finetune", "certificate.json", b"[]"), ("03_pretrain_amp", "03_pretrain_amp.ipynb", b'{"cells": ['),
        ("01_semantic_query", "01_semantic_query.ipynb", b"[]"),
    ],
)  # fmt: skip
def test_what_is_not_whole_of_a_finished_run_is_made_anew(performed, capsys, page, name, text):
    call = ["--scale", "smoke", "--method", "rpgen"]
    assert reproduce.main(call) == 0
    performed.done.clear()
    (p,) = experiments.load(Path("params/table.yaml"), method="rpgen").points()
    (results.run_folder(p) / name).write_bytes(text)
    assert reproduce.main(call) == 0
    assert [done for *_, done in performed.done] == [page]
    assert list(results.read_results("smoke")["method"]) == ["rpgen"]
    capsys.readouterr()


@pytest.mark.parametrize("text", [b"", b"\x00\xff", b"method,value\n1,2\n"])
def test_results_that_are_not_whole_are_named_before_anything_runs(performed, capsys, text):
    path = performed.root / "build/smoke/results.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    assert reproduce.main(["--scale", "smoke"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path} is not a table of results; delete it") and said.count("\n") == 1
    assert performed.done == []


@pytest.fixture
def folder(performed, monkeypatch):
    """The same for a user's own folder, whose 4 records nobody may learn of."""
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    own = privacy.Private(
        name="folder:photos", images=images, labels=torch.zeros(4).long(), classes=("all",), n_records=40, builtin=False
    )
    monkeypatch.setattr(catalog, "private", lambda name, split, **declared: own)
    Path("params/mine.yaml").write_text(
        "reproduces: Mine.\nscale: smoke\nover: {method: [dpdm]}\nprivate: folder:photos\nnoise: secret\ndelta: 1e-3\n"
        "n_records: 40\nlabels: []\nsize: 32\n"
    )
    return performed


def test_of_a_users_own_folder_no_time_and_no_count_is_told_and_no_decoded_copy_stays(folder, capsys):
    call = ["--scale", "smoke", "--experiment", "mine"]
    for arguments in ([*call, "--dry-run"], call):
        assert reproduce.main(arguments) == 0
        said = "".join(capsys.readouterr()).lower()
        assert "photos" in said and "time:" not in said and "second" not in said
        assert "4" not in re.sub(r"/\S+|\S+-eps10-\S+|\[\d/2\]|gpu", "", said), said
        assert folder.forgotten == ["folder:photos"]
        folder.forgotten.clear()


@pytest.mark.parametrize("stop", ["without_selection", "05_eval_figures"])
def test_decoded_records_are_removed_after_a_failure_too(folder, capsys, stop):
    folder.stop = stop
    assert reproduce.main(["--scale", "smoke", "--experiment", "mine"]) == 1
    assert folder.forgotten == ["folder:photos"]
    capsys.readouterr()


def test_a_benchmark_has_no_decoded_copy_to_remove(performed, capsys):
    assert reproduce.main(["--scale", "smoke", "--method", "dpdm"]) == 0 and performed.forgotten == []
    capsys.readouterr()


def test_the_runs_may_be_made_side_by_side(performed, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(workers, "perform", lambda runs, total, path, at_once: asked.append((runs, total, at_once)))
    assert reproduce.main(["--scale", "smoke", "--jobs", "3"]) == 0
    ((runs, total, at_once),) = asked
    assert at_once == 3 and total == sum(map(len, runs)) == 12
    assert all(len({task.p.digest for task in tasks}) == 1 for tasks in runs)
    assert [task.number for tasks in runs for task in tasks] == list(range(1, total + 1))
    with pytest.raises(SystemExit):
        reproduce.main(["--scale", "smoke", "--jobs", "0"])
    assert "0: at least one run at a time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scale", "desk"], "params/table.yaml: no such scale 'desk'; there are gpu, laptop"),
        (["--experiment", "table9"], "no experiment 'table9' below params/; there are table"),
        (["--experiment", "../params/table"], "no experiment '../params/table'"),
        (["--experiment", "params/none.yaml"], "params/none.yaml: no such parameter file"),
        (["--method", "gan"], "no method 'gan'"),
        (["--epsilon", "-1"], "epsilon=-1"),
        (["--epsilon", "much"], "epsilon='much'"),
        (["--seed", "-3"], "seed=-3"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(performed, capsys, arguments, said):
    assert reproduce.main(["--scale", "smoke", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and said in err and err.count("\n") == 1
    assert performed.done == [] and not (performed.root / "ledger").exists()


def test_started_below_the_project_it_runs_there(performed, monkeypatch, capsys):
    monkeypatch.delenv("DPSYNTH_ROOT")
    monkeypatch.chdir("notebooks")
    assert reproduce.main(["--scale", "smoke", "--method", "dpdm"]) == 0
    assert len(performed.done) == 2 and Path.cwd() == performed.root
    assert (performed.root / "build/smoke").exists() and not list(Path("notebooks").glob("build"))


def test_without_notebooks_it_says_where_to_start(performed, capsys):
    Path("notebooks/02_selection.py").unlink()
    assert reproduce.main(["--scale", "smoke"]) == 2
    assert "02_selection.py: no such notebook; start in the project's own folder" in capsys.readouterr().err


@pytest.fixture
def bare(root, monkeypatch):
    """A project folder with scales and nothing else."""
    monkeypatch.chdir(root)
    Path("notebooks").mkdir()
    Path("notebooks/01_semantic_query.py").touch()
    shutil.copytree(SCALES, "params/scales")
    return root


def test_a_folder_that_is_missing_is_refused_before_any_plan(bare, monkeypatch, capsys):
    monkeypatch.setattr(planning, "plan", lambda *arguments: pytest.fail("a plan was made"))
    path = Path("params/mine.yaml")
    path.write_text(
        "reproduces: Mine.\nover: {method: [dpdm]}\nprivate: folder:photos\nnoise: secret\n"
        "n_records: 100\nlabels: [cat, dog]\nsize: 32\n"
    )
    assert experiments.load(path).points()
    monkeypatch.setattr(catalog, "forget_decoded", lambda private: None)
    assert reproduce.main(["--scale", "smoke", "--experiment", "mine"]) == 2
    err = capsys.readouterr().err
    assert "photos" in err and err.count("\n") == 1 and not (bare / "ledger").exists()


def test_a_budget_too_small_is_refused_before_a_kernel_starts(bare, monkeypatch, capsys):
    monkeypatch.setattr(workers, "perform", lambda *arguments: pytest.fail("a kernel was started"))
    Path("params/mine.yaml").write_text(
        "reproduces: Mine.\nscale: smoke\nover: {method: rpgen}\nepsilon: 0.5\nmethods: {rpgen: {query_noise: 0.5}}\n"
    )
    assert reproduce.main(["--experiment", "mine"]) == 2
    said = capsys.readouterr().err
    assert "\nerror: semantic_histogram at noise multiplier 0.5 alone costs epsilon=" in f"\n{said}".replace("\r", "\n")
    assert "the whole budget is epsilon=0.5" in said and not Path("ledger").exists()


def test_the_privacy_of_a_run_is_said_with_its_adjacency(monkeypatch):
    mechanisms = (Counts("semantic_histogram", 5, 4.0),)
    monkeypatch.setattr(planning, "query_noise", lambda p, votes, learn: 4.0)
    monkeypatch.setattr(planning, "plan", lambda p, _: privacy.Plan("mnist5k", 4000, p.epsilon, 1e-5, mechanisms))
    said = reproduce.privacy_of(Run(Params()))
    assert said.startswith(f"{Params().run_name}: semantic_histogram x1 at noise multiplier 4; epsilon ")
    assert said.endswith(" of 10 at delta 1e-05 (add or remove one record)")
    monkeypatch.undo()
    assert "not private" in reproduce.privacy_of(Run(Params(epsilon=math.inf)))


@pytest.mark.parametrize("scale", ["../smoke", "../params/scales/smoke", "smoke.yaml"])
def test_a_path_is_no_name_of_a_scale(performed, capsys, scale):
    assert reproduce.main(["--scale", scale]) == 2
    assert "no such scale" in capsys.readouterr().err and performed.done == []


def test_the_scale_is_the_files_unless_another_is_named(performed, capsys):
    assert reproduce.main(["--dry-run"]) == 0
    at_smoke = capsys.readouterr().out
    assert Params().run_name in at_smoke and reproduce.main(["--scale", "laptop", "--dry-run"]) == 0
    at_laptop = capsys.readouterr().out
    assert Params.at("laptop").run_name in at_laptop and Params().run_name not in at_laptop
