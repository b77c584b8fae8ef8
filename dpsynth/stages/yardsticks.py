"""What samples are held against in a rehearsal, whose records are public: images without content, and a classifier that
knows the real ones."""

import torch

from dpsynth.artifacts import Answers, Samples
from dpsynth.checkpoints import Work
from dpsynth.data.public_sets import PublicSet
from dpsynth.metrics import classifiers
from dpsynth.recipes import work
from dpsynth.seeds import seed_of


@work
def noise(work: Work, public: PublicSet, *, n_classes: int, n_synthetic: int, seed: int) -> Samples:
    """Pixels drawn one by one with the mean and deviation that each channel has in public images; labels in turn."""
    draws = torch.Generator().manual_seed(seed_of(seed, "noise"))
    rows = torch.randint(0, len(public.labels), (n_synthetic,), generator=draws)
    pixels = public.images[rows].double().transpose(0, 1).flatten(1)
    mean, deviation = (values.view(1, -1, 1, 1) for values in (pixels.mean(1), pixels.std(1)))
    drawn = torch.randn((n_synthetic, *public.images.shape[1:]), generator=draws, dtype=torch.float64)
    images = (mean + deviation * drawn).round().clamp(0, 255).to(torch.uint8)
    return Samples(images, torch.arange(n_synthetic) % n_classes)


@work
def named(work: Work, real: Samples, samples: Samples, *, n_classes: int, seed: int) -> Answers:
    """Which samples the classifiers that learned from `real` name as they are labelled."""
    shown = samples.images, samples.labels
    return Answers(classifiers.right_answers(real.images, real.labels, *shown, n_classes, seed_of(seed, "named")))
