"""Stand-ins: classes of a public set that are held out, to play a private set in a rehearsal.

`stand_in:2x7:NAME` is a private set of two labels, each of them 7 classes of the public set NAME, and
`rest_of:2x7:NAME` is NAME without those 14. Which classes and images they are follows from these names and numbers:

- NAME's classes, in its own order, are cut into blocks of so many neighbours, as that order often puts kin together
  (ImageNet's numbers do), and the blocks are shuffled, always in the same way: the first blocks play the labels;
- their images are shuffled, always in the same way: the first fifth, at most `N_TEST`, judges, the next are records.
"""

import hashlib
import json
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dpsynth.data.private_sets import Constants, PreparedBenchmark
from dpsynth.data.public_sets import PublicSet
from dpsynth.data.shapes import Rows
from dpsynth.seeds import seed_of
from dpsynth.sources import work_digest

PRIVATE, PUBLIC = "stand_in:", "rest_of:"
N_TEST = 1000  # images that judge, at most
FEWEST = 20  # records below which nothing can be rehearsed
SEED = 0  # of the shuffles


class Cast(NamedTuple):
    """Who plays whom: `each` classes of a public set for each of `n_labels` labels, `n_records` of their images."""

    n_labels: int
    each: int
    n_records: int

    def names(self, source: str) -> tuple[str, str]:
        """The private and the public set of a rehearsal with classes of the public set `source`.

        >>> Cast(2, 7, 6000).names("tiny_imagenet32")
        ('stand_in:2x7:tiny_imagenet32', 'rest_of:2x7:tiny_imagenet32')
        """
        return f"{PRIVATE}{self.n_labels}x{self.each}:{source}", f"{PUBLIC}{self.n_labels}x{self.each}:{source}"


def cast(source: PublicSet, n_labels: int, n_records: int) -> Cast:
    """As few classes as have the records, at most half of them; where these have too few images, all that they have.

    Raises:
        ValueError: the public set has too few classes or images for any rehearsal.
    """
    n_classes = source.n_classes
    most = n_classes // 2 // n_labels
    if not most:
        raise ValueError(
            f"{source.name} has {n_classes} classes, of which at most half can be held out, and {n_labels} labels need "
            "one each: rehearse with a public set of more classes"
        )
    counts = np.bincount(source.labels.numpy(), minlength=n_classes)
    for each in range(1, most + 1):
        n = int(counts[held(n_classes, n_labels, each)].sum())
        available = n - n_test(n)
        if available >= n_records:
            break
    if available < FEWEST:
        raise ValueError(
            f"the {n_labels * each} classes of {source.name} that can be held out have {available} images to learn "
            f"from, and a rehearsal needs {FEWEST}: take a larger public set"
        )
    return Cast(n_labels, each, min(n_records, available))


def held(n_classes: int, n_labels: int, each: int) -> np.ndarray:
    """Which classes play each label: (n_labels, each) numbers below n_classes.

    >>> held(200, 2, 3).tolist()
    [[66, 67, 68], [168, 169, 170]]
    """
    blocks = np.random.default_rng(seed_of(SEED, "held-out classes")).permutation(n_classes // each)[:n_labels]
    return blocks[:, None] * each + np.arange(each)


def n_test(n: int) -> int:
    """How many of n held-out images judge.

    >>> n_test(7000), n_test(100)
    (1000, 20)
    """
    return min(N_TEST, n // 5)


def source_of(name: str) -> str:
    """The public set whose classes are meant."""
    return _parsed(name)[2]


def constants(name: str, *, n_records: Any, labels: Any, size: Any) -> Constants:
    """The constants of a stand-in; opens nothing.

    Raises:
        ValueError: no such name, or declarations that do not fit it.
    """
    n_labels, *_ = _parsed(name)
    classes = tuple(labels or ("all",))
    if n_records is None or size is None or len(classes) != n_labels:
        raise ValueError(f"{name} needs n_records, size and {n_labels} labels: `dpsynth rehearse` gives them")
    return Constants(n_records, 3, size, classes, builtin=True)


def private(name: str, split: str, known: Constants, source: PublicSet) -> PreparedBenchmark:
    """The stand-in's records, or the images that judge, closed; public images, so marked as a benchmark.

    Raises:
        ValueError: the public set is not what it was cast from.
    """
    n_labels, each, _ = _parsed(name)
    label_of = np.full(source.n_classes, -1)
    label_of[held(source.n_classes, n_labels, each)] = np.arange(n_labels)[:, None]
    labels = label_of[source.labels.numpy()]
    rows = np.flatnonzero(labels >= 0)
    rows = rows[np.random.default_rng(seed_of(SEED, "records")).permutation(len(rows))]
    judges, records = np.split(rows, [n_test(len(rows))])
    if len(records) < known.n_records:
        raise ValueError(f"{source.name} has other images than when it was cast: rehearse again")
    rows = torch.from_numpy(records[: known.n_records] if split == "train" else judges)
    content = json.dumps([source.version, source.content, work_digest(held)])
    return PreparedBenchmark(
        content=hashlib.sha256(content.encode()).hexdigest(), name=name if split == "train" else f"{name}-{split}",
        images=source.images[rows], labels=torch.from_numpy(labels)[rows].long(), classes=known.classes,
        n_records=known.n_records, builtin=True,
    )  # fmt: skip


class Rest(PublicSet):
    """A public set without the classes that are held out."""

    def __init__(self, name: str, source: PublicSet):
        super().__init__(name, source.channels, source.size)
        self.source, (self._n_labels, self._each, _) = source, _parsed(name)

    @property
    def identity(self) -> str:
        """As of the whole set, and what is held out of it."""
        return f"{PUBLIC}{self._n_labels}x{self._each}:{self.source.identity}"

    @property
    def version(self) -> str:
        """Of the code that reads the set, and of what chooses the classes."""
        return self.source.version + work_digest(held)

    @property
    def n_classes(self) -> int:
        return self.source.n_classes - self._n_labels * self._each

    @property
    def _files(self) -> Any:
        return self.source._files

    @cached_property
    def _content(self) -> tuple[Rows, Tensor, tuple[str, ...]]:
        source = self.source
        others = np.setdiff1d(np.arange(source.n_classes), held(source.n_classes, self._n_labels, self._each))
        labels = source.labels.numpy()
        rows = np.flatnonzero(np.isin(labels, others))
        renumbered = torch.from_numpy(np.searchsorted(others, labels[rows]))
        return Rows(source.images, torch.from_numpy(rows)), renumbered, tuple(source.classes[c] for c in others)


def _parsed(name: str) -> tuple[int, int, str]:
    """Labels, classes of each, and the public set, in a name."""
    _, _, rest = name.partition(":")
    numbers, _, source = rest.partition(":")
    n_labels, _, each = numbers.partition("x")
    if not (n_labels.isdecimal() and each.isdecimal() and int(n_labels) and int(each) and source):
        raise ValueError(f"{name} is no stand-in; one is written {PRIVATE}2x7:tiny_imagenet32")
    return int(n_labels), int(each), source
