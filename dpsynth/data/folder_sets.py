"""A folder of the user's, `folder:PATH`, as a private or as a public set."""

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dpsynth import project
from dpsynth.data import decoded, folders, imagefiles
from dpsynth.data.imagefiles import Colour
from dpsynth.data.private_sets import Constants
from dpsynth.data.public_sets import PublicSet
from dpsynth.data.shapes import Reshaped, in_shape, viewed
from dpsynth.privacy import Ledger, Private
from dpsynth.project import FOLDER
from dpsynth.sources import work_digest


class PrivateFolder(Private):
    """A private folder. What its records are depends on the background as well, so its identity tells it."""

    def __init__(self, *, background: Colour, **records: Any):
        super().__init__(**records)
        self.background = background

    @property
    def identity(self) -> str:
        """As of every private set, and the background."""
        return f"{super().identity} background={self.background}"


class PublicFolder(PublicSet):
    """A public folder: listed when its classes or labels are first asked for, decoded when its images are.

    Raises:
        ValueError: as `path_of`. When it is listed: as `folders.public_listing`; decoded: as `decoded.images`.
    """

    def __init__(self, name: str, channels: int, size: int, background: Colour):
        super().__init__(name, channels, size)
        self.path, self.background = path_of(name), background

    @property
    def identity(self) -> str:
        """The whole path, the shape and the background; what lies in the folder is not looked at."""
        return f"{project.placed(self.name)} {self.channels}x{self.size}x{self.size} background={self.background}"

    @property
    def version(self) -> str:
        """Of the code that decodes and resizes."""
        return work_digest(decoded.images) + work_digest(in_shape)

    @property
    def n_classes(self) -> int:
        return len(self._groups)

    @cached_property
    def images(self) -> Tensor | Reshaped:
        """(N, channels, size, size) uint8, cropped to their middle square and resized; mapped."""
        place = project.root() / "cache" / "folders"
        images = _images(self.name, self._groups.values(), self.size, self.background, place)
        return viewed(images, self.channels, self.size)

    @cached_property
    def labels(self) -> Tensor:
        return _labels(self._groups.values())

    @property
    def classes(self) -> tuple[str, ...]:
        """The class folders' names, or "all"."""
        return tuple(folder or "all" for folder in self._groups)

    @property
    def _files(self) -> Any:
        """Their names and sizes; not their times, which a copy to another machine changes."""
        return [[os.fsencode(f.name).hex(), f.stat().st_size] for files in self._groups.values() for f in files]

    @cached_property
    def _groups(self) -> dict[str, list[Path]]:
        return folders.public_listing(self.path)


def private(name: str, constants: Constants, background: Colour) -> PrivateFolder:
    """The private folder, closed.

    Raises:
        ValueError: it contradicts the `constants`, or holds what is no image; and as `folders.declared_listing`.
    """
    path = path_of(name)
    groups = folders.declared_listing(path, constants.classes)
    if sum(map(len, groups)) != constants.n_records:  # how many it has instead stays unsaid
        imagefiles.refuse_others([file for group in groups for file in group])  # which may be why
        raise ValueError(f"{folders.told(path)} does not hold the {constants.n_records} images that n_records declares")
    images = _images(name, groups, constants.size, background, _private_place())
    return PrivateFolder(
        name=name, images=images, labels=_labels(groups), classes=constants.classes, n_records=constants.n_records,
        builtin=False, background=background,
    )  # fmt: skip


def declared(name: str, **declared: Any) -> Constants:
    """The constants of the private folder `name`, from its declared n_records, labels and size. Opens no folder.

    Raises:
        ValueError: one of them is missing or malformed; and as `path_of`.
    """
    path_of(name)
    if missing := [key for key, value in declared.items() if value is None]:
        raise ValueError(
            f"{name} needs {' and '.join(missing)} declared: n_records, labels and size are public constants "
            "of the privacy plan, which is frozen before any record is read"
        )
    for key in ("n_records", "size"):
        if not isinstance(declared[key], int) or isinstance(declared[key], bool) or declared[key] < 1:
            raise ValueError(f"Expected {key}={declared[key]!r} of {name} to be a whole number above 0")
    labels = declared["labels"]
    if not isinstance(labels, list | tuple) or not all(isinstance(label, str) and label for label in labels):
        raise ValueError(f"Expected labels={labels!r} of {name} to be a list of folder names, in quotes")
    if len({folders.composed(label) for label in labels}) < len(labels):  # two spellings of one folder's name
        raise ValueError(f"Expected labels={labels!r} of {name} to be distinct")
    return Constants(declared["n_records"], 3, declared["size"], tuple(labels) or ("all",), builtin=False)


def forget_decoded(name: str) -> None:
    """Remove what `private` decoded of the folder, whatever its size and background."""
    decoded.forget(_private_place(), _file_name(name))


def path_of(name: str) -> Path:
    """The path in `folder:PATH`, of somebody's home if it begins with a tilde.

    Raises:
        ValueError: there is none, or none that a system takes.
    """
    if name == FOLDER:
        raise ValueError(f"{FOLDER} names no folder; write {FOLDER}PATH")
    if "\0" in name:
        raise ValueError(f"{folders.printable(name)} holds a zero byte, which no path can; check the path")
    try:
        return Path(name.removeprefix(FOLDER)).expanduser()
    except RuntimeError:
        raise ValueError(f"{name}: no such user, so no home folder; write the whole path") from None


def _images(name: str, groups: Iterable[list[Path]], size: int, background: Colour, place: Path) -> Tensor:
    """(N, 3, size, size) uint8, group after group, mapped from a file in `place`."""
    files = [file for group in groups for file in group]
    return decoded.images(files, size, background, place, _file_name(name), folders.printable(f"reading {name}"))


def _labels(groups: Iterable[list[Path]]) -> Tensor:
    """(N,) int64: each file's group."""
    return torch.tensor([label for label, group in enumerate(groups) for _ in group])


def _private_place() -> Path:
    return project.root() / "ledger" / "decoded"


def _file_name(name: str) -> str:
    """Of a folder, however its path is spelt: as its ledger is called."""
    return Ledger(Path(), name, "secret", 0).path.stem
