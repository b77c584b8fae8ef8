"""Pictures of a whole parameter file: its runs side by side, as in the papers' figures of samples and embeddings.

Of each setting its first seed; of more settings than a page takes, those at the file's usual budget.
"""

from collections.abc import Callable

import torch

from dpsynth import figures, privacy
from dpsynth.artifacts import Samples
from dpsynth.experiments import Experiment
from dpsynth.figures.style import Picture, called
from dpsynth.metrics import distances, extractors
from dpsynth.pipeline import Run
from dpsynth.report import pictures
from dpsynth.stages import evaluate

ROWS = 3  # of images of each set
POINTS = 400  # images of each set in an embedding


def draw(experiment: Experiment, runs: list[Run], badge: str) -> dict[str, Picture]:
    """The pictures that a parameter file asks for, by name.

    Args:
        runs: those of its runs that are made.
    """
    first = list({label(experiment, run): run for run in reversed(runs)}.items())[::-1]
    return {name: DRAWN[name](dict(first), experiment.reproduces, badge) for name in experiment.pictures}


def label(experiment: Experiment, run: Run) -> str:
    """What a setting is called: its method, and what sets it apart in the file."""
    apart = experiment.variant(run.params)
    method = called(run.params.method)
    return f"{method}, {apart}" if apart else method


def _samples(runs: dict[str, Run], title: str, badge: str) -> Picture:
    run = next(iter(runs.values()))
    real = Samples(*privacy.evaluation(run.private, "samples beside real images"))
    sets = {"real": real} | {name: each.samples for name, each in runs.items()}
    shown = {name: _rows(samples, run) for name, samples in sets.items()}
    return figures.beside(shown, title=title, badge=badge, classes=pictures.headings(run.params))


def _rows(samples: Samples, run: Run) -> torch.Tensor:
    """`ROWS` rows of one image a label, or of ten images without labels: (rows, labels, C, H, W)."""
    images, labels, _ = pictures.by_label(samples, run.params, ROWS)
    columns = len(labels.unique()) if run.params.n_classes > 1 else pictures.LIMIT
    if run.params.n_classes > 1:
        return images.unflatten(0, (columns, ROWS)).transpose(0, 1)
    return images[: ROWS * columns].unflatten(0, (ROWS, columns))


def _embedding(runs: dict[str, Run], title: str, badge: str) -> Picture:
    """One t-SNE of all sets, on the features of the distances' extractor (PrivImage: of each set's own CNN)."""
    run = next(iter(runs.values()))
    held_out = Samples(*privacy.evaluation(run.held_out, "t-SNE beside held-out records"))
    sets = {"real": held_out} | {name: each.samples for name, each in runs.items()}
    draws = torch.Generator().manual_seed(run.params.seed)
    images, labels, names = [], [], []
    for name, samples in sets.items():
        rows = torch.randperm(len(samples.labels), generator=draws)[:POINTS]
        images.append(samples.images[rows])
        labels.append(samples.labels[rows])
        names += [name] * len(rows)
    extractor = evaluate.seen_by(run.artifact("extractor"), run.params.inception)
    points = distances.tsne(extractors.features(torch.cat(images), extractor), run.params.seed)
    return figures.embeddings(points, torch.cat(labels), names, run.params.constants.classes, title=title, badge=badge)


def _selected(runs: dict[str, Run], title: str, badge: str) -> Picture:
    run = next(iter(runs.values()))
    images, labels, names = pictures.examples(run.corpus, run.params.constants.classes, 12)
    return figures.grid(images, labels, names, title=title, badge=badge)


DRAWN: dict[str, Callable[[dict[str, Run], str, str], Picture]] = {
    "embedding": _embedding, "samples": _samples, "selected": _selected,
}  # fmt: skip
