"""ResNet-9, the papers' classifier of colour images, and how it is trained on synthetic ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsynth import device
from dpsynth.models import networks, training
from dpsynth.models.classifier import cross_entropy
from dpsynth.models.pixels import scaled

EPOCHS, BATCH, RATE, DECAY = 12, 512, 4e-3, 0.05
WIDTH = 64  # channels of the first convolution
SHIFT = 4  # pixels that a crop moves by, at most


class ResNet9(nn.Module):
    """(B, C, S, S) float32 in [-1, 1], S 8 or more -> logits (B, n_classes); 6.6 million weights.

    The network of PrivImage's evaluation: convolutions of 64, 128, 256 and 512 channels, of which the last three halve
    the image, two residual blocks between them, and the largest value of each channel.
    """

    def __init__(self, channels: int, n_classes: int):
        super().__init__()
        narrow, wide, deep = 2 * WIDTH, 4 * WIDTH, 8 * WIDTH
        self.start = nn.Sequential(_block(channels, WIDTH), _block(WIDTH, narrow, nn.MaxPool2d(2)))
        self.first = nn.Sequential(_block(narrow, narrow), _block(narrow, narrow))
        self.middle = nn.Sequential(_block(narrow, wide, nn.MaxPool2d(2)), _block(wide, deep, nn.MaxPool2d(2)))
        self.last = nn.Sequential(_block(deep, deep), _block(deep, deep))
        self.head = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(deep, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        x = self.middle(x + self.first(x))
        return self.head(x + self.last(x))


def _block(channels: int, width: int, *pool: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True), *pool
    )


def trained(images: Tensor, labels: Tensor, n_classes: int, seed: int) -> ResNet9:
    """A `ResNet9` in eval mode, where networks compute, that has learned to name `images`.

    AdamW, one-cycle up to 4e-3, 12 epochs of batches of 512, or of a tenth of a smaller set; each image flipped with
    probability 1/2 and moved by up to 4 pixels, black coming in. The last epoch stands. (PrivImage: 50 epochs of SGD at
    0.1 under a cosine, flips alone.)

    Args:
        images: uint8 (N, C, S, S); labels: (N,) int64 in [0, n_classes). They are on the device as a whole.
        seed: of initial weights, batches, flips, moves and dropout.
    """
    n = len(images)
    steps = -(-n // min(BATCH, -(-n // 10)))  # an epoch
    draws = torch.Generator().manual_seed(seed)
    x, y = device.put(images), device.put(labels)
    with networks.seeded(seed):  # dropout knows no other generator than the global one
        network = device.placed(ResNet9(images.shape[1], n_classes)).train()
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * steps)
        for _ in range(EPOCHS):
            # of about equal size, so that of 20 images or more no batch has a single one, whose deviation is none
            for rows in torch.randperm(n, generator=draws).tensor_split(steps):
                moves, rows = _moves(len(rows), draws), device.put(rows)
                training.descend(optimizer, cross_entropy(network, scaled(augmented(x[rows], *moves)), y[rows]))
                schedule.step()
    return network.eval()


def _moves(n: int, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Of n images: which are flipped, (n,) bool; how far down and across they move, (n,) each in -SHIFT to SHIFT."""
    flips = torch.rand(n, generator=draws) < 0.5
    down, across = torch.randint(-SHIFT, SHIFT + 1, (2, n), generator=draws)
    return device.put(flips), device.put(down), device.put(across)


def augmented(x: Tensor, flips: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """x (B, C, H, W) uint8, each image flipped left to right where `flips`, then moved, black coming in."""
    height, width = x.shape[2:]
    x = torch.where(flips[:, None, None, None], x.flip(3), x)
    padded = F.pad(x, (SHIFT,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, down, across, H, W), nothing copied
    return windows[torch.arange(len(x), device=x.device), :, SHIFT - down, SHIFT - across]
