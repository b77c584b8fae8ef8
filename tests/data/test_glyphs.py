import numpy as np
import pytest
from matplotlib.ft2font import FT2Font

from dpsynth.data import glyphs


def test_a_thousand_characters_of_many_scripts():
    characters = glyphs.characters()
    assert len(set(characters)) == len(characters) == 1000
    assert glyphs.PER_CLASS == 40
    assert set("0123456789") < set(characters)
    assert set("BQRΨΩЖЯאش€→∞♠") < set(characters)
    assert not any(c.isspace() or not c.isprintable() for c in characters)


def test_classes_differ_in_the_main_font():
    characters = glyphs.characters()
    font = FT2Font(str(glyphs._font(glyphs.MAIN).fname))
    assert len({font.get_char_index(ord(c)) for c in characters}) == 1000
    latin_greek_cyrillic = ("A\u0391\u0410", "Oo\u039f\u041e", "Xx\u03a7\u0425", "Cc\u0421\u0441", "p\u0440")
    for twins in latin_greek_cyrillic:
        assert len(set(twins) & set(characters)) == 1, twins
    looks = np.stack([glyphs._look(glyphs._outline(glyphs.MAIN, c)) for c in characters])
    assert np.max(looks @ looks.T - np.eye(1000)) < glyphs.LIKENESS


def test_rendering_is_fixed_and_leaves_the_global_generator_alone():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    some = glyphs.render("5", 6)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(2)
    assert (glyphs.render("5", 8)[:6] == some).all()
    assert len({image.tobytes() for image in some}) == 6
    assert (glyphs.render("6", 6) != some).any()


def test_geometry_is_that_of_mnist():
    images = np.concatenate([glyphs.render(c, 20) for c in "0123456789"])
    assert images.shape == (200, 28, 28) and images.dtype == np.uint8
    assert (images.max((1, 2)) > 200).all()
    ink = images.astype(float) / 255
    across, down = (ink.max(axis) > 0.2 for axis in (1, 2))
    longest = np.maximum(across.sum(1), down.sum(1))
    assert longest.min() >= 16 and longest.max() <= 22 and 19 <= longest.mean() <= 21
    centre = np.array([(ink * grid).sum((1, 2)) / ink.sum((1, 2)) for grid in np.mgrid[:28, :28]])
    assert np.abs(centre.mean(1) - 13.5).max() < 0.3 and np.abs(centre - 13.5).max() < 4
    assert (images[:, [0, -1]] == 0).all() and (images[:, :, [0, -1]] == 0).all()
    assert ((ink > 0.05) & (ink < 0.95)).mean() > 0.03  # antialiased


def test_strokes_get_the_weight_asked_for():
    outline = glyphs._outline(glyphs.MAIN, "l")  # one upright bar
    widths = [glyphs._draw(*glyphs._fit(outline, 20, pen, np.zeros(2)))[14].sum() / 255 for pen in (2.0, 3.0)]
    assert widths == pytest.approx([2.0, 3.0], abs=0.25)  # antialiased edges overlap


def test_what_no_font_draws_is_refused():
    with pytest.raises(ValueError, match="no font"):
        glyphs.render("\u4e00", 1)
