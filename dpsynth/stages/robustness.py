"""How much a denoiser's loss rises when its weights are moved: what RPGen's perturbation is to lower (RPGen, Eq. 3).

RPGen claims that robustness which is learned on public images transfers to private ones, and has no experiment on it.
Here the loss is measured on both, before and after DP-SGD. An evaluation on a public benchmark, not a release.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dpsynth import device, privacy
from dpsynth.artifacts import Base, Corpus, Curves, Synthesiser
from dpsynth.checkpoints import Work
from dpsynth.models import diffusion, networks
from dpsynth.models.diffusion import PublicDraws
from dpsynth.models.pixels import scaled
from dpsynth.recipes import work
from dpsynth.seeds import seed_of

GAUSSIAN = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)  # norms of a random move of all weights together
ADVERSARIAL = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # norms of a move up the gradient; RPGen's gamma is 0.2
DIRECTIONS = 4  # random ones
IMAGES = 500

Loss = Callable[[], Tensor]


@work
def robustness(
    work: Work, corpus: Corpus, base: Base, synthesiser: Synthesiser, held_out: privacy.Private, *, seed: int
) -> Curves:
    """The denoising loss over the norm of a move of the weights.

    Of the base (its average, from which DP-SGD starts) and of the synthesiser, on images of the corpus and on held-out
    private ones, 500 each with the same noise for every move: `loss-<model>-<images>-<move>`, and less what it is
    without a move, `rise-...`. A Gaussian move is a random direction (mean of 4), an adversarial one the gradient of
    that loss.

    Raises:
        ValueError: the base does not speak the private labels, or is no denoiser.
    """
    if not base.private_labels or base.architecture["network"] != "denoiser":
        raise ValueError("robustness is measured of denoisers whose base speaks the private labels")
    chosen = torch.randperm(len(corpus.labels), generator=_draws(seed, "corpus"))[:IMAGES]
    images, labels = privacy.evaluation(held_out, "loss of moved weights on held-out records")
    sets = {
        "public": (corpus.pixels[chosen], corpus.labels[chosen]),
        "private": (images[:IMAGES], labels[:IMAGES]),
    }
    models = {"base": base.averaged, "synthesiser": synthesiser.weights}
    curves = {}
    for name, weights in models.items():
        model = networks.rebuild(base.architecture, weights)
        for where, pair in sets.items():
            for move, values in _moved(model, _loss(model, *pair, seed), seed).items():
                curves[f"loss-{name}-{where}-{move}"] = values
                curves[f"rise-{name}-{where}-{move}"] = values - torch.tensor([0.0, values[0, 1]])
    return Curves(curves)


def _loss(model: diffusion.Denoiser, images: Tensor, labels: Tensor, seed: int) -> Loss:
    x, y = scaled(device.put(images)), device.put(labels)

    def mean() -> Tensor:
        return diffusion.losses(model, x, y, PublicDraws(_draws(seed, "noise"), len(x))).mean()

    return mean


def _moved(model: diffusion.Denoiser, loss: Loss, seed: int) -> dict[str, Tensor]:
    """The loss along each kind of move, (S, 2) float64: norm and loss."""
    weights = list(model.parameters())
    gradient = torch.autograd.grad(loss(), weights)
    random = []
    for number in range(DIRECTIONS):
        draws = _draws(seed, "direction", str(number))
        random.append([device.put(torch.randn(w.shape, generator=draws)) for w in weights])
    moves = {"gaussian": (GAUSSIAN, random), "adversarial": (ADVERSARIAL, [gradient])}
    curves = {}
    for name, (norms, directions) in moves.items():
        values = [sum(_at(weights, each, norm, loss) for each in directions) / len(directions) for norm in norms]
        curves[name] = torch.tensor([norms, values], dtype=torch.float64).T.contiguous()
    return curves


@torch.no_grad()
def _at(weights: list[Tensor], direction: list[Tensor], norm: float, loss: Loss) -> float:
    """The loss with the weights moved by `norm` along `direction`; they are put back."""
    before = [w.clone() for w in weights]
    length = torch.stack(torch._foreach_norm(direction)).norm()
    torch._foreach_add_(weights, torch._foreach_mul(direction, norm / length.clamp(min=1e-12)))
    value = loss().item()
    torch._foreach_copy_(weights, before)
    return value


def _draws(seed: int, *names: str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(seed, "robustness", *names))
