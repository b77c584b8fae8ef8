"""What a parameter file may have measured of its runs beside the metrics of their samples: `measures: [recall]`.

A measure gives rows of results.csv, some of them over an axis. Of benchmarks alone: most look at the records without
noise, through `privacy.evaluation`, and none is a release.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from dpsynth import recipes, store
from dpsynth.artifacts import Answers
from dpsynth.pipeline import Run
from dpsynth.recipes import Artifact
from dpsynth.report import pictures
from dpsynth.stages import evaluate, query, robustness, selection, similarity


class Point(NamedTuple):
    """One number: row of the tables, metric, place on the axis if it has one, and what it was made with."""

    row: str
    metric: str
    at: float | None
    value: float
    made: Artifact


def of(run: Run, measure: str) -> list[Point]:
    """What a measure gives for a run, made or loaded.

    Raises:
        ValueError: its records are a user's own, or its method has not what is measured; before anything is asked.
    """
    refuse(run, measure)
    return list(MEASURES[measure](run))


def beside_quality(names: Sequence[str]) -> list[str]:
    """Those that are no part of a run's own evaluation."""
    return [name for name in names if name != "quality"]


def refuse(run: Run, measure: str) -> None:
    """Raise ValueError where a run cannot be measured so, before anything is asked of its records."""
    if not run.params.constants.builtin:
        raise ValueError(f"{measure} is measured of benchmarks, and {run.params.private} is a set of your own")
    votes, row = hasattr(run.options, "votes"), run.row
    lacks = {
        "recall": not votes, "similarity": row.corpus not in (selection.top_classes, selection.all_public),
        "robustness": not votes or row.learn.name != "dp_sgd" or not hasattr(run.options, "prediction"),
        "answers": run.params.n_classes == 1, "clusters": run.params.n_classes == 1,
    }  # fmt: skip
    if lacks.get(measure):
        raise ValueError(f"{measure} cannot be measured of {run.params.method} on {run.params.private}")


def _made(run: Run, kind: str, work: Callable, **inputs: Any) -> Any:
    return store.build(run.as_it_stands(recipes.recipe(kind, work, run.settings, **inputs)))


def answers(run: Run) -> Answers:
    """Which held-out images the classifiers that learned from the run's samples name rightly; as `of`."""
    refuse(run, "answers")
    return _made(run, "answers", evaluate.answer, samples=run.samples, held_out=run.held_out)


def _curves(run: Run, work: Callable, **inputs: Any) -> Iterator[Point]:
    """All that a work of curves measures."""
    measured = _made(run, "curves", work, **inputs)
    for metric, values in measured.curves.items():
        for at, value in values.tolist():
            yield Point(run.row_name, metric, at, value, measured.artifact)


def _clusters(run: Run) -> Iterator[Point]:
    made = _curves(run, similarity.clusters, samples=run.samples, extractor=run.artifact("extractor"))
    return (point._replace(at=None) for point in made)


def _learning(run: Run) -> Iterator[Point]:
    return _curves(run, query.accuracy_along, public=run.public)


def _recall(run: Run) -> Iterator[Point]:
    votes, curve = pictures.votes_without_noise(run), pictures.recall_curve(run)
    for noise, recall in zip(curve["noise"].tolist(), curve["recall"].mean(1).tolist(), strict=True):
        yield Point(run.row_name, "recall-of-picks", noise, recall, votes.artifact)


def _robustness(run: Run) -> Iterator[Point]:
    inputs = {"corpus": run.corpus, "base": run.base, "synthesiser": run.synthesiser, "held_out": run.held_out}
    return _curves(run, robustness.robustness, **inputs)


def _similarity(run: Run) -> Iterator[Point]:
    inputs = {"corpus": run.corpus, "public": run.public, "extractor": run.artifact("extractor")}
    for point in _curves(run, similarity.similarity, **inputs, private=run.private):
        yield point._replace(row="all_classes" if point.at else point.row, at=None)


def _sizes(run: Run) -> Iterator[Point]:
    base, corpus = run.base, run.corpus
    images = 0 if corpus is None else len(corpus.labels)
    facts = {"images-of-pretraining": images, "weights": sum(w.numel() for w in base.weights.values())}
    return (Point(run.row_name, name, None, float(value), base.artifact) for name, value in facts.items())


def _start(run: Run) -> Iterator[Point]:
    """The base before private learning; where it speaks public labels its images have no others."""
    if run.base.private_labels:
        measured = run.measurement("pretrained")
    else:
        drawn = _made(run, "public_samples", evaluate.draw_public, model=run.base)
        inputs = {"samples": drawn, "extractor": run.artifact("extractor"), "held_out": run.held_out}
        measured = _made(run, "measurement", evaluate.measure_distances, **inputs)
    return (Point("pretrained", metric, None, value, measured.artifact) for metric, value in measured.values.items())


# The last of a run's own artifacts that each looks at: what is made first, in pieces that can be stopped.
LAST = {
    "answers": "synthesiser", "clusters": "synthesiser", "learning": None, "recall": "encoder",
    "robustness": "synthesiser", "similarity": "corpus", "sizes": "base", "start": "base",
}  # fmt: skip
MEASURES: dict[str, Callable[[Run], Iterator[Point]]] = {
    "clusters": _clusters, "learning": _learning, "recall": _recall, "robustness": _robustness,
    "similarity": _similarity, "sizes": _sizes, "start": _start,
}  # fmt: skip
