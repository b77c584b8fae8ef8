"""Images in another shape: colours averaged or grey repeated, and resized."""

import torch
from torch import Tensor
from torch.nn import functional as F

AT_ONCE = 2048  # images that are floats at a time


def in_shape(images: Tensor, channels: int, size: int) -> Tensor:
    """(N, C, H, W) uint8 as (N, channels, size, size) uint8; resizing is bicubic and antialiased."""
    if channels < images.shape[1]:
        images = torch.cat([p.float().mean(1, keepdim=True).round().to(torch.uint8) for p in images.split(AT_ONCE)])
    if images.shape[2:] != (size, size):
        parts = (
            F.interpolate(part.float(), (size, size), mode="bicubic", antialias=True).round().clamp(0, 255)
            for part in images.split(AT_ONCE)
        )
        images = torch.cat([part.to(torch.uint8) for part in parts])
    return images.expand(-1, channels, -1, -1).contiguous()
