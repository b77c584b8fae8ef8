"""What figures are made of can be drawn, however few classes, labels or images there are."""

from types import SimpleNamespace

import pytest
import torch

from dpsynth import figures
from dpsynth.artifacts import Corpus, LabelCounts, Samples, SemanticHistogram
from dpsynth.params import Params
from dpsynth.report import pictures
from dpsynth.stages import label_prior

BADGE = "a test"
ODD = ["$x$ \\frac", "猫", "a" * 300, "e\u0301\u202e", "-"]


def own(labels):
    return Params(
        method="rpgen",
        private="folder:own",
        public="folder:free",
        n_records=2000,
        labels=labels,
        size=8,
        noise="secret",
    )


def blank(n):
    return torch.zeros(n, 3, 8, 8, dtype=torch.uint8)


@pytest.mark.parametrize("n_labels", [1, 2, 5, 200])
@pytest.mark.parametrize("n_classes", [1, 2, 3, 7, 8, 9])
@pytest.mark.parametrize("by_label", [True, False])
def test_favourites_are_as_many_as_there_are_public_classes_and_eight_at_most(n_labels, n_classes, by_label):
    public = SimpleNamespace(images=blank(n_classes), labels=torch.arange(n_classes), classes=range(n_classes))
    votes = torch.randint(-9, 9, (n_labels if by_label else 1, n_classes), generator=torch.Generator().manual_seed(0))
    p = own((ODD * 40)[:n_labels] if n_labels <= 5 else [f"{n}" for n in range(n_labels)])
    run = SimpleNamespace(params=p, public=public, release=SemanticHistogram(votes, by_label))
    rows = pictures.favourites(run)
    assert {len(row) for row in rows.values()} == {min(8, n_classes)}
    assert len(rows) == (min(10, n_labels) if by_label else 1)
    assert figures.voted(rows, badge=BADGE).axes


def test_a_histogram_of_many_labels_shows_the_first():
    votes, labels = torch.arange(600).view(200, 3), [f"label {n}" for n in range(200)]
    drawn = figures.histogram(votes, ["a", "b", "c"], labels, 4.0, badge=BADGE)
    assert [axes.get_title() for axes in drawn.axes] == labels[:20]
    assert len(drawn.png()) < 2**24


@pytest.mark.parametrize("present", [[0], [3], [11], [0, 4, 11], list(range(12))])
def test_samples_are_shown_of_the_labels_that_have_any(present):
    p = own([*ODD, *(f"{n}" for n in range(7))])
    drawn = Samples(blank(len(present) * 2), torch.tensor(present * 2))
    images, labels, names = pictures.by_label(drawn, p, 1)
    assert labels.tolist() == present[:10] and len(images) == len(labels)
    assert figures.grid(images, labels, names, badge=BADGE).axes


def test_a_prior_that_gives_a_label_nothing_leaves_it_out():
    p = own(["a", "b", "c"])
    drawn = label_prior.proportional(LabelCounts(torch.tensor([-40, 90, 0])), 20)
    assert figures.grid(*pictures.by_label(Samples(blank(20), drawn), p, 12), badge=BADGE).axes


@pytest.mark.parametrize("private_labels", [True, False])
def test_examples_are_shown_of_a_corpus_that_lacks_a_label(private_labels):
    corpus = Corpus(blank(3), torch.tensor([1, 1, 2]), 4, private_labels, [[0], [1], [2], [3]], "some")
    assert figures.grid(*pictures.examples(corpus, tuple(ODD), 16), badge=BADGE).axes
