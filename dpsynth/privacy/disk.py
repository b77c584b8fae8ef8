"""What files must be: on the disk before they are relied upon, and silent about how long private work took."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

EARLIEST = 315_532_800  # 1 January 1980, in seconds: the time of files whose own would tell


def sync(path: Path) -> None:
    """Force a file, or a folder's entries, to disk: a new file may else vanish with the power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def forget_times(*paths: Path) -> None:
    """Give files and folders one constant time.

    What the system keeps by itself, when a file was born and when anything of it was last changed, cannot be set.
    """
    for path in paths:
        os.utime(path, (EARLIEST, EARLIEST))


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system name the file at work: a full disk and a missing lock do not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextlib.contextmanager
def replacing(path: Path, *, mode: int | None = None, timeless: bool = False) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is whole and on disk; of a failure nothing is left.

    Args:
        mode: its rights, whatever the umask; None for what the umask leaves; timeless: as of `forget_times`.
    """
    aside = path.with_name(f"{path.name}.tmp")
    try:
        with naming(path):
            with _opened(aside, os.O_WRONLY | os.O_TRUNC, mode) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if timeless:
                forget_times(aside)
            os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync(path.parent)


@contextlib.contextmanager
def locked(path: Path, *, mode: int | None = None) -> Iterator[None]:
    """One process at a time holds `path`; the lock dies with its process, and moves no time of the file."""
    with _opened(path, os.O_RDWR, mode) as handle:
        with naming(path):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _opened(path: Path, flags: int, mode: int | None) -> BinaryIO:
    file = os.fdopen(os.open(path, flags | os.O_CREAT, 0o666 if mode is None else mode), "wb")
    if mode is not None:
        os.fchmod(file.fileno(), mode)
    return file
