"""The image sets that are prepared once: what was published of each, where it lies, and where to get it.

A further set is a row of the table at the end, and a layout (`layouts`) if it comes in a new one.
"""

from dataclasses import dataclass

from dpsynth import project
from dpsynth.data import layouts
from dpsynth.data.folders import told
from dpsynth.data.layouts import Lister, Listing


@dataclass(frozen=True)
class Original:
    """A set as published.

    Attributes:
        n_images: of each split; a public set has "train" alone.
        layouts: by a file or folder in $DPSYNTH_DATA that tells one of them.
        get: how to get it, for a sentence.
    """

    n_images: dict[str, int]
    n_classes: int
    size: int
    layouts: dict[str, Lister]
    get: str


def found(name: str) -> str | None:
    """The file or folder that tells the layout of a set, below $DPSYNTH_DATA; None if the set is not there."""
    return next((mark for mark in ORIGINALS[name].layouts if (project.data() / mark).exists()), None)


def listed(name: str) -> Listing:
    """The files of a set.

    Raises:
        FileNotFoundError: the set is not there. ValueError: it is of another size than published; and as its layout.
    """
    row, place = ORIGINALS[name], project.data()
    if (mark := found(name)) is None:
        raise FileNotFoundError(f"{name} is missing: {whereabouts(name)}")
    listing = row.layouts[mark](place, row.size)
    if (listing.n_images, len(listing.classes)) != (row.n_images, row.n_classes):
        raise ValueError(
            f"{told(place / mark)} is of another size: it has {_counted(listing.n_images, len(listing.classes))}, "
            f"where {_counted(row.n_images, row.n_classes)} were published; fetch it again"
        )
    return listing


def whereabouts(name: str) -> str:
    """Where a set was looked for, and how to get it."""
    row, place = ORIGINALS[name], project.data()
    return f"there is no {' or '.join(row.layouts)} in {told(place)} ($DPSYNTH_DATA); {row.get}"


def _counted(n_images: dict[str, int], n_classes: int) -> str:
    counts = " and ".join(f"{n:,} images of {split}" for split, n in n_images.items())
    return f"{counts} in {n_classes:,} classes"


def _imagenet(size: int) -> Original:
    known = {"imagenet/train": layouts.imagenet, f"imagenet{size}/train_data_batch_1.npz": layouts.imagenet_batches}
    get = "get ILSVRC 2012, or its downsampled batches, from image-net.org"
    return Original({"train": 1_281_167}, 1000, size, known, get)


def _tiny_imagenet(size: int) -> Original:
    get = "get tiny-imagenet-200.zip from cs231n.stanford.edu"
    return Original({"train": 100_000}, 200, size, {"tiny-imagenet-200/train": layouts.tiny_imagenet}, get)


def _celeba(size: int, n_train: int, n_test: int) -> Original:
    known = {"celeba/list_eval_partition.txt": layouts.celeba}
    get = "get the aligned CelebA from mmlab.ie.cuhk.edu.hk/projects/CelebA.html, in torchvision's layout"
    return Original({"train": n_train, "test": n_test}, 2, size, known, get)


ORIGINALS = {
    "cifar10": Original(
        {"train": 50_000, "test": 10_000}, 10, 32,
        {"cifar-10-batches-py": layouts.cifar10_batches, "cifar10/train": layouts.cifar10_tree},
        "torchvision.datasets.CIFAR10(root, download=True) fetches it there",
    ),
    "celeba32": _celeba(32, 162_770, 19_962),
    "celeba64": _celeba(64, 162_770, 19_962),
    "celeba10k": _celeba(32, 8_000, 2_000),  # CelebA's first 10,000, by whatever list of partitions lies beside them
    "imagenet32": _imagenet(32),
    "imagenet64": _imagenet(64),
    "tiny_imagenet32": _tiny_imagenet(32),
    "tiny_imagenet64": _tiny_imagenet(64),
}  # fmt: skip
