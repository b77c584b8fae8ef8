import sys; sys.path.insert(0,"/work/main/tests"); sys.path.insert(0,"/work/main/tests/privacy")
import pytest, torch
import pretend, worlds
from dpsynth.pipeline import Run
from dpsynth.params import Params
from dpsynth.methods import METHODS
@pytest.mark.parametrize(("method","options"), worlds.CASES, ids=worlds.NAMES)
def test_m(tmp_path, rendered, monkeypatch, method, options):
    worlds.enter(tmp_path, worlds.more(0), rendered, monkeypatch)
    with pretend.gpu(monkeypatch):
        Run(worlds.parameters(method, options)).samples
