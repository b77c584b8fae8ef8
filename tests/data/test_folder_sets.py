"""`folder:PATH` as a private and as a public set: what is read, when, and what must be declared."""

import pytest
import torch

from dpsynth import privacy
from dpsynth.data import catalog, imagefiles, private_sets


def declared(path, n_records=3, labels=("cat", "dog"), size=8):
    return catalog.private(f"folder:{path}", n_records=n_records, labels=labels, size=size)


def test_a_public_folder(pets):
    found = catalog.public(f"folder:{pets}", 1, 8)
    assert found.classes == ("cat", "dog") and found.labels.tolist() == [0, 0, 1]
    assert found.images.shape == (3, 1, 8, 8)
    assert (found.images[2] == 60).all() and (found.images[0] == 67).all()  # means of the colours
    assert catalog.public(f"folder:{pets / 'cat'}", 3, 8).classes == ("all",)


def test_a_public_folder_is_listed_when_its_classes_are_asked_for_and_read_when_its_images_are(pets, monkeypatch):
    assert catalog.public(f"folder:{pets}/nowhere", 3, 8).name == f"folder:{pets}/nowhere"
    monkeypatch.setattr(imagefiles, "read", lambda *file: pytest.fail("it was read"))
    found = catalog.public(f"folder:{pets}", 3, 8)
    assert found.n_classes == 2 and found.classes == ("cat", "dog") and found.labels.tolist() == [0, 0, 1]
    with pytest.raises(pytest.fail.Exception):
        found.images


def test_the_identity_of_a_public_folder_is_its_whole_path_shape_and_background(pets, monkeypatch):
    monkeypatch.chdir(pets.parent)
    found = catalog.public(f"folder:{pets}", 3, 8).identity
    assert str(pets) in found
    for name, background in (("folder:pets", "white"), (f"folder:{pets}/../pets/", "#ffffff")):
        assert catalog.public(name, 3, 8, background=background).identity == found
    others = {catalog.public(f"folder:{pets}", 3, 8, background="red"), catalog.public(f"folder:{pets}", 3, 16),
              catalog.public(f"folder:{pets}", 1, 8), catalog.public(f"folder:{pets}/cat", 3, 8)}  # fmt: skip
    assert len({other.identity for other in others} | {found}) == 5


def test_a_private_folder(pets):
    private = declared(pets, labels=["dog", "cat"])
    assert private.shape == (3, 8, 8) and private.n_records == 3 and not private.builtin
    assert private.classes == ("dog", "cat") and private.name == f"folder:{pets}"
    with pytest.raises(PermissionError):
        privacy.evaluation(private, "test")
    images, labels = private._images, private._labels
    assert labels.tolist() == [0, 1, 1] and labels.dtype == torch.int64 and images.dtype == torch.uint8
    colours = torch.tensor([[30, 60, 90], [200, 0, 0], [200, 0, 0]], dtype=torch.uint8)
    assert (images == colours[:, :, None, None]).all()  # cropped to the middle square: no green is left


@pytest.mark.parametrize("labels, classes", [([], ("all",)), (["pet"], ("pet",))])
def test_a_folder_without_classes(pets, labels, classes):
    private = declared(pets / "cat", n_records=2, labels=labels)
    known = catalog.constants(f"folder:{pets / 'cat'}", n_records=2, labels=labels, size=8)
    assert private.classes == known.classes == classes
    assert private._labels.tolist() == [0, 0]


def test_constants_of_a_folder_do_not_open_it(tmp_path):
    known = catalog.constants(f"folder:{tmp_path / 'nowhere'}", n_records=7, labels=["b", "a"], size=64)
    assert known == private_sets.Constants(7, 3, 64, ("b", "a"), False)


@pytest.mark.parametrize("missing", ["n_records", "labels", "size"])
def test_a_missing_declaration_is_named(pets, missing):
    with pytest.raises(ValueError, match=f"needs {missing} declared: .*public constants"):
        declared(pets, **{missing: None})


def test_all_missing_declarations_are_named():
    with pytest.raises(ValueError, match="needs n_records and labels and size declared"):
        catalog.constants("folder:x")


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"size": 0}, "size=0 of folder:.* above 0"),
        ({"size": -8}, "size=-8"),
        ({"size": 8.5}, "size=8.5"),
        ({"n_records": 0}, "n_records=0"),
        ({"n_records": True}, "n_records=True"),
        ({"labels": "cat"}, "labels='cat'.*list of folder names"),
        ({"labels": [True, False]}, "in quotes"),
        ({"labels": ["cat", ""]}, "list of folder names"),
        ({"labels": ["cat", "cat"]}, "distinct"),
        ({"labels": ["cat"]}, "contradicts the declared labels: class folders not declared: dog; .*: none"),
        ({"labels": []}, "class folders not declared: cat, dog"),
        ({"labels": ["cat", "dog", "emu"]}, "not declared: none; labels without a folder: emu"),
        ({"n_records": 4}, "does not hold the 4 images that n_records declares$"),
        ({"n_records": 2}, "does not hold the 2 images that n_records declares$"),
    ],
)
def test_declarations_that_are_refused(pets, wrong, message):
    with pytest.raises(ValueError, match=message) as error:
        declared(pets, **wrong)
    assert str(pets) in str(error.value)


def test_classes_declared_of_a_folder_without(pets):
    with pytest.raises(ValueError, match="has no class folders, but labels declares cat, dog"):
        declared(pets / "cat", n_records=2)
