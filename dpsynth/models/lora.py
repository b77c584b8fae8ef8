"""Low-rank adapters (Hu et al. 2021): W stays, and U V of rank r is learned beside it, U from zero.

Made of `nn.Linear` and `nn.Conv2d`, whose per-record gradients are exact, and merged into W once trained: a sampler
need not know of them. Candidates are the network's matrices: every `nn.Linear`, and with `convolutions` each kernel of
an `nn.Conv2d` as the matrix (Cout, Cin kh kw).
"""

import torch
from torch import Tensor, nn

from dpsynth import device
from dpsynth.models.networks import seeded

RANK = 4  # as DP-SAPF, Sec. 5


class Adapted(nn.Module):
    """A frozen linear or convolutional layer, and its adapter: y = W x + U (V x), U zero at first."""

    def __init__(self, layer: nn.Linear | nn.Conv2d):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        if isinstance(layer, nn.Linear):
            self.inward = nn.Linear(layer.in_features, RANK, bias=False)
            self.outward = nn.Linear(RANK, layer.out_features, bias=False)
        else:
            shape, at = (layer.in_channels, RANK, layer.kernel_size), {"stride": layer.stride, "padding": layer.padding}
            self.inward = nn.Conv2d(*shape, **at, bias=False)
            self.outward = nn.Conv2d(RANK, layer.out_channels, 1, bias=False)
        nn.init.zeros_(self.outward.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.outward(self.inward(x))

    @torch.no_grad()
    def merged(self) -> nn.Linear | nn.Conv2d:
        """The layer, with U V added to its W."""
        product = self.outward.weight.flatten(1) @ self.inward.weight.flatten(1)
        self.layer.weight += product.view_as(self.layer.weight)
        return self.layer


def candidates(model: nn.Module, convolutions: bool) -> list[str]:
    """Names of the layers whose matrices may be adapted, in the network's order; frozen ones are none."""
    kinds = (nn.Linear, nn.Conv2d) if convolutions else (nn.Linear,)
    return [name for name, layer in model.named_modules() if isinstance(layer, kinds) and layer.weight.requires_grad]


def adapt(model: nn.Module, names: list[str], seed: int) -> None:
    """Freeze `model` and give an adapter to each of the named layers; V depends on the seed alone."""
    model.requires_grad_(False)
    with seeded(seed):
        for name in names:
            _replace(model, name, device.placed(Adapted(model.get_submodule(name))))


def merge(model: nn.Module) -> None:
    """Put the product of each adapter into its layer, and take the adapter away."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Adapted):
            _replace(model, name, module.merged())


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)
