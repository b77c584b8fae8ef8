"""Sets prepared once: what is written, how a killed start goes on, and what is refused in which words."""

import errno
import json
import os
import signal
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from dpsynth import privacy
from dpsynth.data import catalog, layouts, originals, prepared, shapes


def arrays(name):
    return {file: (prepared.folder(name) / file).read_bytes() for file in prepared.ARRAYS}


def refusal(name):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        prepared.opened(name)
    assert "\n" not in str(error.value)
    return str(error.value)


# What is written


def test_a_prepared_set_is_a_mapped_array_labels_and_what_they_are(cifar, chunks):
    found = prepared.prepare("cifar10")
    assert found.images.shape == (30, 3, 32, 32) and found.images.dtype == torch.uint8
    assert found.labels.tolist() == [*range(10)] * 3 and found.classes == layouts.CIFAR10
    assert (found.images[13].numpy() == cifar["train", 3, 1]).all()
    place = prepared.folder("cifar10")
    assert sorted(path.name for path in place.iterdir()) == ["images.npy", "labels.npy", "set.json"]
    assert (np.load(place / "images.npy") == found.images.numpy()).all()
    described = json.loads((place / "set.json").read_text())
    assert described["made_from"]["original"] == "cifar10/train" and described["format"] == prepared.FORMAT
    assert chunks == list(range(30))
    prepared.check("cifar10")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what is mapped is told by Linux alone")
def test_images_are_mapped_and_what_is_done_to_them_stays_in_the_process(cifar):
    found = prepared.prepare("cifar10")
    assert str(prepared.folder("cifar10") / "images.npy") in Path("/proc/self/maps").read_text()
    found.images.zero_()
    prepared.check("cifar10")
    assert prepared.opened("cifar10").images.any()


def test_a_set_is_decoded_once(cifar, chunks, place):
    prepared.prepare("cifar10")
    (place / "cifar10").rename(place / "away")  # what it was made from is not needed any more
    prepared.prepare("cifar10")
    assert len(chunks) == 30
    assert catalog.private("cifar10").n_records == 20


# A killed start


def stop_after(monkeypatch, n, how):
    read = layouts._read_files

    def stopped(files, size, start, stop):
        if start >= n:
            how()
        return read(files, size, start, stop)

    monkeypatch.setattr(layouts, "_read_files", stopped)


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("cut", [0, 1, 3071])
def test_a_second_start_goes_on_where_the_first_was_stopped(cifar, chunks, monkeypatch, place, cut):
    prepared.prepare("cifar10")
    whole = arrays("cifar10")
    prepared.folder("cifar10").rename(place / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 16, interrupt)
        prepared.prepare("cifar10")
    assert "cifar10 is half prepared; `dpsynth prepare cifar10` goes on" in refusal("cifar10")
    assert not prepared.folder("cifar10").exists()
    half = prepared.folder("cifar10").with_name("cifar10.partial") / "images.npy"
    os.truncate(half, half.stat().st_size - cut)  # in the middle of a row
    chunks.clear()
    prepared.prepare("cifar10")
    assert chunks == list(range(16 if not cut else 15, 30))
    assert arrays("cifar10") == whole


def test_a_kill_leaves_rows_that_count(cifar, chunks, monkeypatch):
    child = os.fork()
    if not child:  # pragma: no cover
        try:
            stop_after(monkeypatch, 16, lambda: os.kill(os.getpid(), signal.SIGKILL))
            prepared.prepare("cifar10")
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert "half prepared" in refusal("cifar10")
    prepared.prepare("cifar10")
    assert chunks[0] > 0 and chunks[-1] == 29  # what was written before stays
    assert prepared.opened("cifar10").images[13].numpy().tolist() == cifar["train", 3, 1].tolist()


@pytest.mark.parametrize("changed", ["files", "Pillow", "code"])
def test_what_was_begun_of_other_files_or_by_other_code_is_begun_anew(cifar, chunks, monkeypatch, place, changed):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 16, interrupt)
        prepared.prepare("cifar10")
    if changed == "files":
        file = place / "cifar10/train/cat/0000.png"
        file.rename(file.with_name("0009.png"))
    elif changed == "Pillow":
        monkeypatch.setattr("PIL.__version__", "0")
    else:
        monkeypatch.setattr(prepared, "work_digest", lambda function: "other")
    chunks.clear()
    prepared.prepare("cifar10")
    assert chunks == list(range(30))


def test_a_broken_file_is_named_and_a_start_after_it_was_mended_goes_on(cifar, chunks, place):
    file = place / "cifar10/train/cat/0001.png"
    whole = file.read_bytes()
    file.write_bytes(whole[:900])
    with pytest.raises(ValueError, match=rf"cannot be read; fetch them again: {file} \("):
        prepared.prepare("cifar10")
    file.write_bytes(whole)
    assert chunks == list(range(8))
    prepared.prepare("cifar10")
    assert chunks == list(range(30))
    prepared.check("cifar10")


def test_of_two_processes_that_prepare_one_set_one_waits(cifar, monkeypatch, chunks):
    read = layouts._read_files
    monkeypatch.setattr(layouts, "_read_files", lambda *a: (time.sleep(0.02), read(*a))[1])
    with ThreadPoolExecutor(3) as pool:  # a lock holds between open files, of one process or of several
        found = list(pool.map(lambda _: prepared.prepare("cifar10").images, range(3)))
    assert chunks == list(range(30)) and found[0].equal(found[1]) and found[0].equal(found[2])


# What is refused


def test_a_set_that_is_not_prepared_says_which_command_prepares_it(cifar, place):
    assert refusal("cifar10") == (
        f"cifar10 is not prepared, there is no {place}/prepared/cifar10; run: dpsynth prepare cifar10"
    )


def test_a_set_that_is_missing_says_also_where_it_was_looked_for(place):
    said = refusal("cifar10")
    assert f"there is no cifar-10-batches-py or cifar10/train in {place} ($DPSYNTH_DATA)" in said
    assert "CIFAR10(root, download=True) fetches it there; then run: dpsynth prepare cifar10" in said
    with pytest.raises(FileNotFoundError, match="cifar10 is missing: there is no cifar-10-batches-py"):
        prepared.prepare("cifar10")
    assert not list(place.iterdir())


def test_a_set_of_another_format_is_refused_and_replaced(cifar, chunks, monkeypatch):
    prepared.prepare("cifar10")
    monkeypatch.setattr(prepared, "FORMAT", 2)
    said = refusal("cifar10")
    assert "prepared/cifar10 was prepared in format 1, and this version reads 2; run: dpsynth prepare cifar10" in said
    prepared.prepare("cifar10")
    assert len(chunks) == 60 and prepared.opened("cifar10").n_images == {"train": 20, "test": 10}


DAMAGES = {
    "cut": lambda place: os.truncate(place / "images.npy", 20_000),
    "a byte short": lambda place: os.truncate(place / "images.npy", (place / "images.npy").stat().st_size - 1),
    "a byte long": lambda place: os.truncate(place / "images.npy", (place / "images.npy").stat().st_size + 1),
    "empty": lambda place: os.truncate(place / "images.npy", 0),
    "of another shape": lambda place: np.save(place / "images.npy", np.zeros((30, 3, 16, 16), np.uint8)),
    "of another type": lambda place: np.save(place / "images.npy", np.zeros((30, 3, 32, 32), np.int8)),
    "missing": lambda place: (place / "images.npy").unlink(),
    "labels cut": lambda place: os.truncate(place / "labels.npy", 130),
    "labels of fewer": lambda place: np.save(place / "labels.npy", np.zeros(29, np.int64)),
    "no json": lambda place: (place / "set.json").write_text("{"),
    "another json": lambda place: (place / "set.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_set_that_is_not_whole_is_refused_and_made_again(cifar, damage):
    prepared.prepare("cifar10")
    whole = arrays("cifar10")
    damage(prepared.folder("cifar10"))
    said = refusal("cifar10")
    assert f"{prepared.folder('cifar10')}" in said and "is not whole" in said and "run: dpsynth prepare cifar10" in said
    prepared.prepare("cifar10")
    assert arrays("cifar10") == whole


@pytest.mark.parametrize("file", prepared.ARRAYS)
def test_a_check_finds_one_other_byte(cifar, file):
    prepared.prepare("cifar10")
    path = prepared.folder("cifar10") / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    prepared.opened("cifar10")
    with pytest.raises(ValueError, match=rf"{path} is not what was prepared.*delete .*prepared/cifar10, then run: "):
        prepared.check("cifar10")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_says_what_to_set(cifar, monkeypatch, number):
    def refuse(*arguments, **named):
        raise OSError(number, os.strerror(number), "/sets/prepared")

    monkeypatch.setattr(prepared, "locked", refuse)
    with pytest.raises(
        ValueError, match=r"/sets/prepared cannot be written .*set DPSYNTH_DATA to a folder of your own"
    ):
        prepared.prepare("cifar10")


def test_a_full_disk_is_told_with_the_file(cifar, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(prepared.np, "ascontiguousarray", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*cifar10.partial/images.npy'"):
        prepared.prepare("cifar10")


def test_the_state_of_a_set_for_people(cifar, place, monkeypatch):
    assert prepared.state("celeba32").startswith("missing: there is no celeba/list_eval_partition.txt in ")
    assert prepared.state("cifar10") == "cifar10/train is there; `dpsynth prepare cifar10`"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 0, interrupt)
        prepared.prepare("cifar10")
    assert prepared.state("cifar10") == "half prepared; `dpsynth prepare cifar10` goes on"
    prepared.prepare("cifar10")
    assert prepared.state("cifar10") == "prepared, 0 MiB, from cifar10/train"
    os.truncate(prepared.folder("cifar10") / "images.npy", 9)
    assert "is not whole" in prepared.state("cifar10")


# As private sets


def opened(name, split="train"):
    return privacy.evaluation(catalog.private(name, split), "test")


def test_cifar10_opens_as_a_private_set(cifar):
    prepared.prepare("cifar10")
    for split, n in (("train", 20), ("test", 10)):
        images, labels = opened("cifar10", split)
        assert images.shape == (n, 3, 32, 32) and labels.tolist() == [*range(10)] * (n // 10)
    assert (opened("cifar10", "test")[0][4].numpy() == cifar["test", 4, 0]).all()
    private = catalog.private("cifar10")
    assert private.builtin and private.classes == layouts.CIFAR10 and private.shape == (3, 32, 32)


def test_a_private_set_that_is_not_prepared_is_refused(cifar, place):
    with pytest.raises(FileNotFoundError, match="run: dpsynth prepare cifar10"):
        catalog.private("cifar10_choosing")


def test_the_choosing_split_is_the_last_tenth_of_train_and_has_each_class_equally_often(place, save, published):
    published("cifar10", train=100, test=10)
    for number in range(110):
        split = "train" if number < 100 else "test"
        save(place / "cifar10" / split / layouts.CIFAR10[number % 10] / f"{number:04}.png", number)
    prepared.prepare("cifar10")
    whole, (train, labels), (test, held_out) = (
        opened("cifar10"),
        *(opened("cifar10_choosing", s) for s in ("train", "test")),
    )
    assert torch.cat([train, test]).equal(whole[0]) and len(train) == 90
    assert labels.bincount().tolist() == [9] * 10 and held_out.bincount().tolist() == [1] * 10
    known = catalog.constants("cifar10_choosing")
    assert known.n_records == 90 and catalog.constants("cifar10_choosing", "test").n_records == 10


def test_the_published_choosing_splits():
    for name, train, test in (("cifar10_choosing", 45_000, 5_000), ("celeba32_choosing", 146_493, 16_277)):
        found = [catalog.constants(name, split).n_records for split in ("train", "test")]
        assert found == [train, test]


def test_faces_come_unlabelled_and_by_gender_from_one_prepared_set(faces):
    prepared.prepare("celeba32")
    unlabelled, gender = catalog.private("celeba32"), catalog.private("celeba32_gender")
    assert (unlabelled.classes, gender.classes) == (("all",), ("female", "male"))
    assert opened("celeba32")[1].tolist() == [0] * 4 and opened("celeba32_gender")[1].tolist() == [0, 1, 0, 1]
    assert opened("celeba32")[0].equal(opened("celeba32_gender")[0]) and opened("celeba32", "test")[0].shape[0] == 1


def test_other_records_under_one_name_are_another_identity(cifar, place, save):
    prepared.prepare("cifar10")
    before = catalog.private("cifar10").identity
    assert catalog.private("cifar10").identity == before != catalog.private("cifar10", "test").identity
    prepared.folder("cifar10").rename(place / "away")
    save(place / "cifar10/train/cat/0000.png", 999)  # as if encoded anew
    prepared.prepare("cifar10")
    assert catalog.private("cifar10").identity != before


# As public sets


def test_a_public_set_in_its_own_shape_is_the_map_itself(tiny):
    prepared.prepare("tiny_imagenet64")
    found = catalog.public("tiny_imagenet64", 3, 64)
    assert isinstance(found.images, torch.Tensor) and (found.images.numpy() == tiny).all()
    assert str(prepared.folder("tiny_imagenet64")) in Path("/proc/self/maps").read_text()
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1] and found.classes == ("goldfish", "tabby")


def test_a_public_set_in_another_shape_is_made_as_it_is_looked_at(tiny, monkeypatch):
    prepared.prepare("tiny_imagenet64")
    made, in_shape = [], shapes.in_shape
    monkeypatch.setattr(shapes, "in_shape", lambda images, *s: made.append(len(images)) or in_shape(images, *s))
    found = catalog.public("tiny_imagenet64", 1, 28)
    assert found.images.shape == (6, 1, 28, 28) and not made
    assert found.images[[4, 1]].equal(in_shape(torch.from_numpy(tiny[[4, 1]]), 1, 28)) and made == [2]


def test_how_many_classes_a_public_set_has_is_known_before_it_is_prepared(place):
    assert [catalog.public(f"{name}32", 3, 32).n_classes for name in ("imagenet", "tiny_imagenet")] == [1000, 200]
    with pytest.raises(FileNotFoundError, match="run: dpsynth prepare imagenet32"):
        _ = catalog.public("imagenet32", 3, 32).images


def test_another_content_is_another_version_and_another_content(tiny, place, save):
    found = []
    for number in (1, 1, 2):
        save(place / "tiny-imagenet-200/train/n01/images/n01_0.JPEG", number, (64, 64))
        prepared.prepare("tiny_imagenet64")
        public = catalog.public("tiny_imagenet64", 3, 64)
        found.append((public.version, public.content))
        prepared.folder("tiny_imagenet64").rename(place / f"away{len(found)}")
    assert found[0] == found[1] and not set(found[0]) & set(found[2])


# The real files


def unpack(archive, place, wanted):
    with tarfile.open(archive) as files:
        files.extractall(place, [member for member in files if wanted(member.name)], filter="data")


def test_real_files_of_cifar10_are_read(shared, place, published):
    """Twenty of each class and split, as they lie there."""
    unpack(shared / "cifar10.tar.xz", place, lambda name: "0000" <= name[-8:-4] < "0020")
    published("cifar10", train=200, test=200)
    images, labels = prepared.prepare("cifar10").split("test")
    assert labels.bincount().tolist() == [20] * 10
    assert (images.numpy() == [layouts.square(place / f"cifar10/test/{layouts.CIFAR10[c]}/{n:04}.jpg", 32)
                               for n in range(20) for c in range(10)]).all()  # fmt: skip
    blue = [images[labels == layouts.CIFAR10.index(name), 2].float().mean() for name in ("ship", "frog")]
    assert blue[0] > blue[1] + 20


def test_real_files_of_celeba_are_read(shared, place):
    """Its lists as a whole, and fifty faces."""
    unpack(
        shared / "celeba-10000.tar.xz",
        place,
        lambda name: name.endswith(".txt") or "/000001" <= name[-11:-4] < "/000051",
    )
    listing = originals.listed("celeba10k")
    assert listing.n_images == {"train": 8000, "test": 2000}
    assert listing.labels[:8].tolist() == [0, 0, 1, 0, 0, 0, 1, 1]  # as CelebA's own list says
    assert 60 < listing.read(0, 50).mean() < 180
    with pytest.raises(ValueError, match="of another size: it has 8,000 images of train and 2,000 images of test"):
        originals.listed("celeba32")
