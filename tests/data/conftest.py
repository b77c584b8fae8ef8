import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpsynth.data import layouts, originals, prepared, private_sets


@pytest.fixture
def pets(root):
    """Two red cats, with green margins far left and right of the middle square, and one blue dog."""
    for number in range(2):
        picture = Image.new("RGB", (24, 12), (0, 255, 0))
        picture.paste((200, 0, 0), (3, 0, 21, 12))
        (root / "pets" / "cat").mkdir(parents=True, exist_ok=True)
        picture.save(root / "pets" / "cat" / f"{number}.png")
    (root / "pets" / "dog").mkdir()
    Image.new("RGB", (12, 12), (30, 60, 90)).save(root / "pets" / "dog" / "a.png")
    return root / "pets"


@pytest.fixture
def place(root, monkeypatch):
    """An empty $DPSYNTH_DATA."""
    (root / "data").mkdir()
    monkeypatch.setenv("DPSYNTH_DATA", str(root / "data"))
    return root / "data"


def _save(file, number, shape=(32, 32)):
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (shape[1], shape[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format="PNG")
    return pixels.transpose(2, 0, 1)


@pytest.fixture
def save():
    """Saves an image that a number alone decides, and gives its pixels; PNG whatever its name, which keeps them."""
    return _save


@pytest.fixture
def published(monkeypatch):
    """Let a set have been published with other counts, as a small tree has them."""

    def patch(name, n_classes=None, **n_images):
        row = originals.ORIGINALS[name]
        row = dataclasses.replace(row, n_images=n_images, n_classes=n_classes or row.n_classes)
        monkeypatch.setitem(originals.ORIGINALS, name, row)
        for of, benchmark in private_sets.PRIVATE.items():
            if benchmark.prepared == name:
                choosing = of.endswith("_choosing")
                train = n_images["train"] - (test := n_images["train"] // 10)
                counts = {"train": train, "test": test} if choosing else n_images
                monkeypatch.setitem(private_sets.PRIVATE, of, dataclasses.replace(benchmark, n_records=counts))

    return patch


@pytest.fixture
def cifar(place, published):
    """Two images a class to train on, one to test: (3, 32, 32) by split, class and number."""
    published("cifar10", train=20, test=10)
    pixels = {}
    for split, each in (("train", 2), ("test", 1)):
        for label, name in enumerate(layouts.CIFAR10):
            for number in range(each):
                file = place / "cifar10" / split / name / f"{number:04}.png"
                pixels[split, label, number] = _save(file, len(pixels))
    return pixels


@pytest.fixture
def tiny(place, published):
    """Three images of each of two classes, 64x64, in the official layout."""
    published("tiny_imagenet32", n_classes=2, train=6)
    published("tiny_imagenet64", n_classes=2, train=6)
    folder = place / "tiny-imagenet-200"
    pixels = [
        _save(folder / "train" / of / "images" / f"{of}_{n}.JPEG", 10 * c + n, (64, 64))
        for c, of in enumerate(("n01", "n02")) for n in range(3)
    ]  # fmt: skip
    for of in ("n01", "n02"):
        (folder / "train" / of / f"{of}_boxes.txt").write_text("a.JPEG\t0\t0\t9\t9\n")
    _save(folder / "val" / "images" / "val_0.JPEG", 99, (64, 64))
    (folder / "words.txt").write_text("n00\tentity\nn01\tgoldfish, Carassius auratus\nn02\ttabby, tabby cat\n")
    return np.stack(pixels)


@pytest.fixture
def faces(place, published):
    """Six faces, 18x22: numbers 1 to 4 to train on, 5 for validation, 6 to test; the even ones are male."""
    for name in ("celeba32", "celeba10k"):
        published(name, train=4, test=1)
    folder, codes = place / "celeba", {1: 0, 2: 0, 3: 0, 4: 0, 5: 1, 6: 2}
    names = [f"{number:06}.jpg" for number in codes]
    for number, name in enumerate(names, 1):
        _save(folder / "img_align_celeba" / name, number, (18, 22))
    lines = [f"{name} {code}\n" for name, code in zip(names, codes.values(), strict=True)]
    (folder / "list_eval_partition.txt").write_text("".join(lines))
    rows = [f"{name} -1 {'-1' if number % 2 else ' 1'}  1\n" for number, name in enumerate(names, 1)]
    (folder / "list_attr_celeba.txt").write_text("6\nBald Male Young\n" + "".join(rows))
    return folder


@pytest.fixture
def chunks(monkeypatch):
    """Eight images at a time; the numbers of the rows that are read, as they are."""
    read, rows = layouts._read_files, []

    def counted(files, size, start, stop):
        found = read(files, size, start, stop)
        rows.extend(range(start, stop))
        return found

    monkeypatch.setattr(layouts, "_read_files", counted)
    monkeypatch.setattr(prepared, "CHUNK", 8)
    return rows


@pytest.fixture
def shared():
    """The folder of real images: $DPSYNTH_SHARED, else `shared` beside the checkout or its worktrees."""
    named = os.environ.get("DPSYNTH_SHARED")
    around = [Path(named)] if named else [above / "shared" for above in Path(__file__).resolve().parents[3:5]]
    for folder in around:
        if (folder / "data" / "README.md").exists():
            return folder / "data"
    pytest.skip("no real images: there is no data/README.md in $DPSYNTH_SHARED or a `shared` beside the checkout")
