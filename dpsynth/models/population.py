"""A synthesiser that is a set of images: what Private Evolution ends with."""

import torch
from torch import Tensor, nn

from dpsynth import device


class Population(nn.Module):
    """`each` images for each label, (n_labels * each, C, S, S) uint8, label after label."""

    def __init__(self, channels: int, size: int, n_labels: int, each: int):
        super().__init__()
        self.architecture = dict(network="population", channels=channels, size=size, n_labels=n_labels, each=each)
        self.n_labels, self.each = n_labels, each
        self.register_buffer("images", torch.zeros(n_labels * each, channels, size, size, dtype=torch.uint8))

    def sample(self, labels: Tensor, seed: int) -> Tensor:
        """Images for `labels`: (N,) -> (N, C, S, S) uint8; of one label, each is drawn once before any is drawn
        again."""
        draws, chosen = torch.Generator().manual_seed(seed), torch.empty_like(labels)
        for label in labels.unique():
            mine = (labels == label).nonzero()[:, 0]
            order = torch.randperm(self.each, generator=draws).repeat(-(-len(mine) // self.each))
            chosen[mine] = label * self.each + order[: len(mine)]
        return device.host(self.images)[chosen]
