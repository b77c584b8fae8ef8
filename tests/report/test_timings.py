"""The breakdown of a reproduction adds up, and counts shared work once."""

import json
import time

import pandas as pd

from dpsynth import project
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.report import run_files, timings


def test_a_breakdown_adds_up_and_counts_shared_work_once(root, monkeypatch, tmp_path):
    (root / "build/smoke").mkdir(parents=True)
    executed = []
    for number, (name, seconds) in enumerate([("01", 20.0), ("03", 50.0), ("01", 5.0), ("methods/dpsda", 6.0)]):
        executed.append(tmp_path / f"{number}.ipynb")
        stamp = {"source": f"notebooks/{name}.py", "seconds": seconds, "peak_MiB": 100.0 + number, "commit": "0a1b"}
        executed[-1].write_text(json.dumps({"metadata": {"dpsynth": stamp}}))
    now = time.time()
    made = {"kind": ["encoder", "base"], "seconds": [12.0, 40.0], "peak_MiB": [1.0, 250.5], "written": now}
    made = pd.DataFrame(made, index=["a", "b"])
    monkeypatch.setattr(run_files, "artifacts", lambda run: made if run.params.seed else made[:1])
    timings.remember("smoke", [Run(Params(seed=0)), Run(Params(seed=1))], executed, 2.0)
    said = json.loads((project.root() / "build/smoke/measured.json").read_text())
    assert said["reproduce_minutes"] == 2.0 and said["commit"] == "0a1b" and said["peak_MiB"] == 250.5
    monkeypatch.setattr(run_files, "artifacts", lambda run: made.assign(written=now - 121))
    timings.remember("smoke", [Run(Params())], executed, 1.0)  # not from scratch: it stands as it was
    assert json.loads((project.root() / "build/smoke/measured.json").read_text()) == said
    table = timings.breakdown(said)
    assert said["notebooks"] == {"01": [2, 25.0], "03": [1, 50.0], "dpsda": [1, 6.0]}
    assert table["seconds"].astype(int).tolist() == [12, 40, 29, 39]
    assert table["share"].tolist() == ["10 %", "33 %", "24 %", "32 %"]
    assert table["what"].tolist()[:2] == ["encoder", "base"] and table["what"].iloc[3] == "planning, and the table"
    assert table["stage"].tolist() == ["query", "pretrain", "", ""] and " 4 notebooks" in table["what"].iloc[2]
