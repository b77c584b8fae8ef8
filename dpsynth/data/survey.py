"""What a folder of images suggests to declare: names and number from a listing, size and colour from a few images.

Whoever looks is the folder's owner, on their own machine. What they then write down is public.
"""

import statistics
import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

from dpsynth.data import folders, imagefiles

OPENED = 64  # images that are opened, evenly spread
GREY = 4  # of 255: channels of grey images differ by less, on average


class Survey(NamedTuple):
    """A folder: the names of its class folders (none of images directly in it), how many files they have in all, the
    median of the shorter sides in pixels, and whether the images that were opened are all grey."""

    labels: tuple[str, ...]
    n_files: int
    side: int
    grey: bool


def survey(path: Path) -> Survey:
    """List the folder, and open OPENED of its images.

    Raises:
        FileNotFoundError, ValueError: as `folders.listing`; a class folder's name that no label can be; what was opened
            and is no image, or cannot be read.
    """
    groups = folders.listing(path)
    if odd := [folders.printable(name) for name in groups if not name.isprintable()]:
        raise ValueError(
            f"{folders.told(path)} has a class folder whose name no label can be, {odd[0]}: it has line breaks or "
            "control characters; rename it"
        )
    files = [file for group in groups.values() for file in group]
    shown = files[:: -(-len(files) // OPENED)]
    imagefiles.refuse_others(shown)
    sides, grey = zip(*map(_looked_at, tqdm(shown, desc="opening a few images", mininterval=5)), strict=True)
    labels = tuple(name for name in groups if name != folders.UNLABELLED)
    return Survey(labels, len(files), int(statistics.median(sides)), all(grey))


def _looked_at(file: Path) -> tuple[int, bool]:
    """Shorter side in pixels, and whether it is grey."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file) as stored:
            side = min(stored.size)
        pixels = imagefiles.read(file, 16, (255, 255, 255)).astype(int)
    except Exception as error:  # as in `imagefiles.read`
        reason = str(error) if isinstance(error, ValueError) else imagefiles.reason(error, file)
        raise ValueError(f"{folders.told(file)} cannot be read ({reason}); mend, convert or take it away") from None
    return side, (pixels.max(2) - pixels.min(2)).mean() < GREY
