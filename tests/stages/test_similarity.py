"""PrivImage's similarity of meanings, and clusters of labels, on features that are the images' own pixels."""

from types import SimpleNamespace

import pytest
import torch

from dpsynth import privacy
from dpsynth.artifacts import Corpus, Samples
from dpsynth.metrics import extractors
from dpsynth.stages import similarity

DIRECTIONS = torch.tensor([[200, 0, 0, 0], [0, 200, 0, 0], [0, 0, 200, 0], [0, 0, 0, 200]], dtype=torch.uint8)


@pytest.fixture(autouse=True)
def pixels(monkeypatch):
    monkeypatch.setattr(similarity, "seen_by", lambda extractor, inception: None)
    monkeypatch.setattr(extractors, "features", lambda images, network: images.flatten(1).double())


def of_classes(labels):
    return DIRECTIONS[labels].reshape(-1, 1, 2, 2)


def told(chosen, private_labels, monkeypatch):
    labels = torch.arange(4).repeat_interleave(3)
    public = SimpleNamespace(images=of_classes(labels), labels=labels, classes="abcd")
    rows = torch.cat([(labels == c).nonzero().flatten() for c in chosen])
    corpus = Corpus(None, labels[rows], 4, False, [], "toy", rows)
    records = torch.tensor(private_labels)
    monkeypatch.setattr(privacy, "evaluation", lambda private, reason: (of_classes(records), records))
    private = SimpleNamespace(classes="ab")
    ours, every = similarity.similarity(None, corpus, public, None, private, inception=None).curves["similarity"][:, 1]
    return ours.item(), every.item()


def test_it_is_the_mean_cosine_of_the_classes_weighted_by_their_frequencies(monkeypatch):
    # About their centre four equal classes have cosines of 1 with themselves and -1/3 with each other.
    ours, every = told([0, 1], [0, 0, 1, 1], monkeypatch)
    assert ours == pytest.approx((1 - 1 / 3) / 2) and every == pytest.approx(0, abs=1e-9)
    ours, _ = told([0], [0, 0, 0, 1], monkeypatch)
    assert ours == pytest.approx(3 / 4 - 1 / 4 / 3)
    ours, _ = told([2, 3], [0, 0, 1, 1], monkeypatch)
    assert ours == pytest.approx(-1 / 3)


def test_neighbours_are_the_share_of_images_whose_nearest_other_one_has_their_label():
    labels = torch.tensor([0, 0, 1, 1, 2])
    images = of_classes(torch.tensor([0, 0, 1, 1, 1]))  # the last looks like a 1
    images[2:4, 0, 0, 0] = 1  # these two are equal, and near to it
    curves = similarity.clusters(None, Samples(images, labels), None, inception=None).curves
    assert curves["neighbours"].tolist() == [[0.0, 0.8]]
