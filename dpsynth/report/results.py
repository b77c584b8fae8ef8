"""Tables of results: of each run, joined to one results.csv, committed, and published; and their figures."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dpsynth import figures, project
from dpsynth.experiments import Experiment
from dpsynth.metrics.names import headline
from dpsynth.params import Params
from dpsynth.privacy.disk import replacing
from dpsynth.project import PACKAGE
from dpsynth.report import measures

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
        file.write(csv(joined))
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


def csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


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
