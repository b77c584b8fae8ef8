"""The breakdown of a reproduction adds up, and counts shared work once."""

import json
import time

from dpsynth import store
from dpsynth.params import Params
from dpsynth.report import results, timings


def test_a_breakdown_adds_up_and_counts_shared_work_once(root, monkeypatch, tmp_path):
    (root / "build/smoke").mkdir(parents=True)
    executed = []
    for number, (stage, seconds) in enumerate([("query", 20.0), ("pretrain", 50.0), ("query", 5.0), ("pretrain", 6.0)]):
        executed.append((stage, tmp_path / f"{number}.ipynb"))
        stamp = {"seconds": seconds, "peak_MiB": 100.0 + number}
        executed[-1][1].write_text(json.dumps({"metadata": {"dpsynth": stamp}}))
    now = time.time()
    shared = {"kind": "encoder", "seconds": 12.0, "written": now}
    own = {"kind": "base", "seconds": 40.0, "written": now}
    monkeypatch.setattr(results, "made", lambda p: {"a": shared} | ({"b": own} if p.seed else {}))
    timings.remember("smoke", [Params(seed=0), Params(seed=1)], executed, 2.0)
    said = json.loads((store.root() / "build/smoke/measured.json").read_text())
    assert said["reproduce_minutes"] == 2.0 and said["peak_MiB"] == 103.0
    monkeypatch.setattr(results, "made", lambda p: {"a": shared | {"written": now - 121}})
    timings.remember("smoke", [Params()], executed, 1.0)  # not from scratch: it stands as it was
    assert json.loads((store.root() / "build/smoke/measured.json").read_text()) == said
    table = timings.breakdown(said)
    assert table["seconds"].astype(int).tolist() == [12, 13, 40, 16, 39]
    assert table["share"].tolist() == ["10 %", "11 %", "33 %", "13 %", "32 %"]
    assert table["what"].tolist()[::2] == ["encoder", "base", "planning, and the table"]
