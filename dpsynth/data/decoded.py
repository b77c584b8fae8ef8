"""Folders decoded once: their images as memory-mapped arrays, in files that their owner alone can read.

The name of an array's file tells what it was made from: size, background, Pillow, the code that reads, and of each file
its name, size, times and inode. It fits or it is not there; a kill leaves none half written.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL
import torch
from torch import Tensor
from tqdm import tqdm

from dpsynth.data import folders, imagefiles
from dpsynth.privacy.disk import forget_times, locked, replacing
from dpsynth.sources import page_digest


def images(files: list[Path], size: int, background: imagefiles.Colour, place: Path, name: str, desc: str) -> Tensor:
    """(N, 3, size, size) uint8 over a private map of a file in `place`, decoded now if it was not, or files changed.

    Args:
        place: folder for the arrays, made with rights for its owner alone; name: of the set, before "-" in its files'.
        desc: of the bar.
    Raises:
        ValueError: a file is not an image of 8 bits a channel, by its path.
    """
    shape = (len(files), 3, size, size)
    prefix = f"{name}-{_digest(size, background)[:8]}-"
    path = place / f"{prefix}{_digest(PIL.__version__, page_digest(imagefiles.__name__), _facts(files))[:16]}.npy"
    with _locked(place, name):
        array = _mapped(path, shape)
        if array is None:
            imagefiles.refuse_others(files)
            _remove(place, prefix)
            _decode(files, size, background, path, desc)
            array = _mapped(path, shape)
    return torch.from_numpy(array)


def forget(place: Path, name: str) -> None:
    """Remove all that was decoded of a set; arrays that are open stay so."""
    if place.is_dir():
        with _locked(place, name):
            _remove(place, f"{name}-")


def _decode(files: list[Path], size: int, background: imagefiles.Colour, path: Path, desc: str) -> None:
    """Written in order, not through a map: a full disk is then an error and no signal, and names the file."""
    bar = tqdm(total=len(files), desc=desc, bar_format="{desc}: file {n_fmt}/{total_fmt}", mininterval=0)
    with bar, replacing(path, mode=0o600, timeless=True) as out:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), 3, size, size)}
        np.lib.format.write_array_header_1_0(out, header)
        for bar.n, image in enumerate(imagefiles.read_all(files, size, background), 1):
            out.write(image.tobytes())
            if bar.n % max(1, len(files) // 10) == 0:  # not by the clock: the ticks would tell how long it took
                bar.refresh()


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Copy on write: what is done to it stays in this process."""
    with contextlib.suppress(FileNotFoundError, ValueError, EOFError):
        array = np.load(path, mmap_mode="c")
        return array if array.shape == shape and array.dtype == np.uint8 else None
    return None


def _facts(files: list[Path]) -> list:
    """What changes if a file does: of its content nothing is known here."""
    facts = []
    for file in files:
        try:
            stat = file.stat()
        except OSError as error:
            raise ValueError(f"{folders.told(file)} cannot be read ({error.strerror}); mend that") from None
        facts.append([os.fsencode(file.name).hex(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino])
    return facts


def _digest(*parts) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _remove(place: Path, prefix: str) -> None:
    for file in place.iterdir():
        if file.name.startswith(prefix):
            file.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(place: Path, name: str) -> Iterator[None]:
    """One process decodes a set, the others wait."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if place.stat().st_mode & 0o777 != 0o700:  # an umask, or an older folder
        place.chmod(0o700)
    lock = place / f"{name}.lock"
    with locked(lock, mode=0o600):
        try:
            yield
        finally:
            forget_times(place, lock)
