"""What the interactive pages show is what the package computes."""

import json

import pytest
import torch
from PIL import Image

from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy import Counts
from dpsynth.report import items
from dpsynth.site import interactive
from dpsynth.stages import selection

QUERY_NOISE = ["charts.js", "accounting.js", "query-noise.js"]
VOTES = torch.randint(0, 200, (10, 60), generator=torch.Generator().manual_seed(0))


def constant(path):
    """What a data file sets its constant to."""
    return json.loads(path.read_text("utf-8").split(" = ", 1)[1].rstrip(";\n"))


def test_the_page_picks_the_classes_that_the_package_picks(asked):
    ours = asked(QUERY_NOISE, "queryNoise.pick(data, 3)", VOTES.tolist())
    assert ours == selection.pick(VOTES, 3)
    ties = (VOTES // 50).tolist()
    assert asked(QUERY_NOISE, "queryNoise.pick(data, 3)", ties) == selection.pick(VOTES // 50, 3)


@pytest.mark.parametrize("noise", [2.0, 10.0, 39.0])
def test_recall_on_the_page_is_the_packages_but_for_its_draws(asked, noise):
    data = {"histogram": VOTES.tolist(), "picks": selection.pick(VOTES, 3), "votes": 5, "kept": 3}
    found = asked(
        QUERY_NOISE, f"Array.from({{length: 200}}, (_, seed) => queryNoise.drawn(data, {noise}, seed).recall)", data
    )
    scale = Counts("query", 5, noise).scale
    theirs = selection.recall(VOTES, 3, scale, torch.Generator().manual_seed(0), 200)
    spread = theirs.std().item() * (2 / 200) ** 0.5  # of the difference of two means of 200
    assert sum(found) / 200 == pytest.approx(theirs.mean().item(), abs=4 * spread)


def test_one_seed_is_one_draw(asked):
    data = {"histogram": VOTES.tolist(), "picks": selection.pick(VOTES, 3), "votes": 5, "kept": 3}
    one, same, other = asked(QUERY_NOISE, "[1, 1, 2].map((seed) => queryNoise.drawn(data, 10, seed).picks)", data)
    assert one == same != other


def test_presets_are_what_the_runs_ask(root):
    p = Params.at("paper", method="privimage_d", epsilon=10.0)
    query, learner = Run(p).questions
    fields = interactive._fields([query, learner], p)
    assert fields == {
        "epsilon": 10.0, "rate": learner.sample_rate, "steps": learner.steps, "delta": p.delta,
        "queryNoise": query.noise_multiplier, "votes": query.votes,
    }  # fmt: skip
    assert interactive._fields([query, query, learner], p) is None and interactive._fields([query], p) is None


def test_what_the_papers_print_is_a_preset(root):
    printed = {each["name"]: each["setting"] for each in interactive._printed()}
    assert printed["as PrivImage prints, cifar10, epsilon 10"]["steps"] == 152
    assert printed["as RPGen prints, cifar10, epsilon 1"]["queryNoise"] == 484


def test_losses_over_gamma_are_the_means_of_results(tmp_path):
    interactive.gamma(tmp_path)
    data, rows = constant(tmp_path / "gamma.js"), items.committed("rpgen_robustness").rows
    curve = next(each for each in data["losses"] if each["radius"] and each["move"] == "gaussian")
    mine = rows[(rows["metric"] == "loss-base-public-gaussian") & (rows["variant"] == "")]
    assert curve["at"] == sorted(mine["at"].unique())
    assert curve["mean"] == pytest.approx(mine.groupby("at")["value"].mean().tolist())
    assert all(low < mean < high for low, mean, high in zip(curve["low"], curve["mean"], curve["high"], strict=True))
    assert (tmp_path / "gamma.png").read_bytes()[1:4] == b"PNG"


def test_a_sprite_holds_each_image_at_its_place(tmp_path):
    images = torch.arange(5, dtype=torch.uint8)[:, None, None, None].mul(51).expand(5, 1, 4, 4)
    interactive._sprite(tmp_path / "sprite.png", images, 2)
    sprite = Image.open(tmp_path / "sprite.png").convert("L")
    assert sprite.size == (8, 12)
    assert [sprite.getpixel((4 * (n % 2) + 1, 4 * (n // 2) + 1)) for n in range(5)] == [0, 51, 102, 153, 204]


def test_without_a_run_the_rest_is_written_and_a_sentence_says_which_command_makes_it(root, tmp_path, monkeypatch):
    for name in ("explorer", "gamma"):
        monkeypatch.setattr(interactive, name, lambda *_: None)
    missing = interactive.write(tmp_path / "data")
    assert list(missing) == ["query-noise", "trajectory"]
    assert all("make reproduce" in line for line in missing.values())
