"""Image sets prepared once: decoded and resized into memory-mapped arrays, below $DPSYNTH_DATA/prepared.

A prepared set is a folder: `images.npy` (N, C, S, S) uint8, `labels.npy` (N,) int64, and `set.json`: format, classes,
images of each split, what it was made from, and the SHA-256 of both arrays. It appears whole or not at all; a second
start goes on where a killed one stopped.
"""

import contextlib
import errno
import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL
import torch
from torch import Tensor
from tqdm import tqdm

from dpsynth import project
from dpsynth.data import layouts, originals
from dpsynth.data.folders import told
from dpsynth.data.layouts import Listing
from dpsynth.data.originals import ORIGINALS
from dpsynth.privacy.disk import locked, naming, sync
from dpsynth.sources import work_digest

FORMAT = 1
CHUNK = 2048  # images that are decoded together
ARRAYS = ("images.npy", "labels.npy")
FILES = (*ARRAYS, "set.json")
BEGUN = "begun.json"  # of a set in the making: what it is made from


@dataclass(frozen=True)
class Prepared:
    """A set, its images (N, C, S, S) uint8 mapped, not read; labels (N,) int64. What is done to them stays in this
    process."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    n_images: dict[str, int]

    def split(self, name: str) -> tuple[Tensor, Tensor]:
        """Images and labels of one split."""
        names = list(self.n_images)
        start = sum(self.n_images[before] for before in names[: names.index(name)])
        rows = slice(start, start + self.n_images[name])
        return self.images[rows], self.labels[rows]


def opened(name: str) -> Prepared:
    """The prepared set `name`; sizes and headers are checked, contents by `check`.

    Raises:
        FileNotFoundError: it is not prepared; says what is missing, where it was looked for, and the command.
        ValueError: it is not whole, or was prepared in another format.
    """
    place, described = folder(name), _described(name)
    try:
        arrays = [np.load(place / array, mmap_mode="c") for array in ARRAYS]
        lengths = [(place / array).stat().st_size for array in ARRAYS]
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{told(place)} is not whole ({error}); {_again(name)}") from None
    for array, file, length, kind in zip(arrays, ARRAYS, lengths, (np.uint8, np.int64), strict=True):
        header = list(array.shape), array.dtype, array.offset + array.nbytes
        if header != (described["shapes"][file], kind, length):
            raise ValueError(f"{told(place / file)} is not whole; {_again(name)}")
    images, labels = map(torch.from_numpy, arrays)
    return Prepared(images, labels, tuple(described["classes"]), described["n_images"])


def content(name: str) -> str:
    """Tells one content of a prepared set from another, by its SHA-256; empty if it is not prepared. Opens no image."""
    try:
        described = _described(name)
    except (FileNotFoundError, ValueError):
        return ""
    return _digest([described["sha256"], described["classes"], described["n_images"]])


def check(name: str) -> None:
    """Read a prepared set as a whole.

    Raises:
        ValueError: its content is not what was prepared; and as `opened`.
    """
    opened(name)
    for file, known in _described(name)["sha256"].items():
        if sha256(folder(name) / file) != known:
            raise ValueError(
                f"{told(folder(name) / file)} is not what was prepared: its SHA-256 is another; delete "
                f"{told(folder(name))}, then {_again(name)}"
            )


def prepare(name: str) -> Prepared:
    """Decode a set, if it is not there as a whole; a second process waits for the first.

    Raises:
        FileNotFoundError, ValueError: as `originals.listed`; a broken file, by its path.
    """
    with contextlib.suppress(FileNotFoundError, ValueError):
        return opened(name)
    listing, place, aside = originals.listed(name), folder(name), _aside(name)
    made_from = {
        "original": originals.found(name), "files": listing.digest, "Pillow": PIL.__version__,
        "code": work_digest(layouts.square),
    }  # fmt: skip
    with _locked(place):
        with contextlib.suppress(FileNotFoundError, ValueError):
            return opened(name)  # another process has made it meanwhile
        _begin(aside, {"format": FORMAT, **made_from})
        _decode(name, listing, aside / ARRAYS[0])
        with naming(aside / ARRAYS[1]):
            np.save(aside / ARRAYS[1], listing.labels.astype(np.int64))
        described = {
            "format": FORMAT, "name": name, "classes": listing.classes, "n_images": listing.n_images,
            "shapes": {file: np.load(aside / file, mmap_mode="r").shape for file in ARRAYS},
            "sha256": {file: sha256(aside / file) for file in ARRAYS}, "made_from": made_from,
        }  # fmt: skip
        with naming(aside / "set.json"):
            (aside / "set.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
        (aside / BEGUN).unlink()
        for path in (*aside.iterdir(), aside):
            sync(path)
        shutil.rmtree(place, ignore_errors=True)  # of another format, or not whole
        aside.rename(place)
        sync(place.parent)
    return opened(name)


def folder(name: str) -> Path:
    """Where the set is, once it is prepared."""
    return project.data() / "prepared" / name


def state(name: str) -> str:
    """What there is of a set, for people: prepared, half prepared, to be prepared, or missing."""
    if _aside(name).exists():
        return f"half prepared; `dpsynth prepare {name}` goes on"
    try:
        size = opened(name).images.nbytes / 2**20
        return f"prepared, {size:,.0f} MiB, from {_described(name)['made_from']['original']}"
    except FileNotFoundError:
        found = originals.found(name)
        return f"{found} is there; `dpsynth prepare {name}`" if found else f"missing: {originals.whereabouts(name)}"
    except ValueError as error:
        return str(error)


def _aside(name: str) -> Path:
    return folder(name).with_name(f"{name}.partial")


def _again(name: str) -> str:
    return f"run: dpsynth prepare {name}"


def _described(name: str) -> dict[str, Any]:
    path = folder(name) / "set.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        if described["format"] != FORMAT:
            raise ValueError(
                f"{told(path.parent)} was prepared in format {described['format']}, and this version reads {FORMAT}; "
                f"{_again(name)}, which replaces it"
            )
        return described
    except (FileNotFoundError, NotADirectoryError):
        if _aside(name).exists():
            raise FileNotFoundError(f"{name} is half prepared; `dpsynth prepare {name}` goes on") from None
        first = "" if originals.found(name) else f"{originals.whereabouts(name)}; then "
        raise FileNotFoundError(
            f"{name} is not prepared, there is no {told(path.parent)}; {first}{_again(name)}"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise ValueError(f"{told(path)} is not whole; {_again(name)}") from None


def _begin(aside: Path, made_from: dict[str, Any]) -> None:
    """A folder for the set in the making: what was begun of the same files by the same code is kept."""
    begun = aside / BEGUN
    with contextlib.suppress(OSError, ValueError):
        if json.loads(begun.read_text(encoding="utf-8")) == made_from:
            return
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    begun.write_text(json.dumps(made_from), encoding="utf-8")


def _decode(name: str, listing: Listing, path: Path) -> None:
    """Append the rows that `path` lacks; not through a map: a full disk is then an error and no signal."""
    n, size = len(listing.labels), ORIGINALS[name].size
    with naming(path), open(path, "ab") as out:
        done = _whole_rows(out, (n, 3, size, size))
        with tqdm(total=n, initial=done, desc=f"preparing {name}", unit="image", mininterval=5) as bar:
            for start in range(done, n, CHUNK):
                images = listing.read(start, min(start + CHUNK, n))
                out.write(np.ascontiguousarray(images))
                bar.update(len(images))


def _whole_rows(out: BinaryIO, shape: tuple[int, ...]) -> int:
    """How many rows of an array its file holds; of the last, a kill may have left a part, which is cut off."""
    header, row = BytesIO(), math.prod(shape[1:])
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    begins = len(header.getvalue())
    done = (out.tell() - begins) // row
    if done < 0:
        out.truncate(0)
        out.write(header.getvalue())
        return 0
    out.truncate(begins + done * row)
    return done


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    """One process prepares a set, the others wait.

    Raises:
        ValueError: the folder cannot be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place.with_name(f"{place.name}.lock")):
            yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise ValueError(
            f"{told(error.filename or place)} cannot be written ({error.strerror}); set DPSYNTH_DATA to a folder of "
            "your own, with links in it to the sets"
        ) from None


def sha256(path: Path) -> str:
    """Of a file's content, in hex."""
    with naming(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
