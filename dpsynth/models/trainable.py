"""Which weights of a denoiser learn from private records.

Fewer weights give noise fewer places to go. DP-LDM (Lyu et al. 2023) trains the attention modules and the label
embedder; in the form for networks on pixels (DPImageBench) also the time maps and the first convolution. Both networks
name these alike, so that `light` means the same in both: in `ddpmpp.DDPMpp` every attention, at whatever level.
"""

from typing import Literal

from torch import nn

Trainable = Literal["all", "light"]
LIGHT = ("net.attention", "net.label.", "net.time.", "net.stem.")


def restrict(model: nn.Module, which: Trainable) -> None:
    """Freeze what `which` does not name; what is frozen already stays so.

    Args:
        which: "all", or "light": attention, label table, time maps and first convolution.
    """
    for name, parameter in model.named_parameters():
        if which == "light" and not name.startswith(LIGHT):
            parameter.requires_grad_(False)


def learning(model: nn.Module) -> float:
    """The share of the weights that learn, in percent."""
    learns, every = map(sum, zip(*by_part(model).values(), strict=True))
    return 100 * learns / every


def by_part(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Weights of each part of the network, (those that learn, all), by its name."""
    weights: dict[str, tuple[int, int]] = {}
    for name, parameter in model.named_parameters():
        part = name.split(".")[1] if name.startswith("net.") else name.split(".")[0]
        learns, every = weights.get(part, (0, 0))
        weights[part] = (learns + parameter.numel() * parameter.requires_grad, every + parameter.numel())
    return weights
