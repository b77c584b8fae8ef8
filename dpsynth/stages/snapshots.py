"""Samples kept along private training, for its figure: of released weights, so free."""

from torch import Tensor, arange

from dpsynth.models import gan, networks, samplers, training
from dpsynth.seeds import seed_of

TIMES, PER_LABEL, MOST_LABELS = 5, 2, 10  # how often; of a label; of how many labels


def every(n_steps: int) -> int:
    """Steps between two of them."""
    return max(1, n_steps // TIMES)


def of(generator: gan.Generator, averaged: training.Average, seed: int) -> Tensor:
    """A few samples of the averaged generator, always of the same latents: (rows, C, S, S) uint8."""
    twin = networks.rebuild(generator.architecture, averaged.weights)
    labels = arange(min(MOST_LABELS, generator.n_labels)).repeat_interleave(PER_LABEL)
    return samplers.generated(twin, labels, seed_of(seed, "snapshots"))


def captioned(images: list[Tensor], word: str, every: int = 1) -> dict[str, Tensor]:
    """Snapshots by caption, one of `every` so many steps; numbers are padded, so that captions sort as they come."""
    width = len(str(every * len(images)))
    return {f"{word} {every * number:0{width}d}": shown for number, shown in enumerate(images, 1)}
