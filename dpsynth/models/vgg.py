"""VGG-19 (Simonyan and Zisserman 2015) as a perceptual network, from a local file of torchvision's ImageNet weights."""

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpsynth import device
from dpsynth.models.classifier import rectified

FILE = "vgg19-dcbb9e9d.pth"
SIDE = 32  # the least that five halvings leave something of
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for pixels in [0, 1]


class Vgg19(nn.Module):
    """The 16 convolutions of VGG-19; each image is seen alone."""

    def __init__(self):
        super().__init__()
        from torchvision.models import vgg  # here, as it takes seconds

        self.features = vgg.make_layers(vgg.cfgs["E"], batch_norm=False)

    def activations(self, x: Tensor) -> Tensor:
        """What every ReLU says of each image.

        Args:
            x: (B, C, S, S) in [-1, 1], C 1 (shown as grey) or 3; smaller than 32x32 is enlarged to that.
        Returns:
            (B, D); D is 303,104 at 32x32.
        """
        if x.shape[-1] < SIDE:
            x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        mean, std = (x.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        return rectified(self.features, ((x + 1) / 2 - mean) / std)


def weights(path: str | Path, at: str | None = None) -> dict[str, Tensor]:
    """The convolutions' weights in torchvision's file; `at` "meta" only their shapes are read.

    Raises:
        FileNotFoundError: there is no such file. It is never downloaded.
        ValueError: the file holds something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"VGG-19's features need its weights, and {path} is not a file; get {FILE} as torchvision publishes it, or "
            "leave vgg19 out"
        )
    try:
        state = torch.load(path, map_location=at or device.kind(), weights_only=True)  # tensors, and no code
        convolutions = {name: w for name, w in state.items() if name.startswith("features.")}
        shapes = {name: w.shape for name, w in convolutions.items()}
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError):
        shapes = None
    with torch.device("meta"):
        if shapes != {name: w.shape for name, w in Vgg19().state_dict().items()}:
            raise ValueError(f"{path} does not hold the weights of VGG-19; get {FILE}")
    return convolutions
