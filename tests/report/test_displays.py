"""What notebooks show in words."""

from types import SimpleNamespace

import pytest

from dpsynth.report import displays


@pytest.mark.parametrize(
    ("classes", "shown"),
    [(("a", "b", "c"), ["a c", "b"]), (("potter's wheel", "ox", "slug"), ["potter's wheel, slug", "ox"])],
)
def test_names_of_several_words_are_told_apart_in_the_map(classes, shown):
    corpus = SimpleNamespace(private_labels=True, chosen=[[0, 2], [1]])
    params = SimpleNamespace(constants=SimpleNamespace(classes=("cat", "dog")))
    found = displays.label_map(SimpleNamespace(corpus=corpus, public=SimpleNamespace(classes=classes), params=params))
    assert found["public classes"].tolist() == shown and found.index.tolist() == ["cat", "dog"]
