import torch

from dpsynth.models.pixels import scaled, to_bytes
from dpsynth.privacy import engine

BYTES = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)


def test_every_byte_comes_back_and_what_is_outside_is_cut_off():
    x = scaled(BYTES)
    assert x.dtype == torch.float32 and (x.min(), x.max()) == (-1, 1)
    assert torch.equal(to_bytes(x), BYTES) and to_bytes(x).dtype == torch.uint8
    assert to_bytes(torch.tensor([-3.0, -1.001, 0.0, 1.001, 3.0])).tolist() == [0, 0, 128, 255, 255]


def test_private_pixels_are_scaled_as_public_ones():
    """The core imports nothing of ours, and so has a line of its own."""
    assert torch.equal(engine.scaled(BYTES), scaled(BYTES))
