"""Named image sets, public and private.

Public sets come in any shape. Private sets come as `privacy.Private`; what a plan may know of them before,
their `constants`, never depends on their records.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dpsynth import project, store
from dpsynth.data import decoded, folders, imagefiles
from dpsynth.data.private_sets import BENCHMARKS
from dpsynth.data.public_sets import PUBLIC, PublicSet
from dpsynth.data.shapes import in_shape
from dpsynth.privacy import Ledger, Private

FOLDER = "folder:"
BACKGROUND = "white"


@dataclass(frozen=True)
class Constants:
    """What is public of a private set; a plan is made from this alone. Images are (channels, size, size)."""

    n_records: int
    channels: int
    size: int
    classes: tuple[str, ...]
    builtin: bool


class PrivateFolder(Private):
    """A private folder. What its records are depends on the background as well, so its identity tells it."""

    def __init__(self, *, background: tuple[int, int, int], **records: Any):
        super().__init__(**records)
        self.background = background

    @property
    def identity(self) -> str:
        """As of every private set, and the background."""
        return f"{super().identity} background={self.background}"


class PublicFolder(PublicSet):
    """A public folder: its classes are listed when first asked for, its images decoded when first looked at."""

    def __init__(self, name: str, channels: int, size: int, background: tuple[int, int, int]):
        super().__init__(name, channels, size)
        self.path, self.background = _path(name), background

    @property
    def identity(self) -> str:
        """The whole path, the shape and the background; what lies in the folder is not looked at."""
        return f"{project.placed(self.name)} {self.channels}x{self.size}x{self.size} background={self.background}"

    @property
    def n_classes(self) -> int:
        """As listed."""
        return len(self._groups)

    @cached_property
    def images(self) -> Tensor:
        """(N, channels, size, size) uint8, cropped to their middle square and resized."""
        place = store.root() / "cache" / "folders"
        return in_shape(
            _read(self.name, list(self._groups.values()), self.size, self.background, place), self.channels, self.size
        )

    @cached_property
    def labels(self) -> Tensor:
        """(N,) int64, indices into `classes`."""
        return _labels(list(self._groups.values()))

    @property
    def classes(self) -> tuple[str, ...]:
        """The class folders' names, or "all"."""
        return tuple(folder or "all" for folder in self._groups)

    @cached_property
    def _groups(self) -> dict[str, list[Path]]:
        return folders.public_listing(self.path)


def public(name: str, channels: int, size: int, *, background: str = BACKGROUND) -> PublicSet:
    """The public set `name` with images (channels, size, size), unopened; its images are resized if need be.

    Args:
        name: one of PUBLIC, or "folder:PATH" for one folder a class.
        channels: 3 (grey is repeated) or 1 (colours are averaged).
        background: colour under the transparent pixels of a folder's images.
    Raises:
        ValueError: the set is not available, or not so. When it is opened: as `folders.public_listing` and
            `decoded.images`.
    """
    if name.startswith(FOLDER):
        return PublicFolder(name, channels, size, imagefiles.colour(background))
    if name not in PUBLIC:
        raise ValueError(f"no public set {name!r} is available; there are {', '.join(PUBLIC)} and {FOLDER}PATH")
    return PublicSet(name, channels, size)


def private(
    name: str, split: str = "train", *, n_records=None, labels=None, size=None, background: str = BACKGROUND
) -> Private:
    """The private set `name`, closed. Arguments as of `constants`; background: as of `public`.

    A folder is decoded once, into a file beside the ledger that `forget_decoded` removes.

    Raises:
        FileNotFoundError: its files are missing; says where they were looked for, and what gets them.
        ValueError: its files are broken or contradict the constants; and as `constants`.
    """
    known = constants(name, split, n_records=n_records, labels=labels, size=size)
    if not known.builtin:
        return _private_folder(name, known, imagefiles.colour(background))
    images, targets = BENCHMARKS[name].load(split)
    expected = (known.n_records, known.channels, known.size, known.size)
    if images.shape != expected or targets.shape != expected[:1]:
        raise ValueError(
            f"the {split} files of {name} hold images of shape {tuple(images.shape)} and {len(targets)} "
            f"labels, where {expected} was published; delete them and fetch them again"
        )
    return Private(
        name=name if split == "train" else f"{name}-{split}", images=images, labels=targets,
        classes=known.classes, n_records=known.n_records, builtin=True,
    )  # fmt: skip


def _private_folder(name: str, known: Constants, background: tuple[int, int, int]) -> PrivateFolder:
    groups = folders.declared_listing(_path(name), known.classes)
    if sum(map(len, groups)) != known.n_records:  # how many it has instead stays unsaid
        imagefiles.refuse_others([file for group in groups for file in group])  # which may be why
        raise ValueError(
            f"{folders.told(_path(name))} does not hold the {known.n_records} images that n_records declares"
        )
    images = _read(name, groups, known.size, background, _private_place())
    return PrivateFolder(
        name=name, images=images, labels=_labels(groups), classes=known.classes, n_records=known.n_records,
        builtin=False, background=background,
    )  # fmt: skip


def forget_decoded(name: str) -> None:
    """Remove what was decoded of the private folder `name`, whatever its size and background."""
    if name.startswith(FOLDER):
        decoded.forget(_private_place(), _file_name(name))


def refuse_shared_files(private: str, public: str) -> None:
    """Refuse a public folder that holds records of the private one, by whatever names, links or mounts.

    Raises:
        ValueError: both paths of a file or folder that they share; and as `folders.listing`.
    """
    if not (private.startswith(FOLDER) and public.startswith(FOLDER)):
        return
    if both := folders.shared(_path(private), _path(public)):
        ours, theirs = map(folders.told, both)
        raise ValueError(f"{theirs} of the public set is {ours} of the private one; take it out of one of them")


def constants(name: str, split: str = "train", *, n_records=None, labels=None, size=None) -> Constants:
    """The public constants of the private set `name`. Opens no record and no folder.

    Args:
        name: one of BENCHMARKS, or "folder:PATH", which needs the other three declared.
        split: "train" or "test"; a folder is "train" as a whole.
        n_records: how many images.
        labels: class folders in the order of their labels; empty for images without, directly in the folder.
        size: pixels a side; images are cropped to their middle square and resized.
    Raises:
        ValueError: unknown set or split; a declaration missing, malformed or contradicting what is published.
    """
    declared = {"n_records": n_records, "labels": labels, "size": size}
    if name.startswith(FOLDER):
        if split != "train":
            raise ValueError(f"{name} has no split {split!r}: a folder is 'train' as a whole")
        return _declared(name, **declared)
    if name not in BENCHMARKS:
        raise ValueError(f"no private set {name!r}; there are {', '.join(BENCHMARKS)} and {FOLDER}PATH")
    row = BENCHMARKS[name]
    if split not in row.n_records:
        raise ValueError(f"{name} has no split {split!r}; it has {', '.join(row.n_records)}")
    published = {"n_records": row.n_records[split], "labels": row.classes, "size": row.size}
    for key, value in declared.items():
        if value is not None and (tuple(value) if key == "labels" else value) != published[key]:
            raise ValueError(f"{key}={value!r} contradicts {name}, which has {published[key]!r}: omit it")
    return Constants(row.n_records[split], row.channels, row.size, row.classes, builtin=True)


def _declared(name: str, **declared: Any) -> Constants:
    _path(name)
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


def _path(name: str) -> Path:
    if name == FOLDER:
        raise ValueError(f"{FOLDER} names no folder; write {FOLDER}PATH")
    if "\0" in name:
        raise ValueError(f"{folders.printable(name)} holds a zero byte, which no path can; check the path")
    try:
        return Path(name.removeprefix(FOLDER)).expanduser()
    except RuntimeError:
        raise ValueError(f"{name}: no such user, so no home folder; write the whole path") from None


def _read(name: str, groups: list[list[Path]], size: int, background: tuple[int, int, int], place: Path) -> Tensor:
    """Images (N, 3, size, size) uint8, group after group, mapped from a file in `place`."""
    files = [file for group in groups for file in group]
    return decoded.images(files, size, background, place, _file_name(name), folders.printable(f"reading {name}"))


def _labels(groups: list[list[Path]]) -> Tensor:
    """(N,) int64: each file's group."""
    return torch.tensor([label for label, group in enumerate(groups) for _ in group])


def _private_place() -> Path:
    return store.root() / "ledger" / "decoded"


def _file_name(name: str) -> str:
    """Of a folder, however its path is spelt: as its ledger is called."""
    return Ledger(Path(), name, "secret", 0).path.stem
