"""What a reproduction from scratch took, for the README: minutes, memory, and which stage took them."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd

from dpsynth import store
from dpsynth.pipeline import STAGE_OF, Run
from dpsynth.report import results


def remember(scale: str, runs: list[Run], executed: list[tuple[str, Path]], minutes: float) -> None:
    """Write build/<scale>/measured.json, if no artifact was there before.

    Args:
        runs: all; executed: stage and executed notebook of each job; minutes: of all, until now.
    """
    began = time.time() - 60 * minutes
    artifacts = {digest: meta for run in runs for digest, meta in results.made(run).items()}
    if any(meta["written"] < began for meta in artifacts.values()):
        return
    stamps = [(stage, json.loads(path.read_text(encoding="utf-8"))["metadata"]["dpsynth"]) for stage, path in executed]
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    said = {
        "machine": f"{os.cpu_count()} cores ({model}), no GPU", "reproduce_minutes": round(minutes, 1),
        "peak_MiB": max((stamp["peak_MiB"] for _, stamp in stamps if stamp.get("peak_MiB")), default=None),
        "notebooks": _sums([(stage, stamp["seconds"]) for stage, stamp in stamps]),
    }  # fmt: skip
    said["artifacts"] = _sums([(meta["kind"], meta["seconds"]) for meta in artifacts.values()])
    (store.root() / "build" / scale / "measured.json").write_text(json.dumps(said, indent=1), encoding="utf-8")


def breakdown(said: dict[str, Any]) -> pd.DataFrame:
    """Where a reproduction's time went: a row a kind of artifact, and for each stage what its notebooks took beside.

    Args:
        said: what `remember` wrote.
    Returns:
        Columns stage, what, seconds and share, as text.
    """
    whole, rows = 60 * said["reproduce_minutes"], []
    for stage, (count, seconds) in said["notebooks"].items():
        for kind in [kind for kind, of in STAGE_OF.items() if of == stage]:
            if kind in said["artifacts"]:
                made, took = said["artifacts"][kind]
                rows.append((stage, f"{kind}, made {made} times" if made > 1 else kind, took))
                seconds -= took
        rows.append((stage, f"overhead of {count} notebooks: kernels, figures, estimates", seconds))
    rows.append(("", "planning, and the table", whole - sum(took for _, _, took in rows)))
    table = pd.DataFrame(rows, columns=["stage", "what", "seconds"])
    table["share"] = (100 * table["seconds"] / whole).map("{:.0f} %".format)
    return table.assign(seconds=table["seconds"].map("{:.0f}".format))


def _sums(pairs: list[tuple[str, float]]) -> dict[str, tuple[int, float]]:
    """How many of each name, and their sum."""
    found: dict[str, tuple[int, float]] = {}
    for name, value in pairs:
        count, total = found.get(name, (0, 0.0))
        found[name] = count + 1, total + value
    return found
