"""What was published of each set, and what is said where a set is missing or of another size."""

import pytest

from dpsynth.data import originals
from dpsynth.data.originals import ORIGINALS


def test_counts_are_those_published():
    found = {name: (row.n_images, row.n_classes, row.size) for name, row in ORIGINALS.items()}
    faces, imagenet, tiny = {"train": 162_770, "test": 19_962}, {"train": 1_281_167}, {"train": 100_000}
    assert found == {
        "cifar10": ({"train": 50_000, "test": 10_000}, 10, 32),
        "celeba32": (faces, 2, 32), "celeba64": (faces, 2, 64), "celeba10k": ({"train": 8_000, "test": 2_000}, 2, 32),
        "imagenet32": (imagenet, 1000, 32), "imagenet64": (imagenet, 1000, 64),
        "tiny_imagenet32": (tiny, 200, 32), "tiny_imagenet64": (tiny, 200, 64),
    }  # fmt: skip


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_set_that_is_missing_says_where_it_was_looked_for_and_how_to_get_it(place, name):
    with pytest.raises(FileNotFoundError) as error:
        originals.listed(name)
    for part in (f"{name} is missing", str(place), "$DPSYNTH_DATA", *ORIGINALS[name].layouts, ORIGINALS[name].get):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_without_the_variable_sets_are_looked_for_below_the_root(root, monkeypatch):
    monkeypatch.delenv("DPSYNTH_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=f"in {root}/cache/data "):
        originals.listed("cifar10")


def test_a_set_of_another_size_is_refused_with_both_counts(cifar, place):
    (place / "cifar10/test/cat/0000.png").rename(place / "cifar10/train/cat/0009.png")
    (place / "cifar10/test/cat/1.png").hardlink_to(place / "cifar10/test/dog/0000.png")
    with pytest.raises(ValueError) as error:
        originals.listed("cifar10")
    has = "21 images of train and 10 images of test in 10 classes"
    was = "20 images of train and 10 images of test in 10 classes"
    assert f"{place}/cifar10/train is of another size: it has {has}, where {was} were published" in str(error.value)


def test_the_first_layout_that_is_there_is_taken(place):
    assert originals.found("imagenet32") is None
    (place / "imagenet32").mkdir()
    (place / "imagenet32" / "train_data_batch_1.npz").touch()
    assert originals.found("imagenet32") == "imagenet32/train_data_batch_1.npz" and not originals.found("imagenet64")
    (place / "imagenet" / "train").mkdir(parents=True)
    assert originals.found("imagenet32") == originals.found("imagenet64") == "imagenet/train"
