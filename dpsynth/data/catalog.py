"""Named image sets, public and private.

Public sets come in any shape. Private sets come as `privacy.Private`; what a plan may know of them before,
their `constants`, never depends on their records.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from dpsynth import store
from dpsynth.artifacts import ImageSet
from dpsynth.data import decoded, folders, glyphs, imagefiles
from dpsynth.data.private_sets import BENCHMARKS
from dpsynth.privacy import Ledger, Private

FOLDER = "folder:"
BACKGROUND = "white"
AT_ONCE = 2048  # images that are floats at a time


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


def public(name: str, channels: int, size: int, *, background: str = BACKGROUND, scale: float = 1.0) -> ImageSet:
    """The public set `name` with images (N, channels, size, size), resized where its own shape is another.

    Args:
        name: "glyphs", or "folder:PATH" for one folder a class.
        channels: 3 (grey is repeated) or 1 (colours are averaged).
        background: colour under the transparent pixels of a folder's images.
        scale: share of each class's images to take, its first, at least one; in (0, 1].
    Raises:
        ValueError: the set is not available, or not so; FileNotFoundError: no such folder.
    """
    if channels not in (1, 3) or size < 1 or not 0 < scale <= 1:
        raise ValueError(f"Expected channels={channels} in (1, 3), size={size} > 0, 0 < scale={scale} <= 1")
    if name == "glyphs":
        images, classes = _glyphs()
        labels = torch.arange(len(classes)).repeat_interleave(glyphs.PER_CLASS)
    elif name.startswith(FOLDER):
        groups = folders.public_listing(_path(name))
        place = store.root() / "cache" / "folders"
        images, labels = _read(name, list(groups.values()), size, imagefiles.colour(background), place)
        classes = tuple(folder or "all" for folder in groups)
    else:
        raise ValueError(f"no public set {name!r} is available; there are glyphs and {FOLDER}PATH")
    if scale < 1:
        kept = _first_of_each(labels, scale)
        images, labels = images[kept], labels[kept]
    return ImageSet(name, in_shape(images, channels, size), labels, classes)


def n_public_classes(name: str) -> int:
    """How many classes the public set `name` has; opens no image. Raises as `public`, of a folder's names."""
    return len(folders.public_listing(_path(name))) if name.startswith(FOLDER) else glyphs.LETTERS + glyphs.SYMBOLS


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
    images, targets = _read(name, groups, known.size, background, _private_place())
    return PrivateFolder(
        name=name, images=images, labels=targets, classes=known.classes, n_records=known.n_records, builtin=False,
        background=background,
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


def _read(
    name: str, groups: list[list[Path]], size: int, background: tuple[int, int, int], place: Path
) -> tuple[Tensor, Tensor]:
    """Images (N, 3, size, size) uint8, mapped from a file in `place`, and labels (N,) int64: each file's group."""
    files = [file for group in groups for file in group]
    labels = torch.tensor([label for label, group in enumerate(groups) for _ in group])
    desc = folders.printable(f"reading {name}")
    return decoded.images(files, size, background, place, _file_name(name), desc), labels


def _private_place() -> Path:
    return store.root() / "ledger" / "decoded"


def _file_name(name: str) -> str:
    """Of a folder, however its path is spelt: as its ledger is called."""
    return Ledger(Path(), name, "secret", 0).path.stem


def _glyphs() -> tuple[Tensor, tuple[str, ...]]:
    """All glyphs, class after class, (N, 1, 28, 28) uint8, and the classes; rendered once, then cached."""
    versions = f"{store.code_digest(glyphs.__name__)} {matplotlib.__version__} {np.__version__}"
    file = store.root() / "cache" / f"glyphs-{hashlib.sha256(versions.encode()).hexdigest()[:16]}.safetensors"
    if not file.exists():
        classes = glyphs.characters()
        bar = tqdm(classes, desc="rendering the glyphs, once", mininterval=5)
        images = torch.from_numpy(np.concatenate([glyphs.render(c, glyphs.PER_CLASS) for c in bar]))
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f"{file.name}.{os.getpid()}")
        save_file({"images": images.unsqueeze(1)}, aside, {"classes": "".join(classes)})
        os.replace(aside, file)
    with safe_open(file, "pt") as stored:
        return stored.get_tensor("images"), tuple(stored.metadata()["classes"])


def _first_of_each(labels: Tensor, scale: float) -> Tensor:
    """Rows (M,) of the first `scale` of each class's images, at least one, in the order they had."""
    rows = [torch.nonzero(labels == c)[:, 0] for c in labels.unique()]
    return torch.cat([of_class[: max(1, round(scale * len(of_class)))] for of_class in rows]).sort().values


def in_shape(images: Tensor, channels: int, size: int) -> Tensor:
    """(N, C, H, W) uint8 as (N, channels, size, size) uint8; resizing is bicubic and antialiased."""
    if channels < images.shape[1]:
        images = torch.cat([p.float().mean(1, keepdim=True).round().to(torch.uint8) for p in images.split(AT_ONCE)])
    if images.shape[2:] != (size, size):
        parts = (
            F.interpolate(part.float(), (size, size), mode="bicubic", antialias=True).round().clamp(0, 255)
            for part in images.split(AT_ONCE)
        )
        images = torch.cat([part.to(torch.uint8) for part in parts])
    return images.expand(-1, channels, -1, -1).contiguous()
