"""The semantic query function's network for colour: a ResNet for small images, trained on public images alone.

PrivImage queries through a ResNet-50 (App. C.2, Table 7) of the CIFAR form of He et al. (2016): a 3x3 convolution
where networks for large images have a 7x7 one and a maximum, so that 32 pixels become 4 and not 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsynth import device

STAGES = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}  # blocks of each stage, He et al. (2016), Table 1
WIDTHS = (64, 128, 256, 512)
EXPANSION = {"resnet18": 1, "resnet50": 4}  # channels of a block's output, over those within it
BORDER = 4  # pixels that a crop is moved by at most


class Block(nn.Module):
    """(B, C, H, W) -> (B, C', H', W'): relu(shortcut + branch), each convolution with batch norm.

    Args:
        within: channels of the branch; expansion: 1, two 3x3 convolutions; 4, a 3x3 one between two 1x1 ones.
    """

    def __init__(self, inward: int, within: int, expansion: int, stride: int):
        super().__init__()
        outward = expansion * within
        if expansion == 1:
            branch = [normed(inward, within, 3, stride), nn.ReLU(), normed(within, outward, 3)]
        else:
            branch = [normed(inward, within, 1), nn.ReLU(), normed(within, within, 3, stride), nn.ReLU(),
                      normed(within, outward, 1)]  # fmt: skip
        self.branch = nn.Sequential(*branch)
        same = stride == 1 and inward == outward
        self.shortcut = nn.Identity() if same else normed(inward, outward, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.branch(x))


class ResNet(nn.Module):
    """(B, C, S, S) float32 in [-1, 1] -> logits (B, n_classes).

    Batch normalisation couples public images while training; in `eval` mode, as the query uses it, each image is seen
    alone.

    Args:
        kind: "resnet18", 11 million weights, or "resnet50", 25.5 million with 1,000 classes.
    """

    def __init__(self, channels: int, n_classes: int, kind: str):
        super().__init__()
        expansion, here = EXPANSION[kind], WIDTHS[0]
        self.stem, self.stages = nn.Sequential(normed(channels, here, 3), nn.ReLU()), nn.ModuleList()
        for stage, (within, blocks) in enumerate(zip(WIDTHS, STAGES[kind], strict=True)):
            first = Block(here, within, expansion, stride=2 if stage else 1)
            here = expansion * within
            self.stages.append(nn.Sequential(first, *(Block(here, within, expansion, 1) for _ in range(blocks - 1))))
        self.head = nn.Linear(here, n_classes)

    def maps(self, x: Tensor) -> list[Tensor]:
        """What each stage says of each image."""
        said, x = [], self.stem(x)
        for stage in self.stages:
            x = stage(x)
            said.append(x)
        return said

    def activations(self, x: Tensor) -> Tensor:
        """What the stages say of each image, flattened and joined: (B, C, S, S) -> (B, D)."""
        return torch.cat([said.flatten(1) for said in self.maps(x)], dim=1)

    def features(self, x: Tensor) -> Tensor:
        """Means over positions of what the last stage says: (B, C, S, S) -> (B, D)."""
        return self.maps(x)[-1].mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def normed(inward: int, outward: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the side but for its stride, and batch norm."""
    convolution = nn.Conv2d(inward, outward, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outward))


def augmented(x: Tensor, draws: torch.Generator) -> Tensor:
    """Each image, or its mirror image, cropped anew out of a border of `BORDER` grey pixels: (B, C, S, S) -> the same.

    As He et al. (2016), Sec. 4.2. Zero is grey, in [-1, 1]. The draws are made on the host.
    """
    mirrored = device.put(torch.rand(len(x), 1, 1, 1, generator=draws) < 0.5)
    down, right = device.put(torch.randint(2 * BORDER + 1, (2, len(x)), generator=draws))
    padded = F.pad(torch.where(mirrored, x.flip(3), x), [BORDER] * 4)
    side, image = torch.arange(x.shape[3], device=x.device), torch.arange(len(x), device=x.device)[:, None, None]
    rows, columns = (down[:, None] + side)[:, :, None], (right[:, None] + side)[:, None, :]
    return padded.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 3, 1, 2)
