"""Stage 02: which public images the base sees, by noisy votes."""

from types import SimpleNamespace

import pytest
import torch

from dpsynth.artifacts import SemanticHistogram
from dpsynth.stages import selection

SIZES = (3, 6, 2, 4, 5)  # images of each of five public classes


@pytest.fixture
def public():
    """Five classes, each of its own size, in no order; an image's first pixel is its number."""
    labels = torch.arange(5).repeat_interleave(torch.tensor(SIZES))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4).clone()
    return SimpleNamespace(
        name="few", images=images, labels=labels, classes=tuple("abcde"), identity="few 1x4x4", content="as it is"
    )


def corpus(public, votes, *, kept, by_label=True, match="top_k", seed=0):
    release = SemanticHistogram(torch.tensor(votes), by_label)
    return selection.top_classes(None, public, release, kept=kept, match=match, seed=seed)


def classes_of(public, made):
    """Public class of each image of a corpus."""
    return public.labels[made.pixels[:][:, 0, 0, 0].long()]


@pytest.mark.parametrize(
    ("votes", "kept", "expected"),
    [
        ([[1, 7, 7, 3]], 1, [[1]]),  # of equal counts, the lower index
        ([[0, 0, 0, 0]], 3, [[0, 1, 2]]),
        ([[2, 9, 5, 1], [3, 9, 5, 0]], 1, [[1], [2]]),  # class 1 is taken
        ([[2, 9, 5, 1], [3, 9, 5, 0]], 2, [[1, 2], [0, 3]]),
        ([[3, 9, 5, 0], [2, 9, 5, 1], [0, 9, 1, 2]], 1, [[1], [2], [3]]),  # in the order of the rows
        ([[-5, -1, -3, -9]], 2, [[1, 2]]),  # counts are noisy, and may all be negative
    ],
)
def test_picks_are_the_most_voted_ties_to_the_lower_index_and_none_twice(votes, kept, expected):
    assert selection.pick(torch.tensor(votes), kept) == expected


def test_of_many_equal_counts_the_first_are_picked():
    assert selection.pick(torch.zeros(1, 1000, dtype=torch.int64), 900) == [list(range(900))]


@pytest.mark.parametrize(("rows", "kept"), [(1, 5), (2, 3), (5, 1)])
def test_more_picks_than_classes_are_refused(rows, kept):
    with pytest.raises(ValueError, match=f"cannot keep {kept} classes for each of {rows} rows: there are 4 public"):
        selection.pick(torch.zeros(rows, 4), kept)
    assert len(selection.pick(torch.zeros(rows, rows * kept), kept)) == rows


def test_one_histogram_a_label_gives_images_of_its_classes_under_that_label(public):
    made = corpus(public, [[9, 1, 8, 0, 0], [9, 7, 8, 1, 2]], kept=2)
    assert made.chosen == [[0, 2], [1, 4]] and made.n_labels == 2 and made.private_labels
    assert made.labels.bincount().tolist() == [SIZES[0] + SIZES[2], SIZES[1] + SIZES[4]]
    for image_class, label in zip(classes_of(public, made).tolist(), made.labels.tolist(), strict=True):
        assert image_class in made.chosen[label]
    assert len(made.rows.unique()) == len(made.rows) == len(made.labels)  # each image of a class, once
    assert made.provenance == "top_k of few"


def test_one_histogram_in_all_gives_images_under_the_places_of_their_classes(public):
    made = corpus(public, [[1, 2, 9, 0, 5]], kept=3, by_label=False)
    assert made.chosen == [[2, 4, 1]] and made.n_labels == 3 and not made.private_labels
    assert torch.equal(torch.tensor(made.chosen[0])[made.labels], classes_of(public, made))
    assert made.labels.bincount().tolist() == [SIZES[2], SIZES[4], SIZES[1]]


def test_shares_follow_the_noisy_votes_and_are_as_many_images_in_all(public):
    made = corpus(public, [[30, 60, 0, -10, 0]], kept=3, match="proportional")
    assert made.chosen == [[1, 0, 2]] and len(made.pixels) == SIZES[0] + SIZES[1] + SIZES[2]
    drawn = classes_of(public, made).bincount(minlength=5).tolist()
    assert drawn == [4, 7, 0, 0, 0]  # a third and two thirds of eleven, rounded
    assert made.provenance == "proportional of few"


def test_a_class_with_negative_votes_draws_none(public):
    made = corpus(public, [[-3, 40, -8, 20, -1]], kept=5, match="proportional")
    drawn = classes_of(public, made).bincount(minlength=5)
    assert drawn[[0, 2, 4]].tolist() == [0, 0, 0] and drawn.sum() == sum(SIZES)


def test_the_same_seed_is_the_same_draw_and_another_is_another(public):
    votes = [[30, 60, 5, 1, 0], [5, 1, 0, 40, 30]]
    once, again, other = (corpus(public, votes, kept=2, match="proportional", seed=seed).rows for seed in (3, 3, 4))
    assert torch.equal(once, again) and once.shape == other.shape and not torch.equal(once, other)


def test_the_labels_of_one_corpus_draw_apart(public):
    public.labels, public.classes = torch.tensor([0] * 10 + [1] * 10), ("a", "b")  # alike but for their numbers
    made = corpus(public, [[9, 0], [0, 9]], kept=1, match="proportional").pixels[:][:, 0, 0, 0]
    assert not torch.equal(made[:10], made[10:] - 10)


@pytest.mark.parametrize("counts", [[5, 0, 0], [-3, -9, -1], [1, 1, 1]])
def test_proportional_picks_take_an_image_of_each_label_however_the_votes_lie(public, counts):
    changed = {"images": public.images[:3], "labels": torch.arange(3), "classes": tuple("abc")}
    few = SimpleNamespace(**{**vars(public), **changed})
    made = corpus(few, [counts], kept=3, match="proportional")
    assert len(made.pixels) >= 1 and set(made.labels.tolist()) == {0}


@pytest.mark.parametrize("n", [4, 6])
def test_votes_for_other_classes_than_there_are_now_are_refused(public, n):
    with pytest.raises(ValueError, match=f"few has 5 classes, and {n} were voted for"):
        corpus(public, [[1] * n], kept=1)


def test_all_public_images_keep_their_public_labels(public):
    made = selection.all_public(None, public)
    assert torch.equal(made.pixels[:], public.images) and torch.equal(made.labels, public.labels)
    assert (made.n_labels, made.private_labels, made.chosen) == (5, False, [[0, 1, 2, 3, 4]])


def test_recall_is_all_without_noise_and_chance_under_much_of_it():
    votes = torch.arange(400).view(4, 100).flip(1)
    draws = torch.Generator().manual_seed(0)
    assert selection.recall(votes, 5, 0.0, draws).tolist() == [1.0] * 20
    lost = selection.recall(votes, 5, 1e6, draws, n_draws=200)
    assert lost.shape == (200,) and lost.min() >= 0 and lost.mean() < 0.15  # five of a hundred
    between = selection.recall(votes, 5, 3.0, draws, n_draws=200).mean()
    assert lost.mean() < between < 1


def test_a_pick_for_another_label_is_not_recalled():
    votes = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    assert selection.pick(votes, 1) == [[0], [1]]
    noisy = selection.recall(votes, 1, 50.0, torch.Generator().manual_seed(0), n_draws=100)
    assert set(noisy.tolist()) == {0.0, 1.0}  # both labels keep their class, or have swapped
