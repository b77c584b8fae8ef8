"""Stage 05: draw synthetic images, and measure them and the reference rows against held-out real ones.

Only built-in benchmarks are measured; of a folder set the samples alone are shown.
"""

import torch

from dpsynth import privacy
from dpsynth.artifacts import Answers, Base, Corpus, Extractor, LabelCounts, Measurement, Samples, Synthesiser
from dpsynth.checkpoints import Work
from dpsynth.data.public_sets import PublicSet
from dpsynth.metrics import classifiers, distances, extractors
from dpsynth.metrics.extractors import FeatureExtractor
from dpsynth.models import networks, samplers
from dpsynth.recipes import work
from dpsynth.seeds import seed_of
from dpsynth.stages import label_prior


@work(joined=True)
def draw(
    work: Work, model: Base | Synthesiser, prior: LabelCounts | None, *, n_classes: int, n_synthetic: int, seed: int
) -> Samples:
    """Draw `n_synthetic` images, the labels in turn; with a released prior, as many of each as it says."""
    network = networks.rebuild(model.architecture, model.averaged if isinstance(model, Base) else model.weights)
    labels = torch.arange(n_synthetic) % n_classes if prior is None else label_prior.proportional(prior, n_synthetic)
    return Samples(samplers.sample(network, labels, seed_of(seed, "sample")), labels)


@work
def floor(work: Work, corpus: Corpus, *, n_synthetic: int, seed: int) -> Samples:
    """The corpus itself, with its labels, used as if it were synthetic: at most `n_synthetic` images."""
    draws = torch.Generator().manual_seed(seed_of(seed, "floor"))
    chosen = torch.randperm(len(corpus.labels), generator=draws)[:n_synthetic]
    return Samples(corpus.pixels[chosen], corpus.labels[chosen])


@work
def real(work: Work, private: privacy.Private) -> Samples:
    """The private training records themselves: the upper reference row, an evaluation and not a release."""
    return Samples(*privacy.evaluation(private, "reference row `real`"))


@work
def train_extractor(work: Work, glyphs: PublicSet, *, extractor_steps: int) -> Extractor:
    """The convnet whose features the Frechet distance is taken on: public glyphs, no method sees it."""
    return Extractor(extractors.train_convnet(glyphs.images, glyphs.labels, len(glyphs.classes), extractor_steps))


@work
def measure(
    work: Work, samples: Samples, extractor: Extractor | None, held_out: privacy.Private,
    *, n_classes: int, seed: int, inception: str | None,
) -> Measurement:  # fmt: skip
    """Distances to the held-out real images; and accuracy of classifiers trained on `samples` and tested on them, where
    there are two labels or more.

    Args:
        extractor, inception: as of `seen_by`.
    Raises:
        FileNotFoundError, ValueError: the file is missing, or not those weights.
    """
    images, labels = privacy.evaluation(held_out, "metrics on the held-out records")
    values, network = {}, seen_by(extractor, inception)
    if n_classes > 1:
        pair = samples.images, samples.labels, images, labels
        values = classifiers.accuracies(*pair, n_classes, seed_of(seed, "metrics"))
    values |= distances.between(samples.images, images, network)
    return Measurement(values, len(samples.images), len(images), network.name)


def seen_by(extractor: Extractor | None, inception: str | None) -> FeatureExtractor:
    """The network on whose features distances are taken.

    Args:
        extractor: weights of our own convnet; None for EfficientNet-Lite0.
        inception: file of Inception's weights, for FID and KID; goes before both.
    Raises:
        FileNotFoundError, ValueError: the file is missing, or not those weights.
    """
    if inception:
        return extractors.inception(inception)
    return extractors.convnet(extractor.weights) if extractor else extractors.effnet()


@work
def draw_public(work: Work, model: Base, *, n_synthetic: int, seed: int) -> Samples:
    """Images of a base that speaks public labels, these in turn: what it knows before it learns from the records."""
    network = networks.rebuild(model.architecture, model.averaged)
    labels = torch.arange(n_synthetic) % network.n_labels
    return Samples(samplers.sample(network, labels, seed_of(seed, "sample")), labels)


@work
def measure_distances(
    work: Work, samples: Samples, extractor: Extractor | None, held_out: privacy.Private, *, inception: str | None
) -> Measurement:
    """The distances of `measure` alone, of images whose labels are not the private ones."""
    images, _ = privacy.evaluation(held_out, "distances to the held-out records")
    network = seen_by(extractor, inception)
    values = distances.between(samples.images, images, network)
    return Measurement(values, len(samples.images), len(images), network.name)


@work
def answer(work: Work, samples: Samples, held_out: privacy.Private, *, n_classes: int, seed: int) -> Answers:
    """Image by image what `measure` averages: two rows that are judged by the same images err on the same ones."""
    images, labels = privacy.evaluation(held_out, "answers on the held-out records")
    pair = samples.images, samples.labels, images, labels
    return Answers(classifiers.right_answers(*pair, n_classes, seed_of(seed, "metrics")))
