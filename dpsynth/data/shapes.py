"""Images in another shape: colours averaged or grey repeated, and resized; and views of many images, which make those
that are looked at and no others."""

import torch
from torch import Tensor
from torch.nn import functional as F

AT_ONCE = 2048  # images that are floats at a time


def in_shape(images: Tensor, channels: int, size: int) -> Tensor:
    """(N, C, H, W) uint8 as (N, channels, size, size) uint8; resizing is bicubic and antialiased."""
    if channels < images.shape[1]:
        images = torch.cat([p.float().mean(1, keepdim=True).round().to(torch.uint8) for p in images.split(AT_ONCE)])
    if images.shape[2:] != (size, size):
        resized = (
            F.interpolate(batch.float(), (size, size), mode="bicubic", antialias=True)
            for batch in images.split(AT_ONCE)
        )
        images = torch.cat([batch.round().clamp(0, 255).to(torch.uint8) for batch in resized])
    return images.expand(-1, channels, -1, -1).contiguous()


class Reshaped:
    """(N, C, H, W) uint8 as (N, channels, size, size), as of `in_shape`, whenever some of them are looked at."""

    def __init__(self, images: Tensor, channels: int, size: int):
        self.images, self.shape = images, (len(images), channels, size, size)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: int | slice | list | Tensor) -> Tensor:
        seen = self.images[rows]
        return in_shape(seen, *self.shape[1:3]) if seen.ndim == 4 else in_shape(seen[None], *self.shape[1:3])[0]


class Rows:
    """Some rows of `images`, (N,) int64, looked up whenever some of them are looked at."""

    def __init__(self, images: Tensor | Reshaped, rows: Tensor):
        self.images, self.rows, self.shape = images, rows, (len(rows), *images.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: int | slice | list | Tensor) -> Tensor:
        return self.images[self.rows[places]]


Pixels = Tensor | Reshaped | Rows  # images (N, C, H, W) uint8: `len`, `shape`, and some of them as a tensor, by index


def viewed(images: Tensor, channels: int, size: int) -> Tensor | Reshaped:
    """Images in a shape, without a copy: themselves, if it is theirs."""
    return images if images.shape[1:] == (channels, size, size) else Reshaped(images, channels, size)
