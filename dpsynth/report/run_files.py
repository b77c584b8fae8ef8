"""Numbers of a run as files in its folder."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from dpsynth import provenance
from dpsynth.methods import METHODS
from dpsynth.pipeline import Run
from dpsynth.privacy.disk import forget_times, replacing
from dpsynth.recipes import Artifact
from dpsynth.report import measures, results
from dpsynth.steps import STAGE_OF, STAGES


def write(run: Run) -> None:
    """Write all files of the run: what its pages write, each where it is told."""
    for one in (write_certificate, write_synthetic, write_artifacts, write_metrics):
        one(run)


def write_certificate(run: Run) -> Path:
    """Write the run's certificate.json."""
    return _write_json(run, "certificate.json", run.certificate)


def write_synthetic(run: Run) -> Path:
    """Write the synthetic set, what a run is for: synthetic.npz with `images` (N, C, H, W) uint8 and `labels` (N,)."""
    arrays = {"images": run.samples.images.numpy(), "labels": run.samples.labels.numpy()}
    return _write(run, "synthetic.npz", lambda file: np.savez_compressed(file, **arrays))


def write_artifacts(run: Run) -> Path:
    """Write artifacts.json: which folders of build/artifacts are the run's own, by kind."""
    recipes = run.recipes() | {"samples": run.recipe("samples")}
    folders = {kind: recipe.path.name for kind, recipe in recipes.items()}
    return _write_json(run, "artifacts.json", folders)


def write_metrics(run: Run) -> Path:
    """Write the run's metrics.csv, one row a metric; `experiment` is for `join` to fill.

    Beside the method's own metrics stand the facts of its synthesiser, and what each stage took. `commit` is the one
    that wrote the rows: artifacts of before are named by the digest of their code, so that it would make them again.
    """
    rows, certificate = [], run.certificate
    for name, measured in run.measurements.items():
        row = _identity(run, name, certificate) | {"device": devices(measured.artifact), "commit": provenance.commit()}
        row |= {k: getattr(measured, k) for k in ("n_synthetic", "n_reference", "extractor")}
        values = measured.values | (facts(run) if name == run.row_name else {})
        rows += [row | {"metric": metric, "value": value} for metric, value in values.items()]
    for cost in stage_costs(run).itertuples():
        row = _identity(run, run.row_name, certificate) | {"device": cost.device, "commit": provenance.commit()}
        rows.append(row | {"metric": f"seconds-{cost.Index}", "value": round(cost.seconds, 2)})
        if not math.isnan(cost.peak_MiB):
            rows.append(row | {"metric": f"peak-MiB-{cost.Index}", "value": cost.peak_MiB})
    frame = pd.DataFrame(rows, columns=results.COLUMNS).astype(results.TYPES)
    return _write(run, "metrics.csv", lambda file: file.write(results.csv(frame)))


def write_measure(run: Run, measure: str) -> Path:
    """Write <measure>.csv of the run, its rows as in metrics.csv; no such row says what the run cost. Of `answers`,
    answers.npz: by metric a bit for each held-out image, whether it was named rightly."""
    if measure == "answers":
        right = {name: np.packbits(each.numpy()) for name, each in measures.answers(run).right.items()}
        return _write(run, results.ANSWERS, lambda file: np.savez_compressed(file, **right))
    p, rows = run.params, []
    for point in measures.of(run, measure):
        row = {"scale": p.scale, "dataset": p.private, "public": p.public, "method": point.row, "seed": p.seed}
        row |= {"variant": "" if point.row in METHODS else p.method, "epsilon_target": p.epsilon}
        row |= {"noise": p.noise if run.plan.is_private else "none", "accountant": "not stated"}
        row |= {"metric": point.metric, "at": point.at, "value": point.value}
        row |= {"device": devices(point.made), "commit": provenance.commit(), "params_digest": p.digest}
        rows.append(row)
    frame = pd.DataFrame(rows, columns=results.COLUMNS).astype(results.TYPES)
    return _write(run, f"{measure}.csv", lambda file: file.write(results.csv(frame)))


def artifacts(run: Run) -> pd.DataFrame:
    """The timed artifacts of the run's lineage, by digest: `kind`, `seconds` of work, `peak_MiB` meanwhile of the
    process that made it, with all that this held (NaN where the system does not tell), its `device` kind, and when it
    was `written`. None of a folder set: it would tell of the records."""
    finished = [measured.artifact for measured in run.measurements.values()] if run.params.constants.builtin else []
    rows = {}
    for digest in dict.fromkeys(d for artifact in finished for d in artifact.lineage):
        path = _meta(finished[0].path.parent, digest)
        meta = json.loads(path.read_text(encoding="utf-8"))
        if "seconds" in meta:
            peak = math.nan if meta["peak_MiB"] is None else meta["peak_MiB"]
            rows[digest] = [meta["kind"], meta["seconds"], peak, meta["device"], path.stat().st_mtime]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["kind", "seconds", "peak_MiB", "device", "written"])


def stage_costs(run: Run) -> pd.DataFrame:
    """`seconds` of work, `peak_MiB` and `device` of each stage that has artifacts, in order; shared work counts in
    full."""
    timed = artifacts(run)
    by_stage = timed.groupby(timed["kind"].map(STAGE_OF))
    costs = by_stage.agg({"seconds": "sum", "peak_MiB": "max", "device": _each})
    return costs.reindex([stage for stage in STAGES if stage in costs.index])


def devices(artifact: Artifact) -> str:
    """The kinds of devices that made an artifact and what stands behind it: "cuda", or "cpu+cuda" where both did."""
    behind = (_meta(artifact.path.parent, digest) for digest in artifact.meta["lineage"])
    metas = [*(json.loads(path.read_text(encoding="utf-8")) for path in behind), artifact.meta]
    return _each(meta["device"] for meta in metas)


def facts(run: Run) -> dict[str, float]:
    """What the synthesiser says of itself, for results to hold against quality."""
    return {name: fact.item() for name, fact in run.synthesiser.facts.items()}


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


def _each(names: Iterable[str]) -> str:
    return "+".join(sorted(set(names)))


def _meta(folder: Path, digest: str) -> Path:
    """The file that says what the artifact of this digest is."""
    (path,) = folder.glob(f"*-{digest[:16]}/meta.json")
    return path


def _write_json(run: Run, name: str, value: dict[str, Any]) -> Path:
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    return _write(run, name, lambda file: file.write(text.encode()))


def _write(run: Run, name: str, save: Callable[[BinaryIO], Any]) -> Path:
    """A file of the run; of a user's own records its time, and its folders', would tell how long a stage took."""
    path = results.run_folder(run.params) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        save(file)
    if not run.params.constants.builtin:
        forget_times(path, path.parent, path.parent.parent)
    return path
