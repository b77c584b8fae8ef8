"""Sets as their makers publish them: what is read of each, in which order, under which names, and what is refused."""

import hashlib
import pickle

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

from dpsynth.data import layouts


def images(listing):
    return listing.read(0, len(listing.labels))


def test_images_are_cropped_to_their_middle_square_and_resized_by_lanczos(tmp_path):
    picture = Image.new("RGB", (24, 12), (0, 255, 0))
    middle = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8))
    picture.paste(middle, (6, 0))
    picture.save(tmp_path / "a.png")
    expected = np.asarray(middle.resize((8, 8), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    assert (layouts.square(tmp_path / "a.png", 8) == expected).all()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_images_of_any_mode_have_three_channels(tmp_path, mode):
    Image.new(mode, (40, 30)).save(tmp_path / "a.tif")
    found = layouts.square(tmp_path / "a.tif", 8)
    assert found.shape == (3, 8, 8) and found.dtype == np.uint8


# CIFAR-10


def test_the_classes_of_cifar10_take_turns(cifar, place):
    listing = layouts.cifar10_tree(place, 32)
    assert listing.labels.tolist() == [*range(10), *range(10), *range(10)] and listing.classes == layouts.CIFAR10
    assert listing.n_images == {"train": 20, "test": 10}
    expected = [cifar["train", c, n] for n in range(2) for c in range(10)] + [cifar["test", c, 0] for c in range(10)]
    assert (images(listing) == np.stack(expected)).all()
    assert (listing.read(7, 12) == np.stack(expected[7:12])).all()


def test_a_tree_of_other_classes_is_no_cifar10(cifar, place):
    (place / "cifar10" / "test" / "truck").rename(place / "cifar10" / "test" / "lorry")
    with pytest.raises(ValueError, match=r"cifar10/test has the classes airplane.*lorry.*, and airplane.*published"):
        layouts.cifar10_tree(place, 32)


@pytest.fixture
def batches(place, monkeypatch):
    """torchvision's files with two batches of 30 and 20 images to train on and one of 10 to test, and their pixels."""
    folder, pixels = place / CIFAR10.base_folder, {}
    folder.mkdir()

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    for name, n in (("data_batch_1", 30), ("data_batch_2", 20), ("test_batch", 10)):
        data = np.random.default_rng(n).integers(0, 256, (n, 3072), dtype=np.uint8)
        pixels[name] = {"data": data, "labels": [row * 7 % 10 for row in range(n)]}
    monkeypatch.setattr(CIFAR10, "train_list", [write(name, pixels[name]) for name in ("data_batch_1", "data_batch_2")])
    monkeypatch.setattr(CIFAR10, "test_list", [write("test_batch", pixels["test_batch"])])
    name, checksum = write("batches.meta", {"label_names": list(layouts.CIFAR10)})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": checksum})
    return folder, pixels


def test_torchvisions_files_of_cifar10_are_read_in_the_same_order(batches, place):
    listing, (_, pixels) = layouts.cifar10_batches(place, 32), batches
    assert listing.n_images == {"train": 50, "test": 10} and listing.labels.tolist() == [*range(10)] * 6
    found, train = images(listing), [pixels["data_batch_1"], pixels["data_batch_2"]]
    data = np.concatenate([part["data"] for part in train]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([part["labels"] for part in train])
    for label in range(10):
        assert (found[:50][label::10] == data[labels == label]).all()
    assert (
        found[50 + np.asarray(pixels["test_batch"]["labels"])] == pixels["test_batch"]["data"].reshape(-1, 3, 32, 32)
    ).all()


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_file_of_cifar10_that_is_not_as_published_is_named_and_not_unpickled(
    batches, place, monkeypatch, name, damage
):
    file = batches[0] / name
    file.write_bytes(file.read_bytes()[:-9]) if damage == "cut" else file.unlink()
    monkeypatch.setattr(pickle, "load", lambda *a, **k: pytest.fail("it was unpickled"))
    with pytest.raises(ValueError, match=f"{name} is missing, or not as published; fetch it again"):
        layouts.cifar10_batches(place, 32)


# CelebA


def test_faces_are_split_by_the_partition_file_and_labelled_by_gender(faces, place):
    listing = layouts.celeba(place, 16)
    assert listing.n_images == {"train": 4, "test": 1} and listing.classes == ("female", "male")
    assert listing.labels.tolist() == [0, 1, 0, 1, 1]  # 1 to 4, and 6
    expected = [layouts.square(faces / "img_align_celeba" / f"00000{n}.jpg", 16) for n in (1, 2, 3, 4, 6)]
    assert (images(listing) == np.stack(expected)).all()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("list_eval_partition.txt", "000001.jpg 0 7\n", "list_eval_partition.txt is not CelebA's list of partitions"),
        ("list_eval_partition.txt", None, "list_eval_partition.txt is missing"),
        ("list_attr_celeba.txt", "6\nBald Young\n", "list_attr_celeba.txt is not CelebA's list of attributes"),
        ("list_attr_celeba.txt", "6\nBald Male\n000001.jpg 1 1\n", "list_attr_celeba.txt is not CelebA's"),
        ("list_attr_celeba.txt", "", "list_attr_celeba.txt is not CelebA's"),
        ("list_attr_celeba.txt", None, "list_attr_celeba.txt is missing"),
    ],
)
def test_lists_of_celeba_that_are_none_are_named(faces, place, file, content, message):
    (faces / file).unlink() if content is None else (faces / file).write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=f"{place}/celeba/{message}"):
        layouts.celeba(place, 16)


# ImageNet


def test_tiny_imagenet_is_its_training_images_under_their_first_words(tiny, place):
    listing = layouts.tiny_imagenet(place, 64)
    assert listing.classes == ("goldfish", "tabby") and listing.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert listing.n_images == {"train": 6} and (images(listing) == tiny).all()
    assert images(layouts.tiny_imagenet(place, 32)).shape == (6, 3, 32, 32)


def test_imagenet_is_a_folder_a_class_under_torchvisions_names(place, save, monkeypatch):
    for number, file in enumerate(("n01/b.JPEG", "n01/a.JPEG", "n02/c.JPEG")):
        save(place / "imagenet" / "train" / file, number, (50, 40))
    listing = layouts.imagenet(place, 32)
    assert listing.classes == ("n01", "n02") and listing.labels.tolist() == [0, 0, 1]
    assert (images(listing)[0] == layouts.square(place / "imagenet/train/n01/a.JPEG", 32)).all()
    monkeypatch.setattr(layouts, "_imagenet_names", lambda: ("tench", "goldfish"))
    assert layouts.imagenet(place, 32).classes == ("tench", "goldfish")
    monkeypatch.undo()
    assert len(names := layouts._imagenet_names()) == 1000 and names[:2] == ("tench", "goldfish")


@pytest.fixture
def small_batches(place):
    """Ten images of three classes in the batches 1, 2 and 10, and their pixels."""
    folder, pixels = place / "imagenet32", np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    folder.mkdir()
    for number, rows in ((1, slice(0, 4)), (2, slice(4, 6)), (10, slice(6, 10))):
        labels = [1 + row % 3 for row in range(10)][rows]
        np.savez(folder / f"train_data_batch_{number}.npz", data=pixels[rows].reshape(-1, 3072), labels=labels)
    (folder / "map_clsloc.txt").write_text("n02 1 kit_fox\nn01 2 tench\nn03 3 crane\n")
    return folder, pixels


def test_imagenets_small_batches_are_read_in_the_order_of_their_numbers(small_batches, place):
    listing, pixels = layouts.imagenet_batches(place, 32), small_batches[1]
    assert listing.classes == ("kit fox", "tench", "crane") and listing.n_images == {"train": 10}
    assert listing.labels.tolist() == [row % 3 for row in range(10)]
    for start, stop in ((0, 10), (3, 7), (4, 6), (5, 10), (9, 10)):
        assert (listing.read(start, stop) == pixels[start:stop]).all()


def test_a_small_batch_that_is_cut_off_or_a_map_that_is_missing_is_named(small_batches, place):
    folder, _ = small_batches
    whole = (folder / "train_data_batch_2.npz").read_bytes()
    (folder / "train_data_batch_2.npz").write_bytes(whole[:100])
    with pytest.raises(ValueError, match=r"train_data_batch_2.npz cannot be read .*fetch it again"):
        layouts.imagenet_batches(place, 32)
    (folder / "train_data_batch_2.npz").write_bytes(whole)
    (folder / "map_clsloc.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"map_clsloc.txt is missing"):
        layouts.imagenet_batches(place, 32)


# What cannot be read


def test_files_that_cannot_be_read_are_named_ten_at_most(cifar, place):
    for name in layouts.CIFAR10:
        (place / "cifar10/train" / name / "0000.png").write_bytes(b"no image")
    cut = place / "cifar10/train/ship/0001.png"
    cut.write_bytes(cut.read_bytes()[:700])
    (place / "cifar10/train/cat/0001.png").chmod(0)
    with pytest.raises(
        ValueError, match=r"cannot be read; fetch them again: /.*airplane/0000.png .* and 1 more$"
    ) as error:
        images(layouts.cifar10_tree(place, 32))
    assert "truncated" in str(error.value) and "damaged at its beginning" in str(error.value)


def test_another_name_of_a_file_is_another_listing(tiny, place):
    before = layouts.tiny_imagenet(place, 64).digest
    assert layouts.tiny_imagenet(place, 64).digest == before
    file = place / "tiny-imagenet-200/train/n01/images/n01_0.JPEG"
    file.rename(file.with_name("n01_9.JPEG"))
    assert layouts.tiny_imagenet(place, 64).digest != before
