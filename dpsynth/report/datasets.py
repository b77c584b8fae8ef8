"""A run's synthetic images as a data set for others: one PNG an image, in one folder a class.

    README.md          a dataset card, whose head the Hugging Face hub reads
    certificate.json   what the run cost
    synthetic.npz      all images (N, C, H, W) uint8 and labels (N,) int64
    train/<class>/*.png, train/metadata.jsonl      the layout of Hugging Face's imagefolder, and of torchvision's
    SHA256SUMS         of all files: sha256sum --check SHA256SUMS

The same run gives the same bytes. Of a user's own set nothing tells where it lies or when, or how fast, this was made.
"""

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from dpsynth.artifacts import Samples
from dpsynth.data import folders
from dpsynth.exported import CERTIFICATE, sha256
from dpsynth.pipeline import Run
from dpsynth.privacy.disk import forget_times, naming, sync
from dpsynth.report import dataset_card, exports
from dpsynth.report.dataset_card import CARD, METADATA, SYNTHETIC, TRAIN

SUMS = "SHA256SUMS"
FORBIDDEN = str.maketrans({c: "_" for c in '/\\:*?"<>|'})  # in names of folders, on some system


def export(run: Run, folder: Path) -> int:
    """Write the synthetic set of a finished run as `folder`, whole or not at all; how many images it has.

    Raises:
        ValueError: as of `exports.shown`; or something else lies in `folder`. What was exported before, of the same
            run, stays as it is.
    """
    certificate = exports.shown(run)
    names = folder_names(run.params.constants.classes) if run.params.n_classes > 1 else [""]
    written = dict(_files(run.samples, names))
    written[CERTIFICATE] = (json.dumps(certificate, indent=1, allow_nan=False) + "\n").encode()
    written[CARD] = dataset_card.text(run, certificate, names).encode()
    sums = "".join(f"{sha256(content)}  {name}\n" for name, content in sorted(written.items())).encode()
    if folder.exists():
        if not (folder / SUMS).is_file() or (folder / SUMS).read_bytes() != sums:
            raise ValueError(f"{folder} exists, and is not this data set: name another folder, or move it away")
        return len(run.samples.images)
    _place(folder, written | {SUMS: sums}, timeless=not run.params.constants.builtin)
    return len(run.samples.images)


def folder_names(classes: tuple[str, ...]) -> list[str]:
    """A folder's name for each class, distinct on every file system.

    >>> folder_names(("T-shirt/top", "T-shirt_top", "Bag", "bag"))
    ['T-shirt_top', 'T-shirt_top-1', 'Bag', 'bag-3']
    """
    names: list[str] = []
    for number, label in enumerate(classes):
        name = folders.composed(label).translate(FORBIDDEN).strip(". ") or "_"
        taken = {other.casefold() for other in names}
        names.append(f"{name}-{number}" if name.casefold() in taken else name)
    return names


def _files(samples: Samples, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Each file's place below the folder, and its content."""
    images, labels = samples.images.numpy(), samples.labels.numpy()
    arrays = io.BytesIO()
    np.savez_compressed(arrays, images=images, labels=labels)  # numpy writes no time into it
    yield SYNTHETIC, arrays.getvalue()
    lines, digits = [], len(str(len(images) - 1))
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        name = "/".join(part for part in (names[label], f"{number:0{digits}d}.png") if part)
        yield f"{TRAIN}/{name}", _png(image)
        lines.append(
            json.dumps({"file_name": name} | ({"label": names[label]} if names != [""] else {}), ensure_ascii=False)
        )
    yield f"{TRAIN}/{METADATA}", ("\n".join(lines) + "\n").encode()


def _png(image: np.ndarray) -> bytes:
    """(C, H, W) uint8 as a PNG, which holds nothing but the pixels."""
    file = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(file, "PNG")
    return file.getvalue()


def _place(folder: Path, files: dict[str, bytes], timeless: bool) -> None:
    """All files beside the folder's place first, then it takes its name."""
    aside = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    places = [aside]
    for name, content in files.items():
        path = aside / name
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        places += [path, path.parent]
    for path in dict.fromkeys(reversed(places)):
        sync(path)
        if timeless:
            forget_times(path)
    os.replace(aside, folder)
    if timeless:
        forget_times(folder)
    sync(folder.parent)
