"""No update asks again: the names of what is asked under secret noise are as they were written down.

A name that changes asks the records of everybody once more, under the same parameters. If that is meant, as an answer
was wrong, raise the `version` of that work, and take the new names over from what the test prints.
"""

import json
from pathlib import Path

import pytest
import worlds

from dpsynth.budget import planning
from dpsynth.pipeline import Run
from dpsynth.privacy import Plan
from dpsynth.steps import STEP_OF

WRITTEN = json.loads((Path(__file__).parent / "names.json").read_text())
BENCHMARK = dict(
    private="mnist5k", n_records=None, labels=None, size=None, delta=1e-5
)  # a name without a path of this machine


@pytest.mark.parametrize(("method", "options"), worlds.CASES, ids=worlds.NAMES)
def test_an_update_renames_nothing_that_was_asked(tmp_path, rendered, monkeypatch, method, options):
    private = worlds.more(0)
    private.name = BENCHMARK["private"]
    worlds.enter(tmp_path, private, rendered, monkeypatch)
    # Noise as it comes, uncalibrated: another release of the accountant's library may calibrate otherwise.
    monkeypatch.setattr(planning, "query_noise", lambda p, votes, learner: 4.0)
    monkeypatch.setattr(planning, "plan", lambda p, asked: Plan(p.private, 4000, p.epsilon, p.delta, tuple(asked)))
    recipes = Run(worlds.parameters(method, options, **BENCHMARK)).recipes()
    names = {kind: recipe.identity for kind, recipe in recipes.items() if STEP_OF[kind].private}
    case = worlds.NAMES[worlds.CASES.index((method, options))]
    assert names == WRITTEN.get(case), json.dumps({case: names})
