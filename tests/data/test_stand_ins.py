"""Classes of a public set that play a private one: which they are, and that no public set of the rehearsal has them."""

import numpy as np
import pytest
import torch

from dpsynth import privacy
from dpsynth.data import catalog, stand_ins
from dpsynth.data.public_sets import PUBLIC, Source
from dpsynth.data.shapes import Rows


@pytest.fixture
def letters(monkeypatch):
    """A public set of 20 classes with 30 images each, whose pixels tell which class and image they are."""
    labels = torch.arange(20).repeat_interleave(30)
    images = torch.stack([labels, torch.arange(600) % 30], 1)[:, :, None, None].expand(-1, -1, 8, 8)
    images = torch.cat([images, images[:, :1]], 1).to(torch.uint8)
    source = Source(20, lambda: "1", lambda: (images, labels, tuple("abcdefghijklmnopqrst")))
    monkeypatch.setitem(PUBLIC, "letters", source)
    return catalog.public("letters", 3, 8)


def opened(cast, split):
    private, _ = cast.names("letters")
    names = ["one", "two"][: cast.n_labels]
    known = {"n_records": cast.n_records, "labels": names, "size": 8}
    return privacy.evaluation(catalog.private(private, split, **known), "a test")


def test_records_judges_and_the_rest_share_no_image_and_the_rest_no_class(letters):
    cast = stand_ins.cast(letters, 2, 100)
    (records, labels), (judges, _) = opened(cast, "train"), opened(cast, "test")
    rest = catalog.public(cast.names("letters")[1], 3, 8)
    assert len(records) == 100 and set(labels.tolist()) == {0, 1}
    images = [[tuple(image[:2, 0, 0].tolist()) for image in part] for part in (records, judges, rest.images[:])]
    assert sum(map(len, images)) == len(set().union(*map(set, images)))
    assert not {c for c, _ in images[0] + images[1]} & {c for c, _ in images[2]}
    held = stand_ins.held(20, 2, cast.each)
    assert all(c in held[label] for (c, _), label in zip(images[0], labels.tolist(), strict=True))
    assert rest.n_classes == len(rest.classes) == 20 - held.size and isinstance(rest.images, Rows)
    assert [rest.classes[label] for label in rest.labels] == ["abcdefghijklmnopqrst"[c] for c, _ in images[2]]


def test_as_few_classes_are_held_out_as_have_the_records_and_at_most_half(letters):
    assert stand_ins.cast(letters, 2, 40) == (2, 1, 40)
    assert stand_ins.cast(letters, 2, 49) == (2, 2, 49)  # a fifth of 60 judges
    assert stand_ins.cast(letters, 2, 10_000) == (2, 5, 240)
    assert stand_ins.cast(letters, 10, 10_000).each == 1
    with pytest.raises(ValueError, match="20 classes, of which at most half can be held out, and 11 labels"):
        stand_ins.cast(letters, 11, 10)


def test_the_cast_is_the_same_every_time_and_follows_the_set_alone(letters):
    cast = stand_ins.cast(letters, 2, 100)
    assert torch.equal(opened(cast, "train")[0], opened(cast, "train")[0])
    assert np.array_equal(stand_ins.held(20, 1, 2)[0], stand_ins.held(20, 2, 2)[0])  # more labels move none


@pytest.mark.parametrize(
    "name", ["stand_in:", "stand_in:0x1:letters", "stand_in:2:letters", "stand_in:2x1:", "stand_in:axb:c"]
)
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="no stand-in; one is written stand_in:2x7:tiny_imagenet32"):
        catalog.constants(name, n_records=10, labels=["one", "two"], size=8)


def test_a_stand_in_of_other_images_than_were_cast_is_refused(letters):
    cast = stand_ins.cast(letters, 2, 100)._replace(n_records=10_000)
    with pytest.raises(ValueError, match="letters has other images than when it was cast"):
        opened(cast, "train")
