"""What files must be: on the disk before they are relied upon, and silent about how long private work took."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

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
