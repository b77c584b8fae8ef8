"""Images in another shape: the same whether all are made or those that are looked at."""

import pytest
import torch

from dpsynth.data import shapes

IMAGES = torch.randint(0, 256, (7, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LOOKS = [slice(None), slice(2, 5), [6, 0], torch.tensor([3, 3, 1]), torch.arange(7) % 3 == 0, 4, -1]


@pytest.mark.parametrize("look", LOOKS, ids=map(str, range(len(LOOKS))))
@pytest.mark.parametrize("shape", [(1, 8), (3, 12), (1, 5), (3, 8)])
def test_a_view_shows_what_all_of_them_would_be(look, shape):
    whole, view = shapes.in_shape(IMAGES, *shape), shapes.Reshaped(IMAGES, *shape)
    assert view[look].equal(whole[look]) and (view.shape, len(view)) == (whole.shape, 7)


@pytest.mark.parametrize("look", LOOKS[:5], ids=map(str, range(5)))
def test_rows_are_looked_up(look):
    rows = torch.tensor([5, 1, 1, 6, 0, 2, 4])
    for images in (IMAGES, shapes.Reshaped(IMAGES, 1, 4)):
        view = shapes.Rows(images, rows)
        assert view[look].equal(images[rows][look]) and view.shape == (7, *images.shape[1:]) and len(view) == 7


def test_only_what_is_looked_at_is_made(monkeypatch):
    made, in_shape = [], shapes.in_shape
    monkeypatch.setattr(shapes, "in_shape", lambda images, *shape: made.append(len(images)) or in_shape(images, *shape))
    view = shapes.Rows(shapes.viewed(IMAGES, 1, 4), torch.tensor([6, 2]))
    assert view.shape == (2, 1, 4, 4) and not made
    assert view[[1]].shape == (1, 1, 4, 4) and made == [1]


def test_images_of_the_shape_asked_for_are_themselves():
    assert shapes.viewed(IMAGES, 3, 8) is IMAGES and isinstance(shapes.viewed(IMAGES, 1, 8), shapes.Reshaped)
