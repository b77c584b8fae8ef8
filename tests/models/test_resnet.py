"""The query function's network for colour, and how its images are moved."""

import pytest
import torch

from dpsynth.models import resnet


@pytest.mark.parametrize(("kind", "millions", "features"), [("resnet18", 11.17, 512), ("resnet50", 23.52, 2048)])
def test_a_network_has_the_weights_of_its_name(kind, millions, features):
    with torch.device("meta"):
        model = resnet.ResNet(3, 10, kind).eval()
        x = torch.empty(2, 3, 32, 32)
        assert model(x).shape == (2, 10) and model.features(x).shape == (2, features)
        assert model.activations(x).shape == (2, features // 512 * (64 * 32**2 + 128 * 16**2 + 256 * 8**2 + 512 * 4**2))
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 8), (3, 64)])
def test_in_eval_mode_each_image_is_seen_alone(channels, size):
    torch.manual_seed(0)
    model, x = resnet.ResNet(channels, 5, "resnet18"), torch.randn(3, channels, size, size)
    model(x)  # which moves what batch norm knows of all
    model.eval()
    alone = torch.cat([model(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(model(x), alone, rtol=1e-3, atol=1e-4)


def test_images_are_mirrored_and_shifted_by_at_most_the_border():
    x = torch.arange(1, 65).view(1, 1, 8, 8).float().expand(400, 3, 8, 8)
    moved = resnet.augmented(x, torch.Generator().manual_seed(0))
    assert moved.shape == x.shape and torch.equal(moved, resnet.augmented(x, torch.Generator().manual_seed(0)))
    padded = torch.nn.functional.pad(x[:1, :1], [resnet.BORDER] * 4)[0, 0]
    crops = {}
    for flip in (False, True):
        picture = padded.flip(1) if flip else padded
        for down in range(2 * resnet.BORDER + 1):
            for right in range(2 * resnet.BORDER + 1):
                crops[tuple(picture[down : down + 8, right : right + 8].flatten().tolist())] = flip, down, right
    found = [crops[tuple(image[0].flatten().tolist())] for image in moved]
    flips, downs, rights = zip(*found, strict=True)
    assert set(downs) == set(rights) == set(range(9)) and 150 < sum(flips) < 250
    assert torch.equal(moved[:, 0], moved[:, 2])
