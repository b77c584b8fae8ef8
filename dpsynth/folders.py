"""Folders of images: one folder a class, or images without classes directly in the folder."""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

UNLABELLED = ""  # the class of images directly in the folder; no class folder can be called so


def listing(path: Path) -> dict[str, list[Path]]:
    """The files of each class by name; of {UNLABELLED: files} if there are no class folders. Opens no file.

    Names that begin with a dot are passed over.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no image in it, or files where only folders may be, or the reverse.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"the image folder {path.absolute()} does not exist; check the path")
    entries = _visible(path)
    folders = [entry for entry in entries if entry.is_dir()]
    if folders and len(folders) < len(entries):
        stray = next(entry for entry in entries if entry not in folders)
        raise ValueError(f"{stray.absolute()} lies beside class folders; move it into one of them, or away")
    files = {folder.name: _visible(folder) for folder in folders} or {UNLABELLED: entries}
    if nested := [entry for group in files.values() for entry in group if entry.is_dir()]:
        raise ValueError(f"{nested[0].absolute()} is a folder where images are expected; classes do not nest")
    if not any(files.values()):
        raise ValueError(f"the image folder {path.absolute()} is empty; put images in it, one folder a class")
    return files


def declared_listing(path: Path, classes: tuple[str, ...], n_records: int) -> list[list[Path]]:
    """The files of each declared class, in that order; images directly in the folder are of the only class.

    Raises:
        ValueError: the folder contradicts the declaration; and as `listing`.
    """
    files = listing(path)
    if UNLABELLED in files and len(classes) == 1:
        files = {classes[0]: files[UNLABELLED]}
    elif UNLABELLED in files:
        raise ValueError(f"{path.absolute()} has no class folders, but labels declares {', '.join(classes)}")
    undeclared = [name for name in files if name not in classes]
    absent = [name for name in classes if name not in files]
    if undeclared or absent:
        raise ValueError(
            f"{path.absolute()} contradicts the declared labels: "
            f"class folders not declared: {', '.join(undeclared) or 'none'}; "
            f"labels without a folder: {', '.join(absent) or 'none'}"
        )
    if sum(map(len, files.values())) != n_records:  # how many it has instead stays unsaid
        raise ValueError(f"{path.absolute()} does not hold the {n_records} images that n_records declares")
    return [files[name] for name in classes]


def read(groups: list[list[Path]], size: int) -> tuple[Tensor, Tensor]:
    """Images (N, 3, size, size) uint8 and labels (N,) int64: the number of each file's group.

    Raises:
        ValueError: a file is not an image of 8 bits a channel, by its path.
    """
    labels = torch.tensor([label for label, files in enumerate(groups) for _ in files])
    images = torch.empty((len(labels), 3, size, size), dtype=torch.uint8)
    for row, file in enumerate(file for files in groups for file in files):
        images[row] = torch.from_numpy(np.array(_open(file, size))).permute(2, 0, 1)
    return images, labels


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _open(file: Path, size: int) -> Image.Image:
    """Upright, RGB, cropped to its middle square, resized to (size, size) with antialiasing."""
    try:
        # Warnings would tell of single records, in the executed notebook.
        with warnings.catch_warnings(action="ignore"), Image.open(file) as stored:
            image = ImageOps.exif_transpose(stored)
            image.load()
    except Exception as error:  # Pillow's readers raise whatever the bytes lead them to
        raise ValueError(f"{file.absolute()} cannot be read as an image; mend it or take it away") from error
    if image.mode[0] in "IF":  # Pillow would clip these to 255, silently
        raise ValueError(f"{file.absolute()} has more than 8 bits a channel ({image.mode}); convert it first")
    if image.has_transparency_data:
        image = image.convert("RGBA")
    return ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC)
