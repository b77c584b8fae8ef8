"""What a reproduction from scratch took, for the README: minutes, memory, and which stage took them."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.typing import SeriesGroupBy

from dpsynth import project
from dpsynth.pipeline import Run
from dpsynth.report import run_files
from dpsynth.steps import STAGE_OF


def remember(scale: str, runs: list[Run], executed: list[Path], minutes: float) -> None:
    """Write build/<scale>/measured.json, if no artifact was there before.

    Args:
        runs: all; executed: the notebook of each page; minutes: of all, until now.
    """
    artifacts = pd.concat(run_files.artifacts(run) for run in runs)
    artifacts = artifacts[~artifacts.index.duplicated()]
    if (artifacts["written"] < time.time() - 60 * minutes).any():
        return
    stamps = pd.DataFrame(json.loads(path.read_text(encoding="utf-8"))["metadata"]["dpsynth"] for path in executed)
    peak = pd.concat([stamps["peak_MiB"], artifacts["peak_MiB"]]).max()  # a kernel forgets its own with each artifact
    pages = stamps["source"].map(lambda source: Path(source).stem)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    measured = {
        "machine": f"{os.cpu_count()} cores ({model}), no GPU", "reproduce_minutes": round(minutes, 1),
        "commit": ", ".join(stamps["commit"].unique()),
        "peak_MiB": None if pd.isna(peak) else peak,
        "notebooks": _sums(stamps["seconds"].groupby(pages, sort=False)),
        "artifacts": _sums(artifacts.groupby("kind", sort=False)["seconds"]),
    }  # fmt: skip
    (project.root() / "build" / scale / "measured.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")


def breakdown(measured: dict[str, Any]) -> pd.DataFrame:
    """Where a reproduction's time went: a row a kind of artifact, and what the notebooks took beside.

    Args:
        measured: what `remember` wrote.
    Returns:
        Columns stage, what, seconds and share, as text.
    """
    whole, artifacts = 60 * measured["reproduce_minutes"], measured["artifacts"]
    rows = []
    for kind, (times, seconds) in sorted(artifacts.items(), key=lambda item: [*STAGE_OF].index(item[0])):
        rows.append((STAGE_OF[kind], f"{kind}, made {times} times" if times > 1 else kind, seconds))
    pages, seconds = (sum(column) for column in zip(*measured["notebooks"].values(), strict=True))
    beside = seconds - sum(row[2] for row in rows)
    rows.append(("", f"overhead of {pages} notebooks: kernels, figures, estimates", beside))
    rows.append(("", "planning, and the table", whole - sum(row[2] for row in rows)))
    table = pd.DataFrame(rows, columns=["stage", "what", "seconds"])
    table["share"] = (100 * table["seconds"] / whole).map("{:.0f} %".format)
    return table.assign(seconds=table["seconds"].map("{:.0f}".format))


def _sums(seconds: SeriesGroupBy) -> dict[str, tuple[int, float]]:
    """How many there are of each name, and their sum."""
    return {name: (len(each), each.sum()) for name, each in seconds}
