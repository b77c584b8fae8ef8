"""Sets by name: which there are, and in which words others are refused."""

import pytest
import torch

from dpsynth import privacy
from dpsynth.data import catalog, private_sets


@pytest.mark.parametrize(
    "name, shape, message",
    [
        (
            "places365",
            (3, 32),
            "no public set 'places365' is available; there are glyphs, .*, tiny_imagenet64 and folder:",
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


def test_constants_of_benchmarks():
    known = catalog.constants("fashion_mnist")
    assert known == private_sets.Constants(60_000, 1, 28, private_sets.CLOTHES, True)
    assert catalog.constants("fashion_mnist", "test").n_records == 10_000
    assert catalog.constants("mnist5k", n_records=4000, labels=list("0123456789"), size=28).n_records == 4000


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("cifar100", {}, "no private set 'cifar100'; there are mnist5k, .*, cifar10, .* and folder:PATH"),
        ("mnist5k", {"split": "validation"}, "no split 'validation'; it has train, test"),
        ("mnist5k", {"n_records": 5000}, "n_records=5000 contradicts mnist5k, which has 4000: lower it"),
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


def test_a_benchmark_may_be_its_first_records():
    whole, first = (privacy.evaluation(catalog.private("mnist5k", n_records=n), "a test") for n in (None, 700))
    assert all(torch.equal(some, every[:700]) for some, every in zip(first, whole, strict=True))
    assert catalog.private("mnist5k", n_records=700).n_records == 700
    assert catalog.private("mnist5k", "test", n_records=700).n_records == 1000  # what judges stays as it is
    assert catalog.private("mnist5k", n_records=700).identity != catalog.private("mnist5k").identity
