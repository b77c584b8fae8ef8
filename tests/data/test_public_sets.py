"""Named public sets: what is rendered, when it is opened, and what is known of it before."""

import dataclasses
import unicodedata

import pytest
import torch

from dpsynth.data import catalog, glyphs, public_sets
from dpsynth.params import Params
from dpsynth.pipeline import Run


@pytest.fixture(scope="module")
def small_root(tmp_path_factory):
    """A root whose glyph cache holds 4 images a class: rendering 40 would add nothing but time."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPSYNTH_ROOT", str(root))
        patch.setattr(glyphs, "PER_CLASS", 4)
        assert catalog.public("glyphs", 1, 28).classes
        yield root


def test_glyphs_are_rendered_once_then_read(small_root, monkeypatch):
    monkeypatch.setattr(glyphs, "render", None)
    found = catalog.public("glyphs", 1, 28)
    assert found.images.shape == (4000, 1, 28, 28) and found.images.dtype == torch.uint8
    assert found.classes == glyphs.characters()
    assert found.labels.bincount().tolist() == [4] * 1000
    assert [file.suffix for file in (small_root / "cache").iterdir()] == [".safetensors"]


def test_rows_belong_to_their_class(small_root):
    found = catalog.public("glyphs", 1, 28)
    five = found.classes.index("5")
    assert (found.images[found.labels == five, 0].numpy() == glyphs.render("5", 4)).all()


def test_glyphs_without_digits_are_the_glyphs_that_are_no_numbers(small_root, monkeypatch):
    monkeypatch.setattr(glyphs, "render", None)  # one cache serves both
    whole, found = catalog.public("glyphs", 1, 28), catalog.public("glyphs_without_digits", 1, 28)
    numbers = {c for c in whole.classes if unicodedata.category(c) in ("Nd", "Nl", "No")}
    assert set("0123456789") < numbers and not numbers & set(found.classes)
    assert found.classes == tuple(c for c in whole.classes if c not in numbers)
    assert found.labels.bincount().tolist() == [4] * len(found.classes) and found.labels.dtype == torch.int64
    for c in (0, 100, 978):
        there = whole.images[whole.labels == whole.classes.index(found.classes[c])]
        assert found.images[found.labels == c].equal(there)
    rows = [whole.classes[c] not in numbers for c in whole.labels]
    assert found.images.equal(whole.images[rows])
    assert len(list((small_root / "cache").iterdir())) == 1


@pytest.mark.parametrize("name", ["glyphs", "glyphs_without_digits"])
def test_how_many_classes_there_are_is_known_without_opening(small_root, monkeypatch, name):
    n_classes = len(catalog.public(name, 1, 28).classes)
    monkeypatch.setattr(public_sets, "safe_open", None)
    monkeypatch.setattr(glyphs, "characters", None)
    assert catalog.public(name, 1, 28).n_classes == n_classes == {"glyphs": 1000, "glyphs_without_digits": 979}[name]


def test_public_sets_come_in_any_shape(small_root):
    grey, colour = catalog.public("glyphs", 1, 28), catalog.public("glyphs", 3, 32)
    assert colour.images.shape == (4000, 3, 32, 32)
    assert (colour.images[:, :1] == colour.images).all()
    light = [found.images.float().mean((1, 2, 3)) for found in (grey, colour)]
    assert torch.allclose(*light, atol=3)
    assert catalog.public("glyphs", 3, 28).images[:, 2:].equal(grey.images)


def test_a_public_set_is_opened_when_it_is_first_looked_at_and_once(small_root, monkeypatch):
    read = public_sets.PUBLIC["glyphs"].read
    calls = []
    counted = dataclasses.replace(public_sets.PUBLIC["glyphs"], read=lambda: calls.append(1) or read())
    monkeypatch.setitem(public_sets.PUBLIC, "glyphs", counted)
    found = catalog.public("glyphs", 1, 28)
    assert (found.name, found.n_classes) == ("glyphs", 1000) and "glyphs 1x28x28" in found.identity and not calls
    assert len(found.labels) == len(found.images) and len(found.classes) == found.n_classes and len(calls) == 1


def test_the_identity_of_a_public_set_tells_its_shape_and_its_version_what_renders_it(monkeypatch):
    found = catalog.public("glyphs", 1, 28)
    assert found.identity == catalog.public("glyphs", 1, 28, background="red").identity
    assert len({catalog.public("glyphs", *shape).identity for shape in ((1, 28), (1, 32), (3, 28), (3, 32))}) == 4
    versions, extractor = {found.version}, Run(Params()).recipe("extractor").identity
    for module in ("matplotlib", "numpy", "scipy"):
        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.__version__", "0")
            versions.add(found.version)
            assert Run(Params()).recipe("extractor").identity != extractor  # which is trained on them
    assert Run(Params()).recipe("extractor").identity == extractor
    for digest in ("page_digest", "work_digest"):
        with monkeypatch.context() as patch:
            patch.setattr(public_sets, digest, lambda of: "other")
            versions.add(found.version)
    assert len(versions) == 6
