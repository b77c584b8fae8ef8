"""Image files: which files are images, by their content, and how one is read."""

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from dpsynth.data.folders import several, told

HEAD = 16  # bytes that tell a format: as many as Pillow looks at
UNREAD = {
    "HEIC or AVIF": rb".{4}ftyp(hei|hev|mif1|msf1|avi[fs])",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
}  # formats that Pillow may lack a reader for, by how their files begin
Colour = tuple[int, int, int]  # red, green and blue in 0..255
DRAFT = 2  # JPEGs are decoded at no less than so many times the size asked for


def colour(name: str) -> Colour:
    """A colour as Pillow names it: white, #ffffff, rgb(255, 255, 255).

    Raises:
        ValueError: no such colour, or one with alpha.
    """
    with contextlib.suppress(ValueError):
        values = ImageColor.getrgb(name)
        if len(values) == 3 and max(values) <= 255:
            return values
    raise ValueError(f"Expected background={name!r} to be a colour without alpha: white, #ffffff, rgb(255, 255, 255)")


def refuse_others(files: list[Path]) -> None:
    """Refuse files that are no images, whatever they are called; broken images are left to `read`.

    Raises:
        ValueError: ten of them at most, by their paths, and how many more there are.
    """
    Image.init()
    if others := [told(file) for file in files if not _is_image(file)]:
        raise ValueError(f"among the images are files that are none; move them away: {several(others)}")


def read(file: Path, size: int, background: Colour) -> np.ndarray:
    """Upright, RGB, on the background where it is transparent, cropped to its middle square and resized with
    antialiasing: (size, size, 3) uint8.

    A JPEG is decoded at an eighth, a quarter or half of its size where that is at least twice the size asked for.

    Raises:
        ValueError: why it cannot be read; does not name the file.
    """
    try:
        with Image.open(file) as stored:
            _scale_transparent_grey(stored)
            stored.draft(None, (DRAFT * size, DRAFT * size))
            image = ImageOps.exif_transpose(stored)
            image.load()
        if image.mode[0] in "IF":  # Pillow would clip these to 255, silently
            raise ValueError(f"more than 8 bits a channel ({image.mode}): convert it")
        image = _opaque(image, background)
        return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC))
    except Exception as error:  # Pillow's readers raise whatever the bytes lead them to
        raise ValueError(reason(error, file)) from None


def read_all(files: list[Path], size: int, background: Colour) -> Iterator[np.ndarray]:
    """Every file's image, (3, size, size) uint8, in order.

    Raises:
        ValueError: the files that cannot be read and why, ten at most, and how many more; after all were tried.
    """
    broken = []
    for file in files:
        try:
            with warnings.catch_warnings(action="ignore"):  # they would tell of single records, in executed notebooks
                image = read(file, size, background)
        except ValueError as error:
            broken.append(f"{told(file)} ({error})")
            image = np.zeros((size, size, 3), dtype=np.uint8)
        yield image.transpose(2, 0, 1)
    if broken:
        raise ValueError(f"images that cannot be read; mend, convert or take them away: {several(broken)}")


def _is_image(file: Path) -> bool:
    """Whether any of Pillow's readers claims it, or it is of a format that has none; true if it is empty, as what was
    cut off, or cannot be opened."""
    try:
        with open(file, "rb") as stream:
            head = stream.read(HEAD)
    except OSError:
        return True  # not to be told by its content; `read` says why
    return (
        not head
        or _unread(head) is not None
        or any(_claims(accept, head) for _, accept in Image.OPEN.values() if accept)
        or _is_unmarked(file)
    )


def _claims(accept, head: bytes) -> bool:
    """A reader's own opinion of a file's first bytes; a text is its excuse for not being installed."""
    with contextlib.suppress(Exception):
        return bool(accept(head))
    return False


def _is_unmarked(file: Path) -> bool:
    """Whether it is an image of a format without a mark at its beginning (TGA and others): its reader must try."""
    unmarked = [name for name, (_, accept) in Image.OPEN.items() if not accept]
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=unmarked):
            return True
    except Exception:  # as in `read`
        return False


def _unread(head: bytes) -> str | None:
    return next((name for name, mark in UNREAD.items() if re.match(mark, head, re.DOTALL)), None)


def reason(error: Exception, file: Path) -> str:
    """Why an image cannot be read, for a sentence, from what Pillow or the system raised."""
    if isinstance(error, UnidentifiedImageError):
        with open(file, "rb") as stream:
            name = _unread(stream.read(HEAD))
        return f"{name}: Pillow has no reader for it, convert it" if name else "damaged at its beginning"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "".join(c if c.isprintable() else " " for c in reason)


def _scale_transparent_grey(image: Image.Image) -> None:
    """Bring a PNG's one transparent colour to the 8 bits that its pixels are read in; Pillow leaves it as stored."""
    transparent, stored_as = image.info.get("transparency"), str(image.tile[0][3]) if image.tile else ""
    if image.format != "PNG" or image.mode not in ("L", "RGB") or transparent is None:
        return
    if ";16" in stored_as:  # in 8 bits it is one with its neighbours
        raise ValueError(f"a transparent colour in more than 8 bits a channel ({stored_as}): convert it")
    for bits in (2, 4):
        if stored_as == f"L;{bits}":
            image.info["transparency"] = transparent * 255 // (2**bits - 1)


def _opaque(image: Image.Image, background: Colour) -> Image.Image:
    """RGB; what lies under full transparency is not seen."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    image, canvas = image.convert("RGBA"), Image.new("RGB", image.size, background)
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas
