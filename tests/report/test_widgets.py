"""The interactive pages in a notebook: the package's numbers, and a still picture where nobody is."""

from types import SimpleNamespace

import pytest
import torch

from dpsynth.artifacts import SemanticHistogram, Synthesiser
from dpsynth.figures.style import Picture
from dpsynth.models import diffusion, networks, samplers
from dpsynth.params import Params
from dpsynth.privacy import Counts, Gradients, Plan, accounting
from dpsynth.report import pictures, widgets
from dpsynth.seeds import seed_of
from dpsynth.stages import selection

QUERY, LEARNER = Counts("semantic_histogram", 5, 4.0), Gradients("dp_sgd", 0.1, 5, 1.0, 1.0, 1, 400.0)


@pytest.fixture
def run(monkeypatch):
    """A plan, a public set of 30 classes and their votes, of no run."""
    votes = SemanticHistogram(torch.randint(0, 60, (10, 30), generator=torch.Generator().manual_seed(1)), True)
    monkeypatch.setattr(pictures, "votes_without_noise", lambda run: votes)
    images = torch.zeros(30, 1, 28, 28, dtype=torch.uint8)
    return SimpleNamespace(
        params=Params(), plan=Plan("mnist5k", 4000, 10.0, 1e-5, (QUERY, LEARNER)),
        options=SimpleNamespace(votes=5, kept=2),
        public=SimpleNamespace(images=images, labels=torch.arange(30), classes=range(30)),
    )  # fmt: skip


@pytest.fixture
def someone(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "a notebook")


@pytest.fixture
def nobody(monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)


def texts(picture):
    axes = [text.get_text() for axes in picture.axes for text in axes.texts]
    return axes + [text.get_text() for text in picture.texts]


def test_where_nobody_is_the_plans_own_costs_are_a_picture(run, nobody):
    picture = widgets.budget(run)
    assert isinstance(picture, Picture) and picture.png()[1:4] == b"PNG"
    assert f"{accounting.epsilon([QUERY, LEARNER], 1e-5):.3g}" in texts(picture)


def test_a_slider_that_is_moved_draws_what_the_package_says_of_it(run, someone):
    box = widgets.budget(run)
    sliders = {widget.description: widget for widget in box.children if hasattr(widget, "description")}
    assert set(sliders) == {"noise", "rate", "steps", "query"}
    sliders["noise"].value = 2.0
    moved = [QUERY, Gradients("dp_sgd", 0.1, 5, 2.0, 1.0, 1, 400.0)]
    shown = texts(box.result)
    for epsilon in (accounting.epsilon(moved, 1e-5), accounting.epsilon(moved, 1e-5, replace=True)):
        assert f"{epsilon:.3g}" in shown


def test_costs_name_each_part_alone_and_every_accountant():
    alone, together = widgets.costs([QUERY, LEARNER], 1e-5)
    assert alone["dp_sgd alone"] == accounting.epsilon([LEARNER], 1e-5)
    assert next(iter(together.values())) == accounting.epsilon([QUERY, LEARNER], 1e-5)
    assert {"all, RDP", "all, RDP, classic", "all, PLD, replace one"} < set(together)


@pytest.mark.parametrize("noise", [0.1, 2.0, 9.0])
def test_recall_of_a_draw_is_that_of_the_package(run, noise):
    exact = pictures.votes_without_noise(run).histogram
    picks, recall = widgets.picked(run, noise, 7)
    draws = torch.Generator().manual_seed(7)
    theirs = selection.recall(exact, 2, Counts("query", 5, noise).scale, draws, 1)
    assert recall == pytest.approx(theirs.item()) and [len(row) for row in picks] == [2] * 10


def test_the_picks_of_a_label_are_shown_with_what_became_of_them(run, nobody):
    shown = texts(widgets.query_noise(run))
    assert shown.count("kept") + shown.count("strayed") == 2
    assert any("recall over all labels" in text for text in shown)


def test_the_last_guess_of_a_trajectory_is_the_sample(run):
    with networks.seeded(3):
        model = diffusion.Denoiser(1, 28, 10, 8).eval()
    run.synthesiser = Synthesiser(model.state_dict(), model.architecture)
    noisy, clean, levels = widgets.along(run)
    assert levels == samplers.noise_levels(10)[:-1].tolist() and len(noisy) == len(clean) == 10
    sample = samplers.sample(model, torch.arange(10), seed_of(run.params.seed, "preview"))
    assert torch.equal(clean[-1], sample)
