"""Figures of a parameter file: dots, means and intervals of a sweep, differences by verdict, sets side by side."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex

from dpsynth import figures
from dpsynth.figures.sweeps import VERDICTS

BADGE = "laptop scale, not the papers'"
AXIS = [0.0, 0.2, 0.8]
VALUES = pd.DataFrame(
    [("rpgen", m, x, seed, 10 * x + seed) for m in ("FD-convnet", "CA-CNN") for x in AXIS for seed in range(3)],
    columns=["line", "metric", "x", "seed", "value"],
)
GAPS = pd.DataFrame(
    [("CA-CNN", "a less b", 2.0, 1.0, 3.0, "agrees"), ("CA-CNN", "c less d", -2.0, -3.0, -1.0, "disagrees"),
     ("recall", "a less b", 0.0, np.nan, np.nan, "cannot tell")],
    columns=["metric", "cells", "mean", "low", "high", "verdict"],
)  # fmt: skip


def test_a_sweep_has_a_panel_a_metric_with_each_seed_its_means_and_their_interval():
    figure = figures.sweep(VALUES, "amp_gamma", title="Gamma", badge=BADGE)
    assert [axes.get_ylabel().split(",")[0].split("\n")[0] for axes in figure.axes] == ["FD-convnet", "CA-CNN"]
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "0.2", "0.8"]
    assert sum(len(dots.get_offsets()) for dots in axes.collections if hasattr(dots, "get_offsets")) >= 9
    (means,) = [line for line in axes.lines if len(line.get_xdata()) == 3 and line.get_linestyle() == "-"]
    assert means.get_ydata().tolist() == [1, 3, 9]
    (bars,) = [each for each in axes.collections if hasattr(each, "get_segments") and len(each.get_segments()) == 3]
    half = np.diff(bars.get_segments()[0][:, 1])[0] / 2
    assert half == pytest.approx(4.3027 / np.sqrt(3), rel=1e-3)  # Student's t of three seeds with deviation 1


def test_the_papers_points_stand_on_an_axis_of_their_own():
    paper = pd.DataFrame({"metric": ["FD", "FD"], "x": [0.0, 0.2], "value": [27.6, 26.5]})
    figure = figures.sweep(VALUES, "amp_gamma", title="Gamma", badge=BADGE, paper=paper)
    (beside,) = [axes for axes in figure.axes if axes.get_shared_x_axes().joined(axes, figure.axes[0])][1:]
    assert beside.lines[0].get_xydata().tolist() == [[0, 27.6], [1, 26.5]]
    assert "paper (right axis)" in [text.get_text() for text in figure.legends[0].texts]


def test_many_panels_stand_in_rows():
    many = pd.concat([VALUES.assign(metric=f"loss-{n}") for n in range(6)])
    figure = figures.sweep(many, "norm", title="Losses", badge=BADGE)
    assert sum(axes.axison for axes in figure.axes) == 6 and figure.get_figwidth() < 14


def test_differences_have_the_colour_of_their_verdict_and_an_interval_if_there_is_one():
    figure = figures.gaps(GAPS, title="Rules", badge=BADGE)
    accuracy, recall = figure.axes
    spans = {to_hex(line.get_color()): line.get_xdata() for line in accuracy.lines if line.get_linewidth() == 1.6}
    assert {shade: list(span) for shade, span in spans.items()} == {
        VERDICTS["agrees"]: [1, 3], VERDICTS["disagrees"]: [-3, -1]
    }  # fmt: skip
    assert not [line for line in recall.lines if line.get_linewidth() == 1.6]
    assert [tick.get_text() for tick in accuracy.get_yticklabels()] == ["a less b", "c less d"]


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="nothing to draw over amp_gamma"):
        figures.sweep(VALUES[:0], "amp_gamma", title="Gamma", badge=BADGE)
    with pytest.raises(ValueError, match="no rule has a difference yet"):
        figures.gaps(GAPS[:0], title="Rules", badge=BADGE)
    with pytest.raises(ValueError, match="no set of images"):
        figures.beside({}, title="Samples", badge=BADGE)


def test_sets_stand_below_one_another_and_embeddings_side_by_side():
    sets = {name: torch.zeros(2, 3, 1, 8, 8, dtype=torch.uint8) for name in ("real", "RPGen")}
    figure = figures.beside(sets, title="Samples", badge=BADGE, classes=["a", "b", "c"])
    assert len(figure.axes[0].images) == 12
    assert [text.get_text() for text in figure.axes[0].texts if text.get_text() in sets] == ["real", "RPGen"]
    points, sets = np.arange(12.0).reshape(6, 2), ["real"] * 4 + ["RPGen"] * 2
    figure = figures.embeddings(points, [0, 1] * 3, sets, ["a", "b"], title="t-SNE", badge=BADGE)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["real (4)", "RPGen (2)"]
