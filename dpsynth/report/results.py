"""Numbers of a run as files, joined to one results.csv; and the figures of a reproduction as files."""

import importlib.resources
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dpsynth import device, figures, provenance, store
from dpsynth.experiments import Experiment
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.pipeline import STAGE_OF, STAGES, Run
from dpsynth.privacy.disk import forget_times

COLUMNS = [
    "experiment", "variant", "scale", "dataset", "public", "method", "epsilon_target", "epsilon_spent",
    "delta", "adjacency", "accountant", "noise", "seed", "metric", "value", "n_synthetic", "n_reference",
    "extractor", "device", "commit", "params_digest",
]  # fmt: skip
# What pandas would guess wrong: 0123 and 12e5 are no numbers, and a count stays whole beside missing ones.
TYPES = dict.fromkeys(("experiment", "variant", "commit", "params_digest"), "str")
TYPES |= dict.fromkeys(("n_synthetic", "n_reference"), "Int64")
COMMITTED = Path(__file__).parents[2] / "results"  # of a checkout; an installed package has none


class Cost(NamedTuple):
    """Of one stage: seconds of work, and the largest resident memory of its process in MiB."""

    seconds: float
    peak_MiB: float


def run_folder(p: Params) -> Path:
    """Where a run's executed notebooks, certificate and metrics lie."""
    return store.root() / "build" / p.scale / p.run_name


def stage_costs(run: Run) -> dict[str, Cost]:
    """What each stage took when its artifacts were made; shared work counts in full.

    A stage without artifacts is left out; of a user's own records nothing is told.
    """
    costs: dict[str, Cost] = {}
    for meta in made(run).values():
        stage = STAGE_OF.get(meta["kind"])
        before = costs.get(stage, Cost(0.0, 0.0))
        costs[stage] = Cost(before.seconds + meta["seconds"], max(before.peak_MiB, meta["peak_MiB"]))
    return {stage: costs[stage] for stage in STAGES if stage in costs}


def made(run: Run) -> dict[str, dict[str, Any]]:
    """What meta.json says of each timed artifact of the run's lineage, and when it was `written`, by digest.

    Nothing of a folder set.
    """
    if not run.params.constants.builtin:
        return {}
    finished = [measured.artifact for measured in run.measurements.values()]
    timed = {}
    for digest in dict.fromkeys(d for artifact in finished for d in artifact.lineage):
        (folder,) = finished[0].path.parent.glob(f"*-{digest[:16]}")
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if "seconds" in meta:
            timed[digest] = meta | {"written": (folder / "meta.json").stat().st_mtime}
    return timed


def write_metrics(run: Run) -> Path:
    """Write the run's metrics.csv, one row a metric; `experiment` is for `join` to fill.

    Beside the method's own metrics stand the facts of its synthesiser, and what each stage took.
    """
    rows, certificate = [], run.certificate
    own = _identity(run, run.row_name, certificate)
    for name, measured in run.measurements.items():
        meta = measured.artifact.meta
        row = _identity(run, name, certificate) | {"device": meta["device"], "commit": meta["commit"]}
        row |= {k: getattr(measured, k) for k in ("n_synthetic", "n_reference", "extractor")}
        values = measured.values | (facts(run) if name == run.row_name else {})
        rows += [row | {"metric": metric, "value": value} for metric, value in values.items()]
    for stage, cost in stage_costs(run).items():
        row = own | {"device": device.kind(), "commit": provenance.commit()}
        rows.append(row | {"metric": f"seconds-{stage}", "value": round(cost.seconds, 2)})
        rows.append(row | {"metric": f"peak-MiB-{stage}", "value": cost.peak_MiB})
    frame = pd.DataFrame(rows, columns=COLUMNS).astype(TYPES)
    return _timeless(run.params, _write(run_folder(run.params) / "metrics.csv", frame.to_csv(index=False)))


def facts(run: Run) -> dict[str, float]:
    """What the synthesiser says of itself, for results to hold against quality."""
    return {name: fact.item() for name, fact in run.synthesiser.facts.items()}


def write_artifacts(run: Run) -> Path:
    """Write artifacts.json: which folders of build/artifacts are the run's own, by kind."""
    recipes = run.recipes() | {"samples": run.recipe("samples")}
    folders = {kind: recipe.path.name for kind, recipe in recipes.items()}
    path = _write(run_folder(run.params) / "artifacts.json", json.dumps(folders, indent=1) + "\n")
    return _timeless(run.params, path)


def write_synthetic(run: Run) -> Path:
    """Write the synthetic set, what a run is for: synthetic.npz with `images` (N, C, H, W) uint8 and `labels` (N,)."""
    p, samples = run.params, run.samples
    path = run_folder(p) / "synthetic.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(".synthetic.npz")
    np.savez_compressed(aside, images=samples.images.numpy(), labels=samples.labels.numpy())
    os.replace(aside, path)
    return _timeless(p, path)


def write_certificate(run: Run) -> Path:
    """Write the run's certificate.json."""
    text = json.dumps(run.certificate, indent=1, allow_nan=False)
    return _timeless(run.params, _write(run_folder(run.params) / "certificate.json", text + "\n"))


def join(scale: str, experiment: Experiment, points: Sequence[Params]) -> Path:
    """Put the metrics of `points` into build/<scale>/results.csv, in place of the rows `experiment` had.

    Rows of other experiments stay. A method's row has as its variant what sets the run apart, a reference row the
    method and that.
    """
    path = store.root() / "build" / scale / "results.csv"
    parts = []
    for p in points:
        part = _read(run_folder(p) / "metrics.csv").assign(experiment=experiment.name)
        apart, own = experiment.variant(p), part["method"] == p.method
        part.loc[own, "variant"] = apart
        part.loc[~own, "variant"] = f"{p.method}: {apart}" if apart else p.method
        parts.append(part)
    if path.exists():
        before = _read(path)
        parts.append(before[before["experiment"] != experiment.name])
    parts = [part for part in parts if len(part)]
    joined = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    return _write(path, joined.to_csv(index=False))


def read_results(scale: str) -> pd.DataFrame:
    """build/<scale>/results.csv as a frame with `COLUMNS`.

    Raises:
        FileNotFoundError: nothing was run yet.
    """
    path = store.root() / "build" / scale / "results.csv"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no results yet; `make reproduce SCALE={scale}` makes them")
    return _read(path)


def are_readable(scale: str) -> None:
    """build/<scale>/results.csv is whole, or is not there yet.

    Raises:
        ValueError: it is not.
    """
    path = store.root() / "build" / scale / "results.csv"
    if path.exists() and not _is_whole(path):
        raise ValueError(f"{path} is not a table of results; delete it and run again: it is joined of all runs")


def are_whole(p: Params, names: Sequence[str]) -> bool:
    """Whether the files `names` of the run's folder stand, and can be read."""
    return all(_is_whole(run_folder(p) / name) for name in names)


def read_committed(experiment: str) -> pd.DataFrame:
    """results/<experiment>.csv, the reference runs that the README prints."""
    return _read(COMMITTED / f"{experiment}.csv")


def draw(results: pd.DataFrame, folder: Path, wanted: Sequence[str] | None = None) -> list[Path]:
    """Write a reproduction's figures into `folder`, <experiment>-<dataset>-<what>.png: accuracy of every row, and over
    each fact that varies.

    Args:
        results: rows with `COLUMNS`, of one experiment, scale and data set; wanted: these of the figures alone.
    """
    first, written = results.iloc[0], []
    badge = f"{first['scale']} scale, not the papers' | {first['experiment']}, {first['dataset']}"
    for what, figure in figures.whole(results, "CA-CNN", badge=f"{badge}, public {first['public']}").items():
        if wanted is not None and what not in wanted:
            continue
        written.append(folder / f"{first['experiment']}-{first['dataset']}-{what}.png")
        written[-1].write_bytes(figure.png())
    return written


def paper_numbers() -> pd.DataFrame:
    """What the papers print, from other data at another scale.

    Returns:
        source, table, dataset, method (as in the table of methods), epsilon (inf for a non-private twin,
        missing for real images), metric, value, note.
    """
    with (importlib.resources.files("dpsynth") / "papers.csv").open("rb") as file:
        return pd.read_csv(file, keep_default_na=False, na_values={"epsilon": [""]})


def _identity(run: Run, name: str, certificate: dict[str, Any]) -> dict[str, Any]:
    """What a row of the run is, and what it cost: a method all, its reference rows the query alone or nothing."""
    p = run.params
    row = {"scale": p.scale, "dataset": p.private, "public": p.public, "method": name, "seed": p.seed}
    row |= {"params_digest": p.digest, "variant": "" if name in METHODS else p.method}
    row |= {"accountant": "none", "noise": "none"}
    if name == "real":
        return row
    row["epsilon_target"] = p.epsilon
    if not run.plan.is_private:
        return row
    spent = certificate["epsilon"] if name == p.method else run.plan.spent(steps=0)
    cost = {k: certificate[k] for k in ("delta", "adjacency", "accountant")}
    return row | cost | {"epsilon_spent": spent, "noise": p.noise}


def _read(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=TYPES)
    frame = frame.rename(columns={"profile": "scale"})  # its name in results of before
    return frame.fillna(dict.fromkeys(("experiment", "variant"), ""))


def _timeless(p: Params, path: Path) -> Path:
    """A run's file; of a user's own records its time, and its folder's, would tell how long a stage took."""
    if not p.constants.builtin:
        forget_times(path, path.parent, path.parent.parent)
    return path


def _is_whole(path: Path) -> bool:
    """Whether the file is there, and a table with our columns or a mapping in JSON, as its name ends."""
    try:
        if path.suffix == ".csv":
            return list(_read(path)) == COLUMNS
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError, TypeError):
        return False


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
    return path
