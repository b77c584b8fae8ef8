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
        resized = (
            F.interpolate(batch.float(), (size, size), mode="bicubic", antialias=True)
            for batch in images.split(AT_ONCE)
        )
        images = torch.cat([batch.round().clamp(0, 255).to(torch.uint8) for batch in resized])
    return images.expand(-1, channels, -1, -1).contiguous()
