"""The semantic query function's network: a small convolutional classifier, trained on public images alone."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsynth import device


class Classifier(nn.Module):
    """(B, C, S, S) float32 in [-1, 1] -> logits (B, n_classes).

    PrivImage trains a ResNet-50 on ImageNet; here four layers do. Batch normalisation couples public images while
    training; in `eval` mode, as the query uses it, each image is seen alone.
    """

    def __init__(self, channels: int, n_classes: int):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 5, stride=2, padding=2), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(16 * 128, 256), nn.BatchNorm1d(256), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(256, n_classes)

    def activations(self, x: Tensor) -> Tensor:
        """What every ReLU says of each image: (B, C, S, S) -> (B, D)."""
        return rectified(self.features, x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def cross_entropy(model: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of a classifier's logits on x (B, C, S, S) and labels (B,), computed in the precision that the
    machine is quickest in."""
    with device.autocast(device.precision(), x):
        logits = model(x)
    return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


def rectified(layers: nn.Sequential, x: Tensor) -> Tensor:
    """What every ReLU of `layers` says of each row of x, flattened and joined: (B, ...) -> (B, D)."""
    activations = []
    for layer in layers:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            activations.append(x.flatten(1))
    return torch.cat(activations, dim=1)
