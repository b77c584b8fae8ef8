"""The public sets with a name: a row of the table at the end and a reader each; opened when first looked at."""

import hashlib
import json
import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import matplotlib
import numpy as np
import scipy
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from dpsynth import project
from dpsynth.data import glyphs, prepared
from dpsynth.data.originals import ORIGINALS
from dpsynth.data.shapes import Reshaped, in_shape, viewed
from dpsynth.sources import page_digest, work_digest

Content = tuple[Tensor, Tensor, tuple[str, ...]]  # images (N, C, H, W) uint8 of any shape, labels (N,), classes


@dataclass(frozen=True)
class Source:
    """How a public set is read.

    Attributes:
        n_classes: known without reading it.
        version: tells one content from another; opens no image.
        read: gives images (N, C, H, W) uint8 in their own shape, labels (N,) int64 and the classes' names.
        mapped: its images lie in a file, and are not brought to memory.
    """

    n_classes: int
    version: Callable[[], str]
    read: Callable[[], Content]
    mapped: bool = False


class PublicSet:
    """The public set `name` with images (channels, size, size), resized where its own shape is another.

    Nothing is opened before it is looked at, and then once.

    Raises:
        ValueError: no such shape.
    """

    def __init__(self, name: str, channels: int, size: int):
        if channels not in (1, 3) or size < 1:
            raise ValueError(f"Expected channels={channels} in (1, 3), size={size} > 0")
        self.name, self.channels, self.size = name, channels, size

    @property
    def identity(self) -> str:
        """What the images are, for lineage; opens none."""
        return f"{self.name} {self.channels}x{self.size}x{self.size}"

    @property
    def version(self) -> str:
        """Tells apart what other code, or other libraries, would make of it, in its shape; opens nothing."""
        return PUBLIC[self.name].version() + work_digest(in_shape)

    @property
    def n_classes(self) -> int:
        """How many classes it has; opens no image."""
        return PUBLIC[self.name].n_classes

    @cached_property
    def content(self) -> str:
        """Tells whether a row means the image that it meant: digest of classes and labels, and of a set's own files."""
        labels = hashlib.sha256(self.labels.numpy()).hexdigest()
        return hashlib.sha256(json.dumps([self.classes, labels, self._files]).encode()).hexdigest()

    @property
    def images(self) -> Tensor | Reshaped:
        """(N, channels, size, size) uint8; of a set on disk nothing is in memory but what is looked at."""
        return self._content[0]

    @property
    def labels(self) -> Tensor:
        """(N,) int64, indices into `classes`."""
        return self._content[1]

    @property
    def classes(self) -> tuple[str, ...]:
        return self._content[2]

    @property
    def _files(self) -> Any:
        """What tells apart the files that its images are in; None if it is drawn by code."""
        return PUBLIC[self.name].version() if PUBLIC[self.name].mapped else None

    @cached_property
    def _content(self) -> tuple[Tensor | Reshaped, Tensor, tuple[str, ...]]:
        source = PUBLIC[self.name]
        images, labels, classes = source.read()
        shaped = viewed if source.mapped else in_shape
        return shaped(images, self.channels, self.size), labels, classes


def _glyphs() -> Content:
    """All glyphs, class after class, (N, 1, 28, 28); rendered once, then cached."""
    file = project.root() / "cache" / f"glyphs-{_glyphs_version()}.safetensors"
    if not file.exists():
        classes = glyphs.characters()
        bar = tqdm(classes, desc="rendering the glyphs, once", mininterval=5)
        images = torch.from_numpy(np.concatenate([glyphs.render(c, glyphs.PER_CLASS) for c in bar]))
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f"{file.name}.{os.getpid()}")
        save_file({"images": images.unsqueeze(1)}, aside, {"classes": "".join(classes)})
        os.replace(aside, file)
    with safe_open(file, "pt") as stored:
        classes = tuple(stored.metadata()["classes"])
        return stored.get_tensor("images"), torch.arange(len(classes)).repeat_interleave(glyphs.PER_CLASS), classes


def _glyphs_without_digits() -> Content:
    """The glyphs but for NUMBERS classes: private digits are not among the public classes."""
    images, labels, classes = _glyphs()
    others = torch.tensor([c for c, character in enumerate(classes) if unicodedata.category(character)[0] != "N"])
    rows = torch.isin(labels, others)
    return images[rows], torch.searchsorted(others, labels[rows]), tuple(classes[c] for c in others)


def _glyphs_version() -> str:
    """Of the code and the libraries that choose the characters and draw them."""
    libraries = matplotlib.__version__, np.__version__, scipy.__version__, unicodedata.unidata_version
    return hashlib.sha256(" ".join([page_digest(glyphs.__name__), *libraries]).encode()).hexdigest()[:16]


def _prepared(name: str) -> Content:
    opened = prepared.opened(name)
    return opened.images, opened.labels, opened.classes


def _of_disk(name: str) -> Source:
    """The row of a set that is prepared once."""
    return Source(ORIGINALS[name].n_classes, partial(prepared.content, name), partial(_prepared, name), mapped=True)


CHARACTERS = glyphs.LETTERS + glyphs.SYMBOLS
PUBLIC = {
    "glyphs": Source(CHARACTERS, _glyphs_version, _glyphs),
    "glyphs_without_digits": Source(CHARACTERS - glyphs.NUMBERS, _glyphs_version, _glyphs_without_digits),
    "imagenet32": _of_disk("imagenet32"),
    "imagenet64": _of_disk("imagenet64"),
    "tiny_imagenet32": _of_disk("tiny_imagenet32"),
    "tiny_imagenet64": _of_disk("tiny_imagenet64"),
}
