"""A run's files, the results joined from them, and the table of a reproduction."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from dpsynth import privacy, provenance, recipes
from dpsynth.artifacts import Measurement, Samples, Synthesiser
from dpsynth.experiments import Experiment
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy import Counts, Gradients
from dpsynth.report import comparison, measures, results, run_files

CERTIFICATE = {"epsilon": 9.99, "delta": 1e-5, "adjacency": "add or remove one record", "accountant": "PLD"}
COSTS = pd.DataFrame(
    {"seconds": [12.5, 300.0], "peak_MiB": [800.0, 900.5], "device": ["cuda", "cpu"]}, index=["query", "finetune"]
)


def measurement(accuracy, lineage=(), digest="f" * 64, path=None):
    meta = {"lineage": list(lineage), "device": "cpu", "commit": "0123456789ab"}
    return Measurement(
        {"CA-CNN": accuracy, "FD-convnet": 3.25},
        200,
        1000,
        "convnet",
        artifact=recipes.Artifact(path, digest, meta),
    )


class Told(Run):
    """A run that nobody made: its plan is not calibrated, and its measurements are given."""

    certificate = CERTIFICATE
    synthesiser = Synthesiser({}, {}, facts={"learning-percent": torch.tensor(12.5)})

    def __init__(self, p, **rows):
        super().__init__(p)
        learn = Gradients("dp_sgd", p.sample_rate, p.steps, 2.0, 1.0, 1, p.sample_rate * 4000)
        mechanisms = (Counts("semantic_histogram", 5, 4.0), learn)
        mechanisms = mechanisms if math.isfinite(p.epsilon) else ()
        self.plan = privacy.Plan(p.private, 4000, p.epsilon, p.delta, mechanisms)
        self.measurements = rows


@pytest.fixture
def untimed(monkeypatch):
    monkeypatch.setattr(run_files, "stage_costs", lambda run: COSTS[:0])


def rows_of(*rows, **common):
    """A frame as results.csv gives it: (method, variant, epsilon, seed, metric, value)."""
    names = ["method", "variant", "epsilon_target", "seed", "metric", "value"]
    frame = pd.DataFrame([dict(zip(names, row, strict=True)) for row in rows], columns=results.COLUMNS)
    return frame.assign(**common)


def test_metrics_have_a_row_each_with_what_it_cost(root, monkeypatch):
    monkeypatch.setattr(run_files, "stage_costs", lambda run: COSTS)
    p = Params(seed=3)
    rows = {name: measurement(80 + i) for i, name in enumerate(("rpgen", "floor_public", "pretrained", "real"))}
    run = Told(p, **rows)
    path = run_files.write_metrics(run)
    assert path == root / "build" / "smoke" / p.run_name / "metrics.csv"
    assert [file.name for file in path.parent.iterdir()] == ["metrics.csv"]
    frame = results.read(path)
    assert ",200,1000,convnet," in path.read_text()
    assert list(frame.columns) == results.COLUMNS and len(frame) == 4 * 2 + 1 + 2 * 2
    fact = frame[frame["metric"] == "learning-percent"]
    assert fact["method"].tolist() == ["rpgen"] and fact["value"].tolist() == [12.5]
    by = frame[frame["metric"] == "CA-CNN"].set_index("method")
    assert list(by["value"]) == [80, 81, 82, 83] and set(by["seed"]) == {3}
    assert dict(by["variant"]) == {
        "rpgen": "",
        "floor_public": "rpgen",
        "pretrained": "rpgen",
        "real": "rpgen",
    }
    assert by.loc["rpgen", "epsilon_spent"] == 9.99 and by.loc["rpgen", "epsilon_target"] == 10
    query = run.plan.spent(steps=0)
    assert 0 < query < 9.99
    assert by.loc["floor_public", "epsilon_spent"] == by.loc["pretrained", "epsilon_spent"] == query
    assert by.loc["real", ["epsilon_target", "epsilon_spent", "delta", "adjacency"]].isna().all()
    assert dict(by["accountant"]) == {
        "rpgen": "PLD",
        "floor_public": "PLD",
        "pretrained": "PLD",
        "real": "none",
    }
    assert dict(by["noise"]) == {
        "rpgen": "seeded",
        "floor_public": "seeded",
        "pretrained": "seeded",
        "real": "none",
    }
    assert set(by["params_digest"]) == {p.digest} and set(by["commit"]) == {provenance.commit()}
    assert set(by["n_reference"]) == {1000} and set(by["extractor"]) == {"convnet"}
    costs = frame[frame["metric"].str.contains("-MiB-|seconds")].set_index("metric")
    assert dict(costs["value"]) == {
        "seconds-query": 12.5, "peak-MiB-query": 800.0, "seconds-finetune": 300.0, "peak-MiB-finetune": 900.5
    }  # fmt: skip
    assert set(costs["method"]) == {"rpgen"}


def test_the_twin_states_no_privacy(root, untimed):
    frame = results.read(run_files.write_metrics(Told(Params(epsilon=math.inf), nonprivate=measurement(97.0))))
    (row,) = frame[frame["metric"] == "CA-CNN"].to_dict("records")
    assert row["method"] == "nonprivate" and row["variant"] == "rpgen" and math.isinf(row["epsilon_target"])
    assert row["accountant"] == row["noise"] == "none"
    assert all(math.isnan(row[name]) for name in ("epsilon_spent", "delta", "adjacency"))


def test_a_certificate_is_json(root):
    run = Told(Params())
    path = run_files.write_certificate(run)
    assert path == results.run_folder(run.params) / "certificate.json" and json.loads(path.read_text()) == CERTIFICATE
    run.__class__ = type("Infinite", (Told,), {"certificate": {"epsilon": math.inf}})
    with pytest.raises(ValueError):
        run_files.write_certificate(run)
    assert json.loads(path.read_text()) == CERTIFICATE


def test_costs_are_read_from_the_lineage_of_the_measurements(root):
    made = [
        ("encoder", 10.0, 500.0, "cpu"), ("release", 2.0, 700.0, "cuda"), ("base", 30.0, 600.0, "cuda"),
        ("synthesiser", None, None, "cuda"), ("samples", 4.0, 650.0, "cpu"), ("measurement", 6.0, 640.0, "cpu"),
        ("measurement", 5.0, 630.0, "cpu"),
    ]  # fmt: skip
    digests = [f"{number:x}" * 64 for number in range(len(made))]
    for (kind, seconds, peak, device), digest in zip(made, digests, strict=True):
        folder = root / "build" / "artifacts" / f"{kind}-{digest[:16]}"
        folder.mkdir(parents=True)
        cost = {} if seconds is None else {"seconds": seconds, "peak_MiB": peak}
        (folder / "meta.json").write_text(json.dumps({"kind": kind, "device": device, **cost}))
        folder.with_name(folder.name + ".lock").touch()
    rows = {name: measurement(1, digests[:5], digest, folder) for name, digest in zip("ab", digests[5:], strict=True)}
    run = Told(Params(), **rows)
    costs = run_files.stage_costs(run)
    assert costs.T.to_dict("list") == {
        "query": [12, 700, "cpu+cuda"], "pretrain": [30, 600, "cuda"], "evaluate": [15, 650, "cpu"],
    }  # fmt: skip
    assert run_files.devices(rows["a"].artifact) == "cpu+cuda"
    own = {"private": "folder:photos", "noise": "secret", "n_records": 4000, "labels": ["cat", "dog"], "size": 32}
    assert run_files.stage_costs(Told(Params(**own), **rows)).empty  # which would tell of the records


def test_the_synthetic_set_is_one_file_of_images_and_labels(root):
    run = Told(Params())
    images, labels = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4), torch.tensor([3])
    run._made["samples"] = Samples(images, labels)
    with np.load(run_files.write_synthetic(run)) as kept:
        assert (kept["images"] == images.numpy()).all() and kept["labels"].tolist() == [3]
    assert [file.name for file in results.run_folder(run.params).iterdir()] == ["synthetic.npz"]


def test_runs_are_joined_under_their_experiment(root, untimed):
    runs = [Params(seed=seed) for seed in (0, 1)]
    for p in runs:
        run_files.write_metrics(Told(p, rpgen=measurement(90 + p.seed)))
    with pytest.raises(FileNotFoundError, match="make reproduce SCALE=smoke"):
        results.read_results("smoke")
    table, other = (Experiment(name=name, reproduces="a test", over={"method": "rpgen"}) for name in ("table", "other"))
    results.join("smoke", table, runs)
    results.join("smoke", other, runs[:1])
    assert results.join("smoke", table, runs[1:]) == root / "build" / "smoke" / "results.csv"
    frame = results.read_results("smoke")
    assert list(frame.columns) == results.COLUMNS
    kept = frame[frame["metric"] == "CA-CNN"]
    assert sorted(zip(kept["experiment"], kept["seed"], strict=True)) == [("other", 0), ("table", 1)]
    assert set(frame["commit"]) == {provenance.commit()} and set(frame["variant"]) == {""}
    results.join("smoke", table, [])
    assert set(results.read_results("smoke")["experiment"]) == {"other"}


def test_a_run_whose_options_are_not_the_usual_ones_is_a_row_of_its_own(root, untimed):
    usual = {"rpgen": {"kept": 3}}
    over = [{"method": ["rpgen"], "learning_rate": [1e-3, 2e-2]}]
    experiment = Experiment(name="ablations", reproduces="a test", over=over, methods=usual)
    runs = [Params(options={"kept": 3}), Params(options={"kept": 3, "votes": 2}, learning_rate=2e-2)]
    for value, p in enumerate(runs):
        run_files.write_metrics(Told(p, rpgen=measurement(90 + value), real=measurement(99)))
    results.join("smoke", experiment, runs)
    table = comparison.table(results.read_results("smoke"))["CA-CNN"]
    assert table["real"] == "99.0" and table["rpgen"] == "90.0"
    assert table["rpgen (learning_rate 0.02, votes 2)"] == "91.0"
    results.join("smoke", experiment, runs[1:])
    assert "rpgen (learning_rate 0.02, votes 2)" in comparison.table(results.read_results("smoke")).index


def test_reference_rows_of_runs_that_are_set_apart_are_too(root, untimed):
    experiment = Experiment(name="ablations", reproduces="a test", over={"method": "rpgen"})
    runs = [Params(), Params(options={"votes": 2})]
    for value, p in enumerate(runs):
        run_files.write_metrics(Told(p, rpgen=measurement(90 + value), floor_public=measurement(80 + value)))
    results.join("smoke", experiment, runs)
    table = comparison.table(results.read_results("smoke"))["CA-CNN"]
    assert table["floor_public (rpgen)"] == "80.0" and table["floor_public (rpgen: votes 2)"] == "81.0"


def test_reference_rows_that_agree_are_one_though_not_all_methods_had_each_seed():
    cells = [("real", method, math.nan, 0, "CA-CNN", 98.0) for method in ("rpgen", "dpdm")]
    table = comparison.table(rows_of(*cells, ("real", "rpgen", math.nan, 1, "CA-CNN", 99.0)))
    assert table.loc["real", "CA-CNN"] == "98.5 ± 0.7" and table.loc["real", "seeds"] == 2


def test_the_comparison_has_means_spreads_and_its_order():
    frame = rows_of(
        ("floor_public", "rpgen", 10.0, 0, "CA-CNN", 84.0),
        ("dpdm", "", 10.0, 0, "CA-CNN", 50.0),
        ("rpgen", "", 10.0, 0, "CA-CNN", 90.0),
        ("rpgen", "", 10.0, 1, "CA-CNN", 93.0),
        ("rpgen", "", 10.0, 2, "CA-CNN", 96.0),
        ("rpgen", "", 1.0, 0, "CA-CNN", 88.0),
        ("rpgen", "", 10.0, 0, "KID-convnet", 0.012345),
        ("rpgen", "", 10.0, 0, "seconds-query", 100.0),
        ("nonprivate", "rpgen", math.inf, 0, "CA-CNN", 97.0),
        ("real", "rpgen", math.nan, 0, "CA-CNN", 98.0),
    )
    table = comparison.table(frame)
    assert list(table.index) == ["real", "nonprivate", "rpgen", "rpgen", "dpdm", "pretrained", "floor_public"]
    assert list(table["epsilon"]) == ["none", "none", "1", "10", "10", "", "10"]
    assert list(table["seeds"]) == [1, 1, 1, 3, 1, 0, 1]
    assert list(table["CA-CNN"]) == ["98.0", "97.0", "88.0", "93.0 ± 3.0", "50.0", "not run", "84.0"]
    assert list(table["KID-convnet"]) == ["-", "-", "-", "0.0123", "-", "not run", "-"]
    measured = ["CA-LR", "CA-MLP", "CA-CNN", "KID-convnet", "precision", "recall"]
    assert list(table.columns) == ["epsilon", "seeds", "images", *measured]


def test_reference_rows_name_their_methods_where_they_differ():
    cells = [("floor_public", method, 10.0, 0, "CA-CNN", 84.0) for method in ("rpgen", "privimage_d")]
    cells += [
        ("pretrained", "rpgen", 10.0, 0, "CA-CNN", 80.0),
        ("pretrained", "privimage_d", 10.0, 0, "CA-CNN", 81.0),
    ]
    cells += [("floor_public", "rpgen", math.inf, 0, "CA-CNN", 86.0)]
    table = comparison.table(rows_of(*cells))["CA-CNN"]
    assert dict(table[table != "not run"][:2]) == {
        "pretrained (privimage_d)": "81.0",
        "pretrained (rpgen)": "80.0",
    }
    assert list(table["floor_public"]) == ["84.0", "86.0"]


def test_the_twins_of_several_methods_stay_apart(root, untimed):
    twins = [Params(method=method, epsilon=math.inf) for method in ("rpgen", "pdp_diffusion")]
    twins.append(twins[0].replace(options={"votes": 2}))
    for value, p in enumerate(twins):
        run_files.write_metrics(Told(p, nonprivate=measurement(90 + value)))
    over = {"method": ["rpgen", "pdp_diffusion"], "epsilon": [math.inf]}
    results.join("smoke", Experiment(name="table", reproduces="a test", over=over), twins)
    table = comparison.table(results.read_results("smoke"))
    assert table["CA-CNN"][table["CA-CNN"] != "not run"].to_dict() == {
        "nonprivate (pdp_diffusion)": "91.0", "nonprivate (rpgen)": "90.0", "nonprivate (rpgen: votes 2)": "92.0",
    }  # fmt: skip
    assert set(table["epsilon"][1:4]) == {"none"} and set(table["seeds"][1:4]) == {1}


def test_the_figures_of_a_reproduction_are_files_named_after_it(tmp_path):
    frame = rows_of(("rpgen", "", 10.0, 0, "CA-CNN", 90.0), ("dpdm", "", 10.0, 0, "CA-CNN", 50.0))
    written = results.draw(frame.assign(experiment="table1_digits", dataset="mnist5k"), tmp_path)
    assert [path.name for path in written] == ["table1_digits-mnist5k-CA-CNN.png"]
    assert written[0].read_bytes().startswith(b"\x89PNG")


def test_images_without_labels_have_a_table_and_a_figure_of_distances(tmp_path):
    distances = {"FD-effnet": 12.345, "KID-effnet": 0.001, "precision": 0.5, "recall": 0.25}
    frame = rows_of(
        *(("rpgen", "", 10.0, 0, name, value) for name, value in distances.items()),
        *(("dpdm", "", 10.0, 0, name, 2 * value) for name, value in distances.items()),
    )
    table = comparison.table(frame)
    assert list(table.columns[3:]) == ["CA-LR", "CA-MLP", "CA-CNN", *distances]
    assert list(table.loc["rpgen", "CA-LR":]) == ["-", "-", "-", "12.35", "0.0010", "0.500", "0.250"]
    assert set(table.loc["real", "CA-LR":]) == {"not run"}
    (written,) = results.draw(frame.assign(experiment="table", dataset="celeba32"), tmp_path)
    assert written.name == "table-celeba32-FD-effnet.png"


def test_an_empty_table_says_what_was_not_run():
    table = comparison.table(rows_of())
    assert list(table.index) == ["real", "nonprivate", "pretrained", "floor_public"]
    assert set(table["CA-LR"]) == {"not run"}


def test_runs_that_differ_are_not_averaged():
    twice = [("rpgen", "", 10.0, 0, "CA-CNN", value) for value in (90.0, 91.0)]
    with pytest.raises(ValueError, match="two values of CA-CNN for rpgen, seed 0"):
        comparison.table(rows_of(*twice))


def test_a_measure_has_a_file_of_its_own_and_is_joined_with_the_metrics(root, untimed, monkeypatch):
    p = Params(seed=1)
    run = Told(p, rpgen=measurement(90))
    points = [
        ("rpgen", "similarity", None, 0.5),
        ("all_classes", "similarity", None, 0.1),
        ("rpgen", "loss-x", 4.0, 2.0),
    ]
    made = measurement(1).artifact
    monkeypatch.setitem(measures.MEASURES, "similarity", lambda run: [measures.Point(*point, made) for point in points])
    run_files.write_metrics(run)
    assert run_files.write_measure(run, "similarity").name == "similarity.csv"
    asked = {"measures": ["quality", "similarity"], "over": {"method": "rpgen"}}
    results.join("smoke", Experiment(name="mine", reproduces="a test", **asked), [p])
    frame = results.read_results("smoke")
    told = frame[frame["metric"].isin(["similarity", "loss-x"])].fillna({"at": -1})
    assert told[["method", "variant", "metric", "at", "value"]].values.tolist() == [
        ["rpgen", "", "similarity", -1, 0.5], ["all_classes", "rpgen", "similarity", -1, 0.1],
        ["rpgen", "", "loss-x", 4, 2.0],
    ]  # fmt: skip
    assert "CA-CNN" in set(frame["metric"]) and set(frame["params_digest"]) == {p.digest}
    results.join("smoke", Experiment(name="mine", reproduces="a test", **asked | {"measures": ["similarity"]}), [p])
    assert set(results.read_results("smoke")["metric"]) == {"similarity", "loss-x"}
