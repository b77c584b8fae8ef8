import pytest
import torch

from dpsynth.metrics import resnet9


def coloured(n: int, channels: int = 3, size: int = 16, seed: int = 0):
    """Noise with one channel (of grey, all of it) brighter by the label."""
    labels = torch.arange(n) % 3
    images = torch.randint(0, 80, (n, channels, size, size), generator=torch.Generator().manual_seed(seed))
    bright = torch.eye(3)[labels] if channels == 3 else labels[:, None] / 2
    return (images + 150 * bright[:, :, None, None]).to(torch.uint8), labels


def right(network, images, labels) -> float:
    with torch.no_grad():
        return (network(images.float() / 127.5 - 1).argmax(1) == labels).float().mean().item()


@pytest.fixture
def narrow(monkeypatch):
    """Few channels and epochs, for the speed of tests."""
    monkeypatch.setattr(resnet9, "WIDTH", 8)
    monkeypatch.setattr(resnet9, "EPOCHS", 4)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_learns_the_colour_of_images(narrow, channels):
    network = resnet9.trained(*coloured(60, channels), 3, seed=0)
    assert not network.training and right(network, *coloured(60, channels, seed=1)) > 0.9


@pytest.mark.parametrize("size", [8, 32, 64])
def test_it_takes_images_of_many_sizes_and_has_the_papers_weights(size):
    with torch.device("meta"):
        network = resnet9.ResNet9(3, 10)
        assert network(torch.zeros(2, 3, size, size)).shape == (2, 10)
    n_weights = sum(weight.numel() for weight in network.parameters())
    assert n_weights == 6_573_130  # the papers', less the biases before its norms


def test_it_is_the_same_each_time_and_another_under_another_seed(narrow):
    images, labels = coloured(21)  # whose batches of 3 would be seven, and a tenth of it is no whole number
    state = torch.get_rng_state()
    once, twice, other = (resnet9.trained(images, labels, 3, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert not torch.equal(once["head.3.weight"], other["head.3.weight"])


def test_a_move_is_a_flip_and_a_crop_of_the_padded_image_of_each_its_own():
    x = torch.randint(0, 256, (3, 3, 10, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    down, across = torch.tensor([0, 2, -4]), torch.tensor([0, -3, 4])
    found = resnet9.augmented(x, torch.tensor([False, True, False]), down, across)
    assert torch.equal(found[0], x[0])
    flipped = torch.zeros_like(x[1])
    flipped[:, 2:, :-3] = x[1].flip(2)[:, :-2, 3:]
    assert torch.equal(found[1], flipped)
    moved = torch.zeros_like(x[2])
    moved[:, :-4, 4:] = x[2][:, 4:, :-4]
    assert torch.equal(found[2], moved)


def test_half_of_the_images_are_flipped_and_all_moves_are_drawn():
    flips, down, across = resnet9._moves(4000, torch.Generator().manual_seed(3))
    assert 0.45 < flips.float().mean() < 0.55
    assert set(down.tolist()) == set(across.tolist()) == set(range(-4, 5))
