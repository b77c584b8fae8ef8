"""Image sets as their makers publish them: torchvision's files, trees of one folder a class, ImageNet's small batches.

A set is listed first, by names alone, and its images are read later, some rows at a time (`prepared`). They are cropped
to their middle square and resized by Lanczos' filter, as DPDM's `dataset_tool` and DPImageBench's `preprocess_dataset`
do it ("center-crop").
"""

import functools
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from dpsynth.data import folders, imagefiles
from dpsynth.data.folders import UNLABELLED, several, told

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
GENDERS = ("female", "male")  # by CelebA's attribute Male
CELEBA_SPLITS = {"train": "0", "test": "2"}  # by its partition file; 1 are for validation

Groups = dict[str, list[Path]]  # the files of each class, by its name


@dataclass(frozen=True)
class Listing:
    """A set on disk, its images not yet read.

    Attributes:
        labels: (N,) int64, of one split after the other; n_images: how many of them each split has, in that order.
        digest: tells one listing from another, by the names of its files.
        read: start, stop -> images (stop - start, 3, size, size) uint8 of those rows.
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    n_images: dict[str, int]
    digest: str
    read: Callable[[int, int], np.ndarray]


Lister = Callable[[Path, int], Listing]  # the folder of all sets, the side of an image -> what is there


def square(file: Path, size: int) -> np.ndarray:
    """The middle square of an image, resized by Lanczos' filter: (3, size, size) uint8."""
    with Image.open(file) as stored:
        image = stored.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image).transpose(2, 0, 1)


def cifar10_batches(place: Path, size: int) -> Listing:
    """CIFAR-10 in the files that torchvision fetches, each by the checksum that torchvision knows.

    Raises:
        ValueError: a file is missing, or is not what was published, by its path.
    """
    from torchvision.datasets import CIFAR10 as Files  # here, as the import is slow
    from torchvision.datasets.utils import check_integrity

    folder = place / Files.base_folder
    for name, checksum in (*Files.train_list, *Files.test_list, (Files.meta["filename"], Files.meta["md5"])):
        if not check_integrity(folder / name, checksum):
            raise ValueError(f"{told(folder / name)} is missing, or not as published; fetch it again")
    parts = [Files(place, train=train) for train in (True, False)]
    order, labels, n_images = _in_turn([np.asarray(part.targets) for part in parts])
    images = np.concatenate([part.data for part in parts])[order].transpose(0, 3, 1, 2)
    return Listing(labels, CIFAR10, n_images, Files.tgz_md5, lambda start, stop: images[start:stop])


def cifar10_tree(place: Path, size: int) -> Listing:
    """CIFAR-10 as `cifar10/{train,test}/<class>/` of image files."""
    files, targets = [], []
    for split in ("train", "test"):
        groups = folders.public_listing(place / "cifar10" / split)
        if tuple(groups) != CIFAR10:
            raise ValueError(
                f"{told(place / 'cifar10' / split)} has the classes {', '.join(map(folders.printable, groups))}, and "
                f"{', '.join(CIFAR10)} were published; fetch it again"
            )
        files += [file for group in groups.values() for file in group]
        targets.append(_labels(groups))
    order, labels, n_images = _in_turn(targets)
    return _of_files([files[row] for row in order], labels, CIFAR10, n_images, place, size)


def celeba(place: Path, size: int) -> Listing:
    """CelebA in torchvision's layout, aligned, at whatever size; labels are GENDERS. Images for validation are left
    out, the others in the order of their numbers.

    Raises:
        FileNotFoundError, ValueError: one of its two lists is missing, or is none.
    """
    folder = place / "celeba"
    partition, attributes = folder / "list_eval_partition.txt", folder / "list_attr_celeba.txt"
    try:
        split_of = dict(line.split() for line in _lines(partition))
    except ValueError:
        raise ValueError(f"{told(partition)} is not CelebA's list of partitions; fetch it again") from None
    try:
        _, header, *rows = _lines(attributes)
        column = header.split().index("Male") + 1
        gender_of = {(cells := row.split())[0]: int(cells[column] == "1") for row in rows}
        names = {split: [n for n, of in split_of.items() if of == code] for split, code in CELEBA_SPLITS.items()}
        labels = np.array([gender_of[name] for part in names.values() for name in part])
    except (ValueError, IndexError, KeyError):
        raise ValueError(f"{told(attributes)} is not CelebA's list of attributes; fetch it again") from None
    files = [folder / "img_align_celeba" / name for part in names.values() for name in part]
    return _of_files(files, labels, GENDERS, {split: len(part) for split, part in names.items()}, place, size)


def tiny_imagenet(place: Path, size: int) -> Listing:
    """Tiny-ImageNet's training images in its official layout; classes are called by their first word in words.txt."""
    folder = place / "tiny-imagenet-200"
    ids = sorted(entry.name for entry in (folder / "train").iterdir() if entry.is_dir())
    groups = {one: folders.listing(folder / "train" / one / "images")[UNLABELLED] for one in ids}
    words = dict(line.split("\t", 1) for line in _lines(folder / "words.txt") if "\t" in line)
    return _public(groups, tuple(words.get(one, one).partition(",")[0].strip() for one in ids), place, size)


def imagenet(place: Path, size: int) -> Listing:
    """ImageNet's training images as `imagenet/train/<synset>/`; the classes have torchvision's names."""
    groups = folders.public_listing(place / "imagenet" / "train")
    names = _imagenet_names()
    return _public(groups, names if len(groups) == len(names) else tuple(groups), place, size)


def imagenet_batches(place: Path, size: int) -> Listing:
    """ImageNet at 32 or 64 pixels as published by Chrabaszcz et al. (2017): whole images, resized without a crop.

    Raises:
        FileNotFoundError: map_clsloc.txt of ImageNet's kit, which names its labels, does not lie beside the batches.
        ValueError: a batch is no such file, by its path.
    """
    folder = place / f"imagenet{size}"
    batches = sorted(folder.glob("train_data_batch_*.npz"), key=lambda file: int(file.stem.rpartition("_")[2]))
    classes = tuple(line.split()[2].replace("_", " ") for line in _lines(folder / "map_clsloc.txt"))
    labels = [np.asarray(_array(file, "labels")) - 1 for file in batches]
    ends = np.cumsum([len(part) for part in labels]).tolist()

    def read(start: int, stop: int) -> np.ndarray:
        parts = []
        for file, end, part in zip(batches, ends, labels, strict=True):
            first = end - len(part)
            if start < end and first < stop:
                parts.append(_array(file, "data")[max(start - first, 0) : stop - first].reshape(-1, 3, size, size))
        return np.concatenate(parts)

    names = " ".join(file.name for file in batches)
    return Listing(np.concatenate(labels).astype(np.int64), classes, {"train": ends[-1]}, names, read)


def _in_turn(targets: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Order of the rows of train and test such that within each the classes take turns, so that its first N rows are as
    balanced as it is; the labels in that order, and how many rows each has."""
    orders, start = [], 0
    for labels in targets:
        place_in_class = np.zeros(len(labels), dtype=np.int64)
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            place_in_class[rows] = np.arange(len(rows))
        orders.append(np.lexsort((labels, place_in_class)) + start)
        start += len(labels)
    order = np.concatenate(orders)
    counts = dict(zip(("train", "test"), map(len, targets), strict=True))
    return order, np.concatenate(targets)[order].astype(np.int64), counts


def _labels(groups: Groups) -> np.ndarray:
    return np.repeat(np.arange(len(groups)), [len(files) for files in groups.values()])


def _public(groups: Groups, classes: tuple[str, ...], place: Path, size: int) -> Listing:
    files = [file for group in groups.values() for file in group]
    return _of_files(files, _labels(groups), classes, {"train": len(files)}, place, size)


def _of_files(
    files: list[Path], labels: np.ndarray, classes: tuple[str, ...], n_images: dict[str, int], place: Path, size: int
) -> Listing:
    names = "\n".join(os.fsencode(file.relative_to(place)).hex() for file in files)
    digest = hashlib.sha256(names.encode()).hexdigest()
    return Listing(labels, classes, n_images, digest, partial(_read_files, files, size))


def _read_files(files: list[Path], size: int, start: int, stop: int) -> np.ndarray:
    """Decoded side by side: Pillow lets other threads run meanwhile.

    Raises:
        ValueError: those of them that cannot be read, and why; ten at most, and how many more.
    """
    broken = []

    def read(file: Path) -> np.ndarray | None:
        try:
            return square(file, size)
        except Exception as error:  # Pillow's readers raise whatever the bytes lead them to
            broken.append(f"{told(file)} ({imagefiles.reason(error, file)})")
            return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = list(pool.map(read, files[start:stop]))
    if broken:
        raise ValueError(f"images that cannot be read; fetch them again: {several(sorted(broken))}")
    return np.stack(images)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise FileNotFoundError(f"{told(file)} is missing; it belongs to the set, fetch it again") from None
    except UnicodeDecodeError:
        raise ValueError(f"{told(file)} is no text; fetch it again") from None


@functools.lru_cache(maxsize=1)  # rows are read in order
def _array(file: Path, key: str) -> np.ndarray:
    try:
        with open(file, "rb") as stream:
            return np.load(stream)[key]
    except Exception as error:  # zip's and numpy's readers raise whatever the bytes lead them to
        raise ValueError(f"{told(file)} cannot be read ({imagefiles.reason(error, file)}); fetch it again") from None


def _imagenet_names() -> tuple[str, ...]:
    from torchvision.models import ResNet50_Weights  # here, as the import is slow

    return tuple(ResNet50_Weights.DEFAULT.meta["categories"])
