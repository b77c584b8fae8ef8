"""Our layers as library layers, for peers that know no others (Opacus), and for oracles."""

import copy

from torch import Tensor, nn
from torch.nn import functional as F

from dpsynth.privacy.engine.norm import GroupNormSwish


class Plain(nn.Module):
    """What `GroupNormSwish` computes, from torch's group norm."""

    def __init__(self, norm: GroupNormSwish):
        super().__init__()
        self.norm = nn.GroupNorm(norm.groups, len(norm.weight), norm.eps)
        self.norm.load_state_dict(norm.state_dict())
        self.swish = norm.swish

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        y = self.norm(x if shift is None else x + shift[:, :, None, None])
        return F.silu(y) if self.swish else y


def plain(model: nn.Module) -> nn.Module:
    """A copy of `model` with library layers alone; its parameters have the same order."""
    twin = copy.deepcopy(model)
    for module in list(twin.modules()):
        for name, child in module.named_children():
            if type(child) is GroupNormSwish:
                setattr(module, name, Plain(child))
    return twin
