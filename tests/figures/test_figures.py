"""Figures say what they show and where it comes from, stay on their page, refuse what they cannot draw."""

import io
import itertools
import warnings
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from IPython import display
from matplotlib import pyplot
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from dpsynth import figures
from dpsynth.data import glyphs
from dpsynth.figures import style
from dpsynth.figures.results import agreeing

BADGE = "smoke: sizes too small to mean anything"
RNG = np.random.default_rng(0)
DIGITS = [str(digit) for digit in range(10)]
NOT_A_RELEASE = "evaluation on a public benchmark, not a release"


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def images(n: int, channels: int = 1, size: int = 28) -> torch.Tensor:
    return torch.from_numpy(RNG.integers(0, 256, (n, channels, size, size), dtype=np.uint8))


def history(n: int, perturbed: bool) -> dict[str, list[float]]:
    clean = [1 / (step + 1) + 0.3 for step in range(n)]
    if not perturbed:
        return {"clean": clean, "perturbed": [], "binds": []}
    return {
        "clean": clean,
        "perturbed": [x + 0.1 for x in clean],
        "binds": [float(s < n // 2) for s in range(n)],
    }


def result(method: str, value: float, **others) -> dict:
    row = {
        "method": method,
        "variant": method,
        "scale": "laptop",
        "dataset": "mnist5k",
        "epsilon_target": 10.0,
    }
    row |= {"delta": 1e-5, "adjacency": "add or remove one record", "seed": 0, "metric": "CA-CNN"}
    return row | {"value": value} | others


def results(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


def counts(rows: int, bins: int) -> torch.Tensor:
    return torch.from_numpy(RNG.integers(-20, 300, (rows, bins)))


TABLE = results(
    *(result("rpgen", 84.0 + seed, seed=seed) for seed in range(3)),
    *(result("rpgen", 70.0 + seed, seed=seed, epsilon_target=1.0) for seed in range(3)),
    *(result("pretrained", 80.0 + i, variant=v) for i, v in enumerate(("rpgen", "privimage_d"))),
    *(result("real", 97.0, variant=v) for v in ("rpgen", "dpdm")),
    result("real", 98.0, variant="rpgen", seed=1),
    result("nonprivate", 93.0, variant="rpgen", epsilon_target=np.inf, adjacency=np.nan),
)
FACT = "learning-percent"
SHARES = results(
    *(result("dp_sapf", 30 * s, metric=FACT, variant=f"share {s}") for s in (0.1, 0.7)),
    *(result("dp_sapf", s, variant=f"share {s}") for s in (0.1, 0.7)),
    *(result("dp_ldm", x, metric=FACT, variant=v) for v, x in (("", 15.0), ("trainable all", 100.0))),
    *(result("dp_ldm", 60.0 + len(v), variant=v) for v in ("", "trainable all")),
    *(result("rpgen", x, metric=m, variant="") for m, x in ((FACT, 100.0), ("CA-CNN", 90.0))),
    result("dpdm", 50.0),
)
LONG = "a class with a name of many words"
GREEK = [chr(0x3B1 + i) for i in range(40)]
STEPS = [2.0, 5.0, 10.0, 484.0]

# name: (draw, axes, texts that must be in it)
EXAMPLES = {
    "histogram": (
        lambda: figures.histogram(counts(10, 40), GREEK, DIGITS, scale=9.0, badge=BADGE),
        10, ["by private label", "noisy votes"],
    ),
    "histogram of one row": (
        lambda: figures.histogram(np.ones((1, 2)), ["猫 $a$ $b$", "a very, very long class name"], DIGITS,
                                  scale=1.0, badge=BADGE),
        1, ["The 2 public classes", "U+732B $a$…", "±1 standard deviation, 1", "all labels together"],
    ),
    "toy": (
        lambda: figures.toy({"zebra": 3, "bee": 0}, noise_multiplier=0.3, seed=0), 1,
        ["most votes are for zebra", "bee", "standard deviation, 0.3"],
    ),
    "recall_curve": (
        lambda: figures.recall_curve(STEPS, RNG.random((4, 3)), [1.99, 0.73, 0.34, 0.01], chosen=4.0,
                                     badge=BADGE),
        2, [NOT_A_RELEASE, "484", "0.73", "the rule's choice: 4", "add or remove one record"],
    ),
    "recall_curve of one": (
        lambda: figures.recall_curve([4.0], [[0.9]], [0.9], chosen=4.0, badge=BADGE), 2, ["mean of 1"],
    ),
    "densities": (
        lambda: figures.densities(2.0, epsilon=0.5, badge=BADGE), 2,
        ["noise multiplier 2", "loss above 0.5", "privacy loss", "in units of the sensitivity"],
    ),
    "composition": (
        lambda: figures.composition([1, 10], [0.1, 0.4], [0.1, 1.0], delta=1e-5, badge=BADGE), 1,
        ["privacy loss distributions", "epsilons added up", "1e-05", "add or remove one record"],
    ),
    "subsampling": (
        lambda: figures.subsampling([0.1, 1.0], [0.2, 4.0], delta=1e-5, badge=BADGE), 1,
        ["rate times what all records cost", "add or remove one record"],
    ),
    "weighting": (
        lambda: figures.weighting(
            {"a": [0.1, 1.0], "b": [1.0]}, {"a": [1, 1], "b": [1, 9]}, sigma=[0.1, 2.0], badge=BADGE
        ),
        2, ["noise level sigma", "draws (percent)", "a", "b"],
    ),
    "grid": (lambda: figures.grid(images(23), title="Some digits", badge=BADGE), 1, ["Some digits"]),
    "grid by label": (
        lambda: figures.grid(images(23, 3, 32), np.arange(23) % 2, ["horse", LONG], badge=BADGE,
                             captions=["a caption", "a long caption"] * 11 + [""]),
        1, ["horse", "a class with a\nname of many\nwords", "a caption", "a long cap…"],
    ),
    "grid of one": (lambda: figures.grid(images(1, 3, 64), title="One", badge=BADGE), 1, ["One"]),
    "voted": (
        lambda: figures.voted({"zero": list(images(3)), "one": images(2)}, badge=BADGE), 1, ["zero", "one"],
    ),
    "neighbours": (
        lambda: figures.neighbours(images(12), images(12), np.arange(12) + 0.5, badge=BADGE),
        1, [NOT_A_RELEASE, "nearest real", "11.5"],
    ),
    "hero": (
        lambda: figures.hero({"real": images(10), "fine-tuned": images(10, 3, 32)}, badge=BADGE,
                             classes=DIGITS),
        1, ["real", "fine-tuned", "9"],
    ),
    "progress": (
        lambda: figures.progress({"step 10": images(6), "step 05": images(6)}, badge=BADGE), 1,
        ["along training", "step 05", "step 10"],
    ),
    "losses": (
        lambda: figures.losses({"rpgen": history(100, True), "without": history(80, False)}, badge=BADGE),
        2, ["RPGen, clean weights", "RPGen, perturbed", "without", "over 2 steps", "projection binds"],
    ),
    "losses of one": (lambda: figures.losses({"x": history(1, False)}, badge=BADGE), 1, ["ing loss"]),
    "budget": (
        lambda: figures.budget([0, 5, 10], [0.7, 6.0, 9.99], epsilon_target=10, query_epsilon=0.7,
                               badge=BADGE),
        1, ["9.990 of 10", "queries alone: 0.7", "budget: 10", "add or remove one record"],
    ),
    "budget of one": (
        lambda: figures.budget([0], [0.0], epsilon_target=1.0, query_epsilon=0, badge=BADGE),
        1, ["0.000 of 1"],
    ),
    "matching": (
        lambda: figures.matching([1.2, 0.5, 0.2], [0.1, 0.1, 0.1], badge=BADGE),
        1, ["1.2 of the release at first, 0.2 at last", "gap to the release", "what noise alone would leave"],
    ),
    "noise_to_signal": (
        lambda: figures.noise_to_signal(["stem", "value", "all layers"], [0.4, 0.1, 1.3], badge=BADGE),
        1, ["by layer", "stem", "all layers", "expected norm of the noise"],
    ),
    "comparison": (
        lambda: figures.comparison(TABLE, "CA-CNN", badge=BADGE),
        2, ["85.0 ± 1.0 (3)", "97.5 ± 0.7 (2)", "93.0 (1)", "pre-trained only (PrivImage+D)", "not run here",
            "epsilon 1, delta 1e-05", "add or remove one record", "higher is better"],
    ),
    "comparison of one": (
        lambda: figures.comparison(results(result("new", np.nan, metric="FD-convnet")), "FD-convnet",
                                   badge=BADGE),
        1, ["new", "not finite", "lower is better"],
    ),
    "against": (
        lambda: figures.against(SHARES, FACT, "CA-CNN", badge=BADGE), 2,
        ["1  DP-SAPF at epsilon 10, share 0.1", "2", "2  DP-LDM at epsilon 10", "CA-CNN, percent\n(higher is better)"],
    ),
    "trainable": (
        lambda: figures.trainable({"time": (10, 10), "middle": (0, 30)}, badge=BADGE), 1,
        ["10 of 40 weights learn from private records (25.0 percent)", "middle", "stay as they are"],
    ),
    "saliency": (
        lambda: figures.saliency([0.5, -0.1], ["net.time.0", "net.up.shift"], ["net.time.0"], 0.05, badge=BADGE), 1,
        ["1 of 2 matrices", "time.0", "standard deviation, 0.05", "not chosen"],
    ),
    "tsne": (
        lambda: figures.tsne(RNG.random((40, 2)), torch.arange(40) % 2, torch.arange(40) % 4 < 2, badge=BADGE),
        2, [NOT_A_RELEASE, "real (20)", "synthetic (20)", "1"],
    ),
    "tsne of one": (
        lambda: figures.tsne([[0.0, 1.0]], [3], [True], badge=BADGE), 2, ["real (0)", "synthetic (1)", "3"],
    ),
}  # fmt: skip


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


@pytest.mark.parametrize("name", EXAMPLES)
def test_figure_says_what_it_shows_and_where_it_comes_from_on_a_page_that_holds_it(name):
    draw, axes, said = EXAMPLES[name]
    before = dict(matplotlib.rcParams)
    figure = draw()
    assert dict(matplotlib.rcParams) == before
    assert isinstance(figure, Figure) and len(figure.axes) == axes
    title, badge = figure.texts[0], figure.texts[1]
    assert title.get_fontweight() == "bold" and title.get_text()
    origin = "made-up votes, of no run" if name == "toy" else BADGE
    assert " ".join(badge.get_text().split()) == origin and badge.get_color() == style.GREY
    whole = "\n".join(words(figure))
    for text in said:
        assert text in whole or text in whole.replace("\n", " "), (text, whole)
    box, size = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= -0.01 and box.y0 >= -0.01 and box.x1 <= size[0] + 0.01 and box.y1 <= size[1] + 0.01
    assert Image.open(io.BytesIO(figure.png())).size[0] == int(size[0] * style.DPI)
    around = [part.get_tightbbox().padded(-2) for part in (*figure.texts, *figure.legends)]
    within = [part.get_tightbbox() for part in figure.axes]
    assert not any(part.overlaps(other) for part, other in itertools.combinations(around, 2))
    assert not any(part.overlaps(other) for part, other in itertools.product(around, within))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("grid", 23),
        ("grid by label", 23),
        ("grid of one", 1),
        ("voted", 5),
        ("neighbours", 24),
        ("hero", 20),
        ("progress", 12),
    ],
)
def test_every_image_is_drawn_once_and_none_covers_another(name, count):
    drawn = EXAMPLES[name][0]().axes[0].images
    assert len(drawn) == count
    boxes = [image.get_extent() for image in drawn]
    for i, (left, right, bottom, top) in enumerate(boxes):
        for other in boxes[:i]:
            assert left > other[1] or right < other[0] or top > other[2] or bottom < other[3]


def test_grid_shows_the_images_themselves_grey_or_colour_with_white_between():
    grey = figures.grid(torch.zeros(6, 1, 28, 28, dtype=torch.uint8), title="t", badge=BADGE)
    pixels = np.asarray(Image.open(io.BytesIO(grey.png())).convert("L"))
    dark = pixels[np.argmax((pixels == 0).sum(1))] == 0
    assert (np.diff(dark.astype(int)) == 1).sum() == 6
    colour = images(2, 3, 32)
    shown = figures.grid(colour, title="t", badge=BADGE).axes[0].images
    assert all(np.array_equal(a.get_array(), c.permute(1, 2, 0)) for a, c in zip(shown, colour, strict=True))


def test_grid_with_labels_has_a_row_for_each_label_in_order():
    shades = torch.tensor([30, 10, 30, 10, 20], dtype=torch.uint8)
    picture = figures.grid(shades[:, None, None, None].expand(5, 1, 4, 4), [3, 1, 3, 1, 2], title="t", badge=BADGE)
    drawn = picture.axes[0].images
    assert [int(image.get_array().max()) for image in drawn] == [10, 10, 20, 30, 30]
    assert [image.get_extent()[3] for image in drawn] == sorted(image.get_extent()[3] for image in drawn)
    assert [text.get_text() for text in picture.axes[0].texts] == ["1", "2", "3"]


def test_histogram_ranks_the_bins_and_draws_the_noise_on_each():
    votes = np.array([[5, 90, 40, -3], [70, 2, 1, 0]])
    picture = figures.histogram(votes, list("abcd"), ["x", "y"], scale=7.0, badge=BADGE)
    first = picture.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == ["b", "c", "a", "d"]
    assert [bar.get_width() for bar in first.patches] == [90, 40, 5, -3]
    whiskers = first.collections[0].get_segments()
    assert [np.ptp(segment[:, 0]) for segment in whiskers] == [14] * 4


def test_every_glyph_class_can_be_written():
    names = glyphs.characters()
    assert [style.readable(name) for name in names] == list(names)
    some = names[::84]
    picture = figures.histogram([range(len(some), 0, -1)], some, ["all"], scale=1.0, badge=BADGE)
    assert len(some) == 12 and tuple(label.get_text() for label in picture.axes[0].get_yticklabels()) == some


def test_toy_adds_the_noise_of_its_seed():
    axes = figures.toy({"zebra": 30, "bee": 0}, noise_multiplier=2.0, seed=0).axes[0]
    again = figures.toy({"zebra": 30, "bee": 0}, noise_multiplier=2.0, seed=0).axes[0]
    other = figures.toy({"zebra": 30, "bee": 0}, noise_multiplier=2.0, seed=1).axes[0]
    heights = [[bar.get_height() for bar in part.patches] for part in (axes, again, other)]
    assert heights[0] == heights[1] != heights[2] and heights[0][:2] == [30, 0]
    assert 0 < abs(heights[0][2] - 30) < 10 and 0 < abs(heights[0][3]) < 10


def test_losses_are_smoothed_and_the_projection_is_a_share_of_steps():
    upper, lower = figures.losses({"rpgen": history(100, True)}, badge=BADGE).axes
    clean, perturbed = (line.get_ydata() for line in upper.lines)
    assert clean[9] == pytest.approx(np.mean(history(100, True)["clean"][8:10]))
    assert perturbed == pytest.approx(clean + 0.1)
    assert lower.lines[0].get_ydata()[[10, 50, 90]] == pytest.approx([1, 0.5, 0])


def test_budget_marks_target_and_query():
    axes = EXAMPLES["budget"][0]().axes[0]
    assert list(axes.lines[0].get_ydata()) == [10, 10] and axes.patches[0].get_height() == pytest.approx(0.7)
    assert axes.get_ylim()[1] > 10


def test_comparison_has_one_line_for_variants_that_agree_and_a_colour_for_each_method():
    named, axes = figures.comparison(TABLE, "CA-CNN", badge=BADGE).axes
    assert [label.get_text() for label in named.get_yticklabels()] == [
        "RPGen", "non-private twin", "pre-trained only (PrivImage+D)", "pre-trained only (RPGen)",
        "real images",
    ]  # fmt: skip
    assert [len(dots.get_offsets()) for dots in axes.collections] == [3, 1, 1, 1, 2]
    assert matplotlib.colors.to_hex(axes.collections[0].get_facecolor()[0]) == style.ROWS["rpgen"][1]
    assert len({colour for _, colour in style.ROWS.values()}) == len(style.ROWS)
    assert len(set(style.colours(["a", "rpgen", "b"]).values())) == 3


def test_a_bar_names_every_method_whose_floor_it_is():
    floors = [("rpgen", 0, 90.0), ("privimage_d", 0, 90.0), ("privimage_d", 1, 92.0), ("dp_feta", 0, 56.0)]
    rows = results(*(result("floor_public", value, variant=v, seed=seed) for v, seed, value in floors))
    (axes,) = figures.comparison(rows, "CA-CNN", badge=BADGE).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "corpus alone, no model (DP-FETA)", "corpus alone, no model (PrivImage+D, RPGen)"
    ]  # fmt: skip


def test_variants_are_one_where_they_agree_in_what_they_share_and_share_something():
    found = agreeing([("a", {0: 1.0}), ("b", {1: 2.0}), ("c", {0: 1.0, 1: 3.0}), ("d", {1: 2.0})])
    assert found == [(["a", "c"], {0: 1.0, 1: 3.0}), (["b", "d"], {1: 2.0})]


def test_a_reference_row_of_a_run_set_apart_is_called_by_its_method():
    variants = ["dp_feta", "dp_feta: centre mode"]
    rows = results(*(result("pretrained", 50.0 + i, variant=v) for i, v in enumerate(variants)))
    (axes,) = figures.comparison(rows, "CA-CNN", badge=BADGE).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "pre-trained only (DP-FETA)", "pre-trained only (DP-FETA: centre mode)"
    ]  # fmt: skip


def test_comparison_names_in_full_what_sets_a_run_apart():
    variants = ["", "learning_rate 0.02, share 0.1", "learning_rate 0.02, share 0.3"]
    rows = results(*(result("dp_sapf", 60.0 + i, variant=v) for i, v in enumerate(variants)))
    (axes,) = figures.comparison(rows, "CA-CNN", badge=BADGE).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "DP-SAPF", *(f"DP-SAPF ({variant})" for variant in variants[1:])
    ]  # fmt: skip


def test_a_run_stands_at_its_fact_and_its_metric_and_only_facts_that_vary_are_drawn():
    axes, _ = figures.against(SHARES, FACT, "CA-CNN", badge=BADGE).axes
    assert [(float(dot.get_xdata()[0]), float(dot.get_ydata()[0])) for dot in axes.lines] == [
        (3.0, 0.1), (15.0, 60.0), (21.0, 0.7), (100.0, 73.0),
    ]  # fmt: skip
    assert axes.get_xscale() == "log"
    assert set(figures.whole(SHARES, "CA-CNN", badge=BADGE)) == {"CA-CNN", FACT}
    assert set(figures.whole(TABLE, "CA-CNN", badge=BADGE)) == {"CA-CNN"}


def test_tsne_puts_each_point_in_its_own_panel():
    points = np.arange(12.0).reshape(6, 2)
    real, synthetic = figures.tsne(points, [0] * 6, [False] * 4 + [True] * 2, badge=BADGE).axes
    assert np.array_equal(real.collections[1].get_offsets(), points[:4])
    assert np.array_equal(synthetic.collections[1].get_offsets(), points[4:])
    assert real.get_xlim() == synthetic.get_xlim()


def test_tsne_names_long_labels_in_a_key_and_the_one_of_unlabelled_images_nowhere():
    points, synthetic, names = np.arange(12.0).reshape(6, 2), [False, True] * 3, ["airplane", "automobile", "bird"]
    named = figures.tsne(points, [0, 1, 2] * 2, synthetic, names, badge=BADGE)
    assert [text.get_text() for text in named.legends[0].get_texts()] == names
    assert not any(axes.texts for axes in named.axes)
    shades = {tuple(colour) for axes in named.axes for colour in axes.collections[1].get_facecolors()}
    assert {tuple(to_rgba(handle.get_color())) for handle in named.legends[0].legend_handles} == shades
    assert not figures.tsne(points, [0] * 6, synthetic, ["all"], badge=BADGE).legends


def test_images_of_one_label_stand_in_rows_under_one_name():
    figure = figures.grid(images(20), [0] * 20, ["all"], badge=BADGE)
    assert len(figure.axes[0].images) == 20
    assert [text.get_text() for text in figure.axes[0].texts if text.get_text()] == ["all"]


def test_many_large_images_are_drawn_smaller_for_the_page_to_hold_them():
    wide = figures.progress({"a step": images(20, 3, 64)}, badge=BADGE)
    assert (
        wide.get_figwidth() <= 15.5 and figures.progress({"a step": images(4, 3, 64)}, badge=BADGE).get_figwidth() > 4
    )


NOTHING = torch.empty(0, 1, 28, 28, dtype=torch.uint8)
REFUSED = {
    "images is empty": lambda: figures.grid(NOTHING, title="t", badge=BADGE),
    "images must be uint8": lambda: figures.grid(torch.rand(2, 1, 8, 8), title="t", badge=BADGE),
    "not uint8 \\(2, 2, 8, 8\\)": lambda: figures.grid(images(2, 2, 8), title="t", badge=BADGE),
    "labels has 1 entries where 2": lambda: figures.grid(images(2), [0], title="t", badge=BADGE),
    "captions has 1 entries": lambda: figures.grid(images(2), title="t", badge=BADGE, captions=["a"]),
    "label 5 has no name": lambda: figures.grid(images(1), [5], title="t", badge=BADGE, names=["a"]),
    "one is empty": lambda: figures.voted({"zero": images(1), "one": NOTHING}, badge=BADGE),
    "synthetic is empty": lambda: figures.neighbours(NOTHING, NOTHING, [], badge=BADGE),
    "distances has 2 entries": lambda: figures.neighbours(images(1), images(1), [1, 2], badge=BADGE),
    "no row of images": lambda: figures.hero({}, badge=BADGE),
    "gap is empty": lambda: figures.matching([], [], badge=BADGE),
    "noise has 1 entries where 2": lambda: figures.matching([1, 2], [1], badge=BADGE),
    "names has 1 entries where 2": lambda: figures.noise_to_signal(["a"], [1, 2], badge=BADGE),
    "b has 2 entries where 3": lambda: figures.hero({"a": images(3), "b": images(2)}, badge=BADGE),
    "counts is empty": lambda: figures.histogram(np.empty((0, 5)), list("abcde"), [], scale=1.0, badge=BADGE),
    "classes has 3 entries": lambda: figures.histogram(np.ones((1, 2)), list("abc"), ["x"], scale=1.0, badge=BADGE),
    "votes is empty": lambda: figures.toy({}, noise_multiplier=1.0, seed=0),
    "scale < 0": lambda: figures.toy({"a": 1}, noise_multiplier=-1, seed=0),
    "noise multiplier 0: it must be above 0": lambda: figures.densities(0.0, epsilon=1.0, badge=BADGE),
    "rates is empty": lambda: figures.subsampling([], [], delta=1e-5, badge=BADGE),
    "noise is empty": lambda: figures.recall_curve([], [], [], chosen=4.0, badge=BADGE),
    "histories is empty": lambda: figures.losses({}, badge=BADGE),
    "the loss of dpdm is empty": lambda: figures.losses({"dpdm": {}}, badge=BADGE),
    "not finite": lambda: figures.budget([1], [np.inf], epsilon_target=1, query_epsilon=0, badge=BADGE),
    "steps is empty": lambda: figures.budget([], [], epsilon_target=1, query_epsilon=0, badge=BADGE),
    "hold no KID": lambda: figures.comparison(TABLE, "KID", badge=BADGE),
    "hold no CA-CNN; their metrics are: none": lambda: figures.comparison(TABLE[:0], "CA-CNN", badge=BADGE),
    "several values of dataset \\(fashion_mnist, mnist5k\\)": lambda: figures.comparison(
        results(result("a", 1.0), result("b", 2.0, dataset="fashion_mnist")), "CA-CNN", badge=BADGE
    ),
    "several values of CA-CNN for method a": lambda: figures.comparison(
        results(result("a", 1.0), result("a", 2.0)), "CA-CNN", badge=BADGE
    ),
    "no method has runs that differ in learning-percent": lambda: figures.against(
        results(result("rpgen", 100.0, metric=FACT), result("rpgen", 90.0)), FACT, "CA-CNN", badge=BADGE
    ),
    "hold no moment-gap": lambda: figures.against(SHARES, "moment-gap", "CA-CNN", badge=BADGE),
    "points is empty": lambda: figures.tsne(np.empty((0, 2)), [], [], badge=BADGE),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_drawn_is_refused_in_one_sentence(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


@pytest.mark.parametrize("is_value", [False, True])
def test_a_notebook_shows_a_figure_once_a_cell(monkeypatch, is_value):
    shell, shown = SimpleNamespace(execution_count=1), []
    monkeypatch.setattr(style, "get_ipython", lambda: shell)
    monkeypatch.setattr(display, "display", shown.append)
    figure = figures.grid(images(3), title="Three images", badge=BADGE)
    if is_value:
        figure._ipython_display_()
    assert [(image.alt, image.data[:4]) for image in shown] == [("Three images", b"\x89PNG")]
    shell.execution_count = 2
    figure._ipython_display_()
    assert len(shown) == 2 and pyplot.get_fignums() == []


def test_a_page_that_cannot_be_drawn_is_an_error_of_its_own_cell(monkeypatch):
    def too_large(picture):
        raise ValueError("the page is too large")

    monkeypatch.setattr(style, "get_ipython", lambda: SimpleNamespace(execution_count=1))
    monkeypatch.setattr(style.Picture, "png", too_large)
    with pytest.raises(ValueError, match="the page is too large"):
        figures.grid(images(3), badge=BADGE)
