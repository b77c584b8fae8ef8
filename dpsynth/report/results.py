"""Numbers of a run as files, joined to one results.csv; and the figures of a reproduction as files."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from dpsynth import figures, project, provenance
from dpsynth.experiments import Experiment
from dpsynth.methods import METHODS
from dpsynth.metrics.names import headline
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy.disk import forget_times, replacing
from dpsynth.project import PACKAGE
from dpsynth.recipes import Artifact
from dpsynth.report import measures
from dpsynth.steps import STAGE_OF, STAGES

COLUMNS = [
    "experiment", "variant", "scale", "dataset", "public", "method", "epsilon_target", "epsilon_spent",
    "delta", "adjacency", "accountant", "noise", "seed", "metric", "at", "value", "n_synthetic", "n_reference",
    "extractor", "device", "commit", "params_digest",
]  # fmt: skip
# What pandas would guess wrong: 0123 and 12e5 are no numbers, and a count stays whole beside missing ones.
TYPES = dict.fromkeys(("experiment", "variant", "commit", "params_digest"), "str")
TYPES |= dict.fromkeys(("n_synthetic", "n_reference"), "Int64")
ANSWERS = "answers.npz"
COMMITTED = PACKAGE.parent / "results"  # of a checkout; an installed package has none
PUBLISHED = PACKAGE / "published.csv"  # the package ships it; results/ has a copy, beside our own


def run_folder(p: Params) -> Path:
    """Where a run's executed notebooks, certificate and metrics lie."""
    return project.root() / "build" / p.scale / p.run_name


def stage_costs(run: Run) -> pd.DataFrame:
    """`seconds` of work, `peak_MiB` and `device` of each stage that has artifacts, in order; shared work counts in
    full."""
    timed = artifacts(run)
    by_stage = timed.groupby(timed["kind"].map(STAGE_OF))
    costs = by_stage.agg({"seconds": "sum", "peak_MiB": "max", "device": _each})
    return costs.reindex([stage for stage in STAGES if stage in costs.index])


def artifacts(run: Run) -> pd.DataFrame:
    """The timed artifacts of the run's lineage, by digest: `kind`, `seconds` of work, `peak_MiB` of the process that
    made it, its `device` kind, and when it was `written`. None of a folder set: it would tell of the records."""
    finished = [measured.artifact for measured in run.measurements.values()] if run.params.constants.builtin else []
    rows = {}
    for digest in dict.fromkeys(d for artifact in finished for d in artifact.lineage):
        path = _meta(finished[0].path.parent, digest)
        meta = json.loads(path.read_text(encoding="utf-8"))
        if "seconds" in meta:
            rows[digest] = [*(meta[name] for name in ("kind", "seconds", "peak_MiB", "device")), path.stat().st_mtime]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["kind", "seconds", "peak_MiB", "device", "written"])


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
        rows.append(row | {"metric": f"peak-MiB-{cost.Index}", "value": cost.peak_MiB})
    frame = pd.DataFrame(rows, columns=COLUMNS).astype(TYPES)
    return _write(run, "metrics.csv", lambda file: file.write(_csv(frame)))


def write_measure(run: Run, measure: str) -> Path:
    """Write <measure>.csv of the run, its rows as in metrics.csv; no such row says what the run cost. Of `answers`,
    answers.npz: by metric a bit for each held-out image, whether it was named rightly."""
    if measure == "answers":
        right = {name: np.packbits(each.numpy()) for name, each in measures.answers(run).right.items()}
        return _write(run, ANSWERS, lambda file: np.savez_compressed(file, **right))
    p, rows = run.params, []
    for point in measures.of(run, measure):
        row = {"scale": p.scale, "dataset": p.private, "public": p.public, "method": point.row, "seed": p.seed}
        row |= {"variant": "" if point.row in METHODS else p.method, "epsilon_target": p.epsilon}
        row |= {"noise": p.noise if run.plan.is_private else "none", "accountant": "not stated"}
        row |= {"metric": point.metric, "at": point.at, "value": point.value}
        row |= {"device": devices(point.made), "commit": provenance.commit(), "params_digest": p.digest}
        rows.append(row)
    frame = pd.DataFrame(rows, columns=COLUMNS).astype(TYPES)
    return _write(run, f"{measure}.csv", lambda file: file.write(_csv(frame)))


def tables_of(experiment: Experiment) -> list[str]:
    """The files of a run's folder that hold what the experiment measures, as rows of results.csv."""
    tables = {"quality": "metrics.csv"} | {name: f"{name}.csv" for name in measures.MEASURES}
    return [tables[measure] for measure in experiment.measures if measure in tables]


def join_answers(scale: str, experiment: Experiment, points: Sequence[Params]) -> Path:
    """Put the answers of `points` into build/<scale>/<experiment>-answers.npz: `<params_digest> <metric>` -> bits."""
    joined = {}
    for p in points:
        with np.load(run_folder(p) / ANSWERS) as right:
            joined |= {f"{p.digest} {name}": right[name] for name in right.files}
    path = _table(scale).with_name(f"{experiment.name}-{ANSWERS}")
    with replacing(path) as file:
        np.savez_compressed(file, **joined)
    return path


def read_answers(path: Path) -> dict[tuple[str, str], np.ndarray]:
    """What `join_answers` wrote: by digest of parameters and metric, 1.0 for each image that was named rightly, padded
    with zeros to whole bytes; nothing if there is no such file."""
    if not path.exists():
        return {}
    try:
        joined = np.load(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} does not hold answers: {error}") from None
    with joined:
        return {tuple(name.split(" ")): np.unpackbits(joined[name]).astype(float) for name in joined.files}


def devices(artifact: Artifact) -> str:
    """The kinds of devices that made an artifact and what stands behind it: "cuda", or "cpu+cuda" where both did."""
    behind = (_meta(artifact.path.parent, digest) for digest in artifact.meta["lineage"])
    metas = [*(json.loads(path.read_text(encoding="utf-8")) for path in behind), artifact.meta]
    return _each(meta["device"] for meta in metas)


def facts(run: Run) -> dict[str, float]:
    """What the synthesiser says of itself, for results to hold against quality."""
    return {name: fact.item() for name, fact in run.synthesiser.facts.items()}


def write_artifacts(run: Run) -> Path:
    """Write artifacts.json: which folders of build/artifacts are the run's own, by kind."""
    recipes = run.recipes() | {"samples": run.recipe("samples")}
    folders = {kind: recipe.path.name for kind, recipe in recipes.items()}
    return _write_json(run, "artifacts.json", folders)


def write_synthetic(run: Run) -> Path:
    """Write the synthetic set, what a run is for: synthetic.npz with `images` (N, C, H, W) uint8 and `labels` (N,)."""
    arrays = {"images": run.samples.images.numpy(), "labels": run.samples.labels.numpy()}
    return _write(run, "synthetic.npz", lambda file: np.savez_compressed(file, **arrays))


def write_certificate(run: Run) -> Path:
    """Write the run's certificate.json."""
    return _write_json(run, "certificate.json", run.certificate)


def write(run: Run) -> None:
    """Write all files of the run: what its pages write, each where it is told."""
    for one in (write_certificate, write_synthetic, write_artifacts, write_metrics):
        one(run)


def join(scale: str, experiment: Experiment, points: Sequence[Params]) -> Path:
    """Put the metrics of `points` into build/<scale>/results.csv, in place of the rows `experiment` had.

    Rows of other experiments stay. A method's row has as its variant what sets the run apart, a reference row the
    method and that.
    """
    path, parts = _table(scale), []
    for p in points:
        part = pd.concat([read(run_folder(p) / name) for name in tables_of(experiment)])
        apart = experiment.variant(p)
        reference = f"{p.method}: {apart}" if apart else p.method
        variant = np.where(part["method"] == p.method, apart, reference)
        parts.append(part.assign(experiment=experiment.name, variant=variant))
    if path.exists():
        before = read(path)
        parts.append(before[before["experiment"] != experiment.name])
    parts = [part for part in parts if len(part)]
    joined = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(_csv(joined))
    return path


def read_results(scale: str) -> pd.DataFrame:
    """build/<scale>/results.csv as a frame with `COLUMNS`.

    Raises:
        FileNotFoundError: nothing was run yet.
    """
    path = _table(scale)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no results yet; `make reproduce SCALE={scale}` makes them")
    return read(path)


def are_readable(scale: str) -> None:
    """Raise ValueError unless build/<scale>/results.csv is whole, or is not there yet."""
    path = _table(scale)
    if path.exists() and not _is_whole(path):
        raise ValueError(f"{path} is not a table of results; delete it and run again: it is joined of all runs")


def are_whole(p: Params, names: Sequence[str]) -> bool:
    """Whether the files `names` of the run's folder stand, and can be read."""
    return all(_is_whole(run_folder(p) / name) for name in names)


def read_committed(experiment: str) -> pd.DataFrame:
    """results/<experiment>.csv, the reference runs that the README prints."""
    return read(COMMITTED / f"{experiment}.csv")


def draw(results: pd.DataFrame, folder: Path, wanted: Sequence[str] | None = None) -> list[Path]:
    """Write a reproduction's figures into `folder`, <experiment>-<dataset>-<what>.png: accuracy of every row (of images
    without labels, the Frechet distance), and over each fact that varies.

    Args:
        results: rows with `COLUMNS`, of one experiment, scale and data set; wanted: these of the figures alone.
    """
    first = results.iloc[0]
    name = f"{first['experiment']}-{first['dataset']}"
    badge = f"{first['scale']} scale, not the papers' | {first['experiment']}, {first['dataset']}"
    drawn = figures.whole(results, headline({*results["metric"]}), badge=f"{badge}, public {first['public']}")
    written = {folder / f"{name}-{what}.png": drawn[what] for what in drawn if wanted is None or what in wanted}
    for path, figure in written.items():
        path.write_bytes(figure.png())
    return list(written)


def published() -> pd.DataFrame:
    """What the papers and benchmarks print, from other data at another scale.

    Returns:
        source; table, or "text"; row, as it is called there; dataset; method, as in the table of methods, or nonprivate
        or real, empty if it is none of these as it usually runs; epsilon (inf for a non-private twin, missing for real
        images and where the number belongs to none); metric; value, signed if it is a change; note.
    """
    return pd.read_csv(PUBLISHED, keep_default_na=False, na_values={"epsilon": [""]})


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


def read(path: Path) -> pd.DataFrame:
    """A table of results.

    Raises:
        ValueError: a column is missing, which is named.
    """
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=TYPES)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path} is not a table of results: {error}") from None
    if missing := [name for name in COLUMNS if name not in frame]:
        raise ValueError(f"{path} has no column {', '.join(missing)}: not a table of results of this version")
    return frame.fillna(dict.fromkeys(("experiment", "variant"), ""))


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def _write_json(run: Run, name: str, value: dict[str, Any]) -> Path:
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    return _write(run, name, lambda file: file.write(text.encode()))


def _write(run: Run, name: str, save: Callable[[BinaryIO], Any]) -> Path:
    """A file of the run; of a user's own records its time, and its folders', would tell how long a stage took."""
    path = run_folder(run.params) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        save(file)
    if not run.params.constants.builtin:
        forget_times(path, path.parent, path.parent.parent)
    return path


def _table(scale: str) -> Path:
    """Where the results of all runs of a scale are joined."""
    return project.root() / "build" / scale / "results.csv"


def _is_whole(path: Path) -> bool:
    """Whether the file is there, and a table with our columns or a mapping in JSON, as its name ends."""
    try:
        if path.suffix == ".csv":
            return list(read(path)) == COLUMNS
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError, TypeError):
        return False
