"""Stage 05: draw synthetic images, and measure them and the reference rows against held-out real ones.

Only built-in benchmarks are measured; of a folder set the samples alone are shown.
"""

import math
from dataclasses import replace

import torch

from dpsynth import privacy, store
from dpsynth.artifacts import Base, Corpus, Extractor, Measurement, Prior, Samples, Synthesiser
from dpsynth.data import catalog
from dpsynth.metrics import classifiers, distances, extractors
from dpsynth.models import networks, samplers
from dpsynth.stages import dp_sgd, label_prior, planning, pretrain, selection


def run(p) -> dict[str, Measurement]:
    """Metrics of `p`'s row, with the facts of its synthesiser, and of its reference rows; empty for a folder set."""
    if not p.constants.builtin:
        return {}
    held_out, extractor = planning.private(p, "test"), store.build("extractor", train_extractor, p)
    found = {
        name: store.build("measurement", measure, p, samples=drawn, extractor=extractor, held_out=held_out)
        for name, drawn in rows(p).items()
    }
    own, facts = found[row_name(p)], dp_sgd.run(p).facts
    found[row_name(p)] = replace(own, values=own.values | {name: fact.item() for name, fact in facts.items()})
    return found


def rows(p) -> dict[str, Samples]:
    """Samples of each row: the method's own, then its reference rows.

    `floor_public` and `pretrained` where the corpus has the private labels, of private runs; `real`, of benchmarks.
    """
    found = {row_name(p): samples(p)}
    if not p.constants.builtin:
        return found
    corpus, base = selection.run(p), pretrain.run(p)
    if corpus is not None and corpus.private_labels and planning.run(p).is_private:
        found["floor_public"] = store.build("floor", floor, p, corpus=corpus)
        if base.private_labels:
            found["pretrained"] = store.build("pretrained", draw, p, model=base, prior=label_prior.run(p))
    found["real"] = store.build("real", real, p, private=planning.private(p))
    return found


def row_name(p) -> str:
    """The method's name in the tables; `nonprivate` for the twin at epsilon infinity."""
    return "nonprivate" if math.isinf(p.epsilon) else p.method


def samples(p) -> Samples:
    """Synthetic images of `p`, with labels from a uniform public prior, or from the one released with noise."""
    return store.build("samples", draw, p, model=dp_sgd.run(p), prior=label_prior.run(p))


def network(model: Base | Synthesiser) -> torch.nn.Module:
    """The stored model with the weights that samples are drawn from."""
    return networks.rebuild(model.architecture, model.averaged if isinstance(model, Base) else model.weights)


def preview(
    model: Base | Synthesiser, p, per_label: int, limit: int = 10
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """A few samples of each of the model's first labels, for a grid; nothing is stored.

    Returns:
        Images (n, C, S, S) uint8, labels (n,) and their names; n is at most limit * per_label.
    """
    drawn_from = network(model)
    limit = min(limit, drawn_from.n_labels)
    labels = torch.arange(limit).repeat_interleave(per_label)
    speaks = isinstance(model, Synthesiser) or model.private_labels
    names = p.constants.classes if speaks else [f"class {n}" for n in range(limit)]
    return samplers.sample(drawn_from, labels, store.seed_of(p.seed, "preview")), labels, list(names[:limit])


def by_label(drawn: Samples, p, per_label: int, limit: int = 10) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """The first `per_label` samples of each of the first `limit` labels that have any, for a grid: images, labels, and
    the names of all labels."""
    labels = drawn.labels.unique()[:limit]
    rows = torch.cat([(drawn.labels == label).nonzero().flatten()[:per_label] for label in labels])
    return drawn.images[rows], drawn.labels[rows], list(p.constants.classes)


def neighbours(p, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`n` synthetic images, the training record nearest to each in pixel space, and the distances. Benchmarks only."""
    images, _ = privacy.evaluation(planning.private(p), "nearest neighbours of synthetic images")
    synthetic = samples(p).images[:n]
    nearest, distance = distances.nearest(synthetic, images)
    return synthetic, images[nearest[:, 0]], distance[:, 0]


def embedding(p, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Joint t-SNE of extractor features of `n` synthetic and `n` held-out images.

    Returns:
        Points (2n, 2), labels (2n,), and which are synthetic (2n,) bool.
    """
    held_out, labels = privacy.evaluation(planning.private(p, "test"), "t-SNE of held-out records")
    drawn = samples(p)
    n = min(n, len(drawn.images), len(labels))
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(p.seed))[:n]
    images = torch.cat([drawn.images[:n], held_out[chosen]])
    extractor = extractors.convnet(store.build("extractor", train_extractor, p).weights)
    features = extractors.features(images, extractor)
    points = distances.tsne(features, p.seed)
    return points, torch.cat([drawn.labels[:n], labels[chosen]]), torch.arange(len(images)) < n


def strip(p) -> dict[str, torch.Tensor]:
    """One image a label from each stage, for the headline figure: (n, C, S, S) uint8 by stage."""
    found = {}
    corpus = selection.run(p)
    if p.constants.builtin:
        found["real"] = by_label(Samples(*privacy.evaluation(planning.private(p), "headline figure")), p, 1)[0]
    if corpus is not None and corpus.private_labels:
        seen = "selected public" if corpus.chosen else "released, moved"
        found[seen] = by_label(Samples(corpus.images, corpus.labels), p, 1)[0]
        if pretrain.run(p).private_labels:
            found["pre-trained"] = preview(pretrain.run(p), p, 1)[0]
    found["synthetic"] = preview(dp_sgd.run(p), p, 1)[0]
    return found


def draw(
    work: store.Work, model: Base | Synthesiser, prior: Prior | None, *, n_classes: int, n_synthetic: int, seed: int
) -> Samples:
    """Draw `n_synthetic` images, the labels in turn; with a released prior, as many of each as it says."""
    labels = torch.arange(n_synthetic) % n_classes if prior is None else label_prior.proportional(prior, n_synthetic)
    return Samples(samplers.sample(network(model), labels, store.seed_of(seed, "sample")), labels)


def floor(work: store.Work, corpus: Corpus, *, n_synthetic: int, seed: int) -> Samples:
    """The corpus itself, with its labels, used as if it were synthetic: at most `n_synthetic` images."""
    draws = torch.Generator().manual_seed(store.seed_of(seed, "floor"))
    chosen = torch.randperm(len(corpus.images), generator=draws)[:n_synthetic]
    return Samples(corpus.images[chosen], corpus.labels[chosen])


def real(work: store.Work, private: privacy.Private) -> Samples:
    """The private training records themselves: the upper reference row, an evaluation and not a release."""
    return Samples(*privacy.evaluation(private, "reference row `real`"))


def train_extractor(work: store.Work, *, extractor_steps: int) -> Extractor:
    """The convnet whose features the Frechet distance is taken on: public glyphs, no method sees it."""
    glyphs = catalog.public("glyphs", 1, 28)
    return Extractor(extractors.train_convnet(glyphs.images, glyphs.labels, len(glyphs.classes), extractor_steps))


def measure(
    work: store.Work, samples: Samples, extractor: Extractor, held_out: privacy.Private,
    *, n_classes: int, seed: int, inception: str | None,
) -> Measurement:  # fmt: skip
    """Distances to the held-out real images, and accuracy of classifiers trained on `samples` and tested on them.

    Args:
        inception: file of Inception's weights, for FID and KID; else the distances are on our own convnet's features.
    Raises:
        FileNotFoundError, ValueError: the file is missing, or not those weights.
    """
    images, labels = privacy.evaluation(held_out, "metrics on the held-out records")
    values = classifiers.accuracies(
        samples.images, samples.labels, images, labels, n_classes, store.seed_of(seed, "metrics")
    )
    seen_by = extractors.inception(inception) if inception else extractors.convnet(extractor.weights)
    values |= distances.between(samples.images, images, seen_by)
    return Measurement(values, len(samples.images), len(images), seen_by.name)
