"""What the figures of a run are made of: images, points and names, drawn or read from its artifacts.

Those that open a benchmark's records do so through `privacy.evaluation`, and are listed by a test.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dpsynth import privacy, recipes, store
from dpsynth.artifacts import Base, Corpus, Samples, SemanticHistogram, Synthesiser
from dpsynth.methods import dp_sapf, gans
from dpsynth.metrics import distances, extractors
from dpsynth.models import networks, samplers
from dpsynth.models.trainable import by_part, restrict
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy import Counts, accounting
from dpsynth.recipes import Recipe
from dpsynth.seeds import seed_of
from dpsynth.stages import dp_sgd, evaluate, query, selection

LIMIT = 10  # labels that a picture shows; of images without labels it shows so many times as many
# Of the recall curve: 4 is ours at epsilon 10, 484 the papers' for CIFAR-10, which is as 39 for 4,000 records.
NOISE = (2, 4, 10, 20, 39, 50, 100, 200, 484)

Grid = tuple[Tensor, Tensor, list[str]]  # images (n, C, S, S) uint8, labels (n,), the names of all labels


def favourites(run: Run) -> dict[str, Tensor]:
    """For each of the first rows of the noisy histogram, by its name, an example image of each of the classes with most
    votes, eight at most: (n, C, H, W)."""
    release, public = run.release, run.public
    first = [int((public.labels == c).nonzero()[0]) for c in range(len(public.classes))]
    most = release.histogram[:LIMIT].topk(min(8, len(first)), dim=1).indices.tolist()
    names = list(run.params.constants.classes[:LIMIT]) if release.by_label else ["all records"]
    return {name: public.images[[first[c] for c in row]] for name, row in zip(names, most, strict=True)}


def recall_curve(run: Run, n_draws: int = 20) -> dict[str, Tensor]:
    """Share of the noiseless picks that noisy picks recover, against the query's noise multiplier.

    Opens the records of a built-in benchmark.

    Returns:
        `noise` (S,), `recall` (S, n_draws) in [0, 1], `epsilon` (S,): what such a query alone would cost.
    """
    histogram = votes_without_noise(run).histogram
    votes, draws = run.options.votes, torch.Generator().manual_seed(run.params.seed)
    queries = [Counts("query", votes, noise) for noise in NOISE]
    recall = [selection.recall(histogram, run.options.kept, query.scale, draws, n_draws) for query in queries]
    alone = [accounting.epsilon([query], run.params.delta) for query in queries]
    return {"noise": torch.tensor(NOISE), "recall": torch.stack(recall), "epsilon": torch.tensor(alone)}


def votes_without_noise(run: Run) -> SemanticHistogram:
    """What the query would answer without noise: an evaluation on a public benchmark, not a release."""
    recipe = _votes(run)
    return store.build(replace(recipe, inputs=recipe.inputs | {"encoder": run.encoder}))


def _votes(run: Run) -> Recipe:
    inputs = {"private": run.private, "encoder": run.recipe("encoder")}
    return run.as_it_stands(recipes.recipe("votes", query.exact_histogram, run.settings, **inputs))


def beside(run: Run) -> dict[str, tuple[Recipe, Callable[[], Any]]]:
    """What the run's pages make beside its own artifacts, by a name for people, and what makes or loads each."""
    works: dict[str, tuple[Recipe, Callable[[], Any]]] = {}
    if run.row.page is None and run.params.constants.builtin:
        works["votes without noise"] = _votes(run), partial(votes_without_noise, run)
    if run.row.page is None and (twin := _without_amp(run)):
        works["base without AMP"] = twin.recipe("base"), partial(with_and_without, run)
    return works


def examples(corpus: Corpus, names: tuple[str, ...], n: int) -> Grid:
    """`n` images of each of the first labels that have any, of its classes in turn."""
    labels = corpus.labels.unique().tolist()[:LIMIT]
    n = _each(n, corpus.n_labels)
    rows = torch.cat([_in_turn((corpus.labels == label).nonzero().flatten(), n) for label in labels])
    classes = names if corpus.private_labels else [f"class {label}" for label in range(corpus.n_labels)]
    return corpus.pixels[rows], corpus.labels[rows], list(classes)


def _in_turn(rows: Tensor, n: int) -> Tensor:
    """`n` of the rows, evenly spread: a corpus holds a label's classes one after the other, equally many of each."""
    return rows[torch.arange(min(n, len(rows))) * len(rows) // min(n, len(rows))]


def preview(run: Run, model: Base | Synthesiser, per_label: int) -> Grid:
    """A few samples of each of the model's first labels; nothing is stored."""
    network = networks.rebuild(model.architecture, model.averaged if isinstance(model, Base) else model.weights)
    n_labels = min(LIMIT, network.n_labels)
    labels = torch.arange(n_labels).repeat_interleave(_each(per_label, n_labels))
    speaks = isinstance(model, Synthesiser) or model.private_labels
    names = run.params.constants.classes if speaks else [f"class {n}" for n in range(n_labels)]
    images = samplers.sample(network, labels, seed_of(run.params.seed, "preview"))
    return images, labels, list(names[:n_labels])


def by_label(samples: Samples, p: Params, per_label: int) -> Grid:
    """The first `per_label` samples of each of the first labels that have any."""
    labels, each = samples.labels.unique()[:LIMIT], _each(per_label, p.n_classes)
    rows = torch.cat([(samples.labels == label).nonzero().flatten()[:each] for label in labels])
    return samples.images[rows], samples.labels[rows], list(p.constants.classes)


def _each(per_label: int, n_labels: int) -> int:
    return per_label if n_labels > 1 else LIMIT * per_label


def neighbours(run: Run, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """`n` synthetic images, the training record nearest to each in pixel space, and the distances. Benchmarks only."""
    images, _ = privacy.evaluation(run.private, "nearest neighbours of synthetic images")
    synthetic = run.samples.images[:n]
    nearest, distance = distances.nearest(synthetic, images)
    return synthetic, images[nearest[:, 0]], distance[:, 0]


def embedding(run: Run, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Joint t-SNE of features of `n` synthetic and `n` held-out images, by the extractor of the distances.

    Returns:
        Points (2n, 2), labels (2n,), and which are synthetic (2n,) bool.
    """
    held_out, labels = privacy.evaluation(run.held_out, "t-SNE of held-out records")
    samples, seed = run.samples, run.params.seed
    n = min(n, len(samples.images), len(labels))
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:n]
    images = torch.cat([samples.images[:n], held_out[chosen]])
    features = extractors.features(images, evaluate.seen_by(run.artifact("extractor"), run.params.inception))
    labels = torch.cat([samples.labels[:n], labels[chosen]])
    return distances.tsne(features, seed), labels, torch.arange(len(images)) < n


def strip(run: Run) -> dict[str, Tensor]:
    """From each stage one image a label, of images without labels ten, for the headline figure: (n, C, S, S) uint8."""
    images, p = {}, run.params
    if p.constants.builtin:
        images["real"] = by_label(Samples(*privacy.evaluation(run.private, "headline figure")), p, 1)[0]
    if (corpus := run.corpus) is not None and corpus.private_labels:
        corpus_row = "selected public" if corpus.chosen else "released, moved"
        images[corpus_row] = examples(corpus, p.constants.classes, 1)[0]
        if run.base.private_labels:
            images["pre-trained"] = preview(run, run.base, 1)[0]
    images["synthetic"] = preview(run, run.synthesiser, 1)[0]
    return images


def headings(p: Params) -> list[str]:
    """What stands above the columns of `strip`: the labels, if there are several."""
    return list(p.constants.classes[:LIMIT]) if p.n_classes > 1 else []


def with_and_without(run: Run) -> dict[str, Base]:
    """The base with and without perturbation, for methods that perturb; else the base alone."""
    twin = _without_amp(run)
    return {"with AMP": run.base, "without AMP": twin.base} if twin else {"pre-training": run.base}


def _without_amp(run: Run) -> Run | None:
    """The same run without perturbation, its artifacts of the same machine; None if it has none."""
    if not run.settings.get("amp_gamma"):
        return None
    twin = Run(run.params.replace(options={**run.params.options, "amp_gamma": 0.0}), run.private)
    _ = run.recipe("base")  # by which a machine is chosen, where there are several
    twin.machine = run.machine
    return twin


def learning_parts(run: Run) -> dict[str, tuple[int, int]]:
    """Weights of each part of the denoiser, (those that learn, all), by its name."""
    model = dp_sgd.ready(run.base, run.params.n_classes, 0)
    restrict(model, run.settings["trainable"])
    return by_part(model)


def chosen_matrices(run: Run) -> tuple[Tensor, list[str], list[str], float]:
    """Of the probe: scores, names of their matrices, names of those that learned, deviation of the noise."""
    probe, how = run.probe, {name: run.settings[name] for name in ("choice", "unit", "share", "seed")}
    return probe.scores, probe.names, dp_sapf.pick(probe.names, probe.scores, **how), probe.scale


def noise_to_signal(run: Run) -> tuple[list[str], list[float]]:
    """As `gans.noise_to_signal`, of the plan's DP-SGD."""
    return gans.noise_to_signal(run.base, run.plan.mechanism("dp_sgd"), run.params.n_classes, run.params.seed)
