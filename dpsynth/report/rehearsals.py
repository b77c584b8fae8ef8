"""Rehearsals of runs: the same parameters on public images in the place of a user's own, measured fully.

The user's set is not opened, listed or looked for: what is known of it is what its parameter file declares. A rehearsal
has its ledger and its results in build/rehearsal, apart from those of releases.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from pydantic import ValidationError
from torch import Tensor

from dpsynth import figures, privacy, project, recipes, scales, store
from dpsynth.artifacts import Answers, Measurement, Samples
from dpsynth.data import catalog, stand_ins
from dpsynth.data.stand_ins import Cast
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy.disk import replacing
from dpsynth.privacy.ledger import canonical
from dpsynth.report import rehearsal
from dpsynth.report.rehearsal import BASE, FLOOR, NAMES, NOISE, PRIVATE, REAL, TWIN, Rehearsed
from dpsynth.stages import evaluate, yardsticks

ON_PUBLIC = "rehearsal on public images"
PICTURED = 12  # images of a row of the picture
LARGER = {"smoke": ["laptop", "laptop_colour", "gpu"], "laptop": ["laptop_colour", "gpu"], "laptop_colour": ["gpu"]}


class Rehearsal(NamedTuple):
    """A run of a user's own set, and the run that plays it."""

    own: Params
    run: Run
    cast: Cast


def rehearsal_of(own: Params, source: str | None = None) -> Rehearsal:
    """The run that plays a run of a user's own set; opens the public set.

    Args:
        source: the public set whose classes stand in for the private images; by default the run's public set, which is
            then used without them.
    Raises:
        ValueError: the set is a benchmark; no such source, one of too few classes, or with links into the user's set.
    """
    if own.constants.builtin:
        raise ValueError(f"{own.private} is a benchmark, which its own runs measure: rehearse a set of your own")
    source = canonical(project.anchored(source or own.public))
    try:
        own.replace(public=source)  # which refuses the private folder itself
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    for shown in {source, canonical(own.public)}:
        catalog.refuse_links(own.private, shown)
    channels, size = own.shape
    public = catalog.public(source, channels, size, background=own.background)
    cast = stand_ins.cast(public, own.n_classes, own.constants.n_records)
    private, rest = cast.names(source)
    played = own.replace(
        private=private, public=rest if source == canonical(own.public) else own.public, n_records=cast.n_records,
        labels=tuple(f"as {label}" for label in own.constants.classes), noise="seeded", releases=1,
    )  # fmt: skip
    run = Run(played)
    run.ledger = privacy.Ledger((place() / "ledger").absolute(), private, "seeded", played.seed)
    return Rehearsal(own, run, cast)


def place() -> Path:
    """Where rehearsals lie."""
    return project.root() / "build" / "rehearsal"


def folder(own: Params) -> Path:
    """Where the rehearsal of a run lies."""
    return place() / own.run_name


def classes_of(r: Rehearsal) -> dict[str, list[str]]:
    """Which public classes play each label."""
    p, (_, each, _) = r.run.params, r.cast
    source = catalog.public(stand_ins.source_of(p.private), *p.shape, background=p.background)
    held = stand_ins.held(source.n_classes, r.cast.n_labels, each).tolist()
    return {label: [source.classes[c] for c in row] for label, row in zip(r.own.constants.classes, held, strict=True)}


def samples_of(run: Run) -> dict[str, Samples]:
    """Images by row, as far as the method has them: its own, its twin's from the same base, the base's, selected
    public ones, real ones, and noise."""
    rows = {PRIVATE: run.samples}
    if (twin := _twin(run)) is not None:
        rows[TWIN] = _made(run, "samples", evaluate.draw, model=twin, prior=run.prior)
    if run.row.base is not None and run.corpus is not None:
        rows[BASE] = _of_base(run)
        if run.corpus.private_labels:
            rows[FLOOR] = run.artifact("floor")
    noise = _made(run, "samples", yardsticks.noise, public=run.public)
    return rows | {REAL: run.artifact("real"), NOISE: noise}


def measurement(run: Run, row: str, samples: Samples) -> Measurement:
    """Metrics of a row; of the base and of noise, whose labels mean nothing, distances alone."""
    inputs = {"samples": samples, "extractor": run.artifact("extractor"), "held_out": run.held_out}
    work = evaluate.measure_distances if row in (BASE, NOISE) else evaluate.measure
    return _made(run, "measurement", work, **inputs)


def named(run: Run) -> Answers | None:
    """Which synthetic images the classifiers of real ones name as they are labelled; None without labels."""
    if run.params.n_classes == 1:
        return None
    return _made(run, "answers", yardsticks.named, real=run.artifact("real"), samples=run.samples)


def measured(r: Rehearsal) -> Rehearsed:
    """All numbers of a rehearsal, made or loaded."""
    run, p = r.run, r.run.params
    right = named(run)
    _, labels = privacy.evaluation(run.held_out, "what guessing names of a rehearsal's public images")
    larger = [scale for scale in LARGER.get(p.scale, ()) if scale in scales.names()]
    settings = {name: getattr(p, name) for name in ("epsilon", "width", "pretrain_steps", "steps", "sample_rate")}
    return Rehearsed(
        rows={row: measurement(run, row, samples).values for row, samples in samples_of(run).items()},
        named=None if right is None else 100 * float(torch.stack(list(right.right.values())).double().mean()),
        chance=100 * labels.bincount().max().item() / len(labels), n_judges=len(labels),
        settings=settings | {"n_records": p.constants.n_records, "larger": larger},
        query_epsilon=run.plan.spent(steps=0),
    )  # fmt: skip


def caveats(r: Rehearsal) -> Iterator[str]:
    """Where the rehearsal misleads, from what is known before it."""
    p, declared = r.run.params, r.own.constants.n_records
    source = stand_ins.source_of(p.private)
    if source.startswith("glyphs"):
        yield (
            f"The stand-ins are drawn glyphs, as {source} has no others: of photographs this says nothing, and glyphs "
            "do not help a model of photographs. Rehearse those with --stand-in SET, a prepared set or folder:PATH."
        )
    if r.cast.n_records < declared:
        yield (
            f"The stand-in has {r.cast.n_records:,} records, as many as half of the classes of {source} have, where "
            f"yours has {declared:,}; each step divides by {p.sample_rate:g} times the former, so that the same noise "
            "weighs more than it will."
        )
    if stand_ins.PUBLIC in p.public:
        yield (
            "The stand-ins come from the same collection as the public images: yours are likely further from them, and "
            "this is then too hopeful. Its labels are equally frequent; yours need not be."
        )
    if p.scale == "smoke":
        yield "Scale smoke is too small to mean anything."


def report(r: Rehearsal) -> dict[str, Any]:
    """Verdict, sentences and numbers of a rehearsal, as plain data."""
    numbers, p = measured(r), r.run.params
    return {
        "what": ON_PUBLIC, "of": r.own.digest, "verdict": rehearsal.verdict(numbers),
        "summary": rehearsal.summary(numbers), "measured": rehearsal.sentences(numbers),
        "advice": rehearsal.advice(numbers), "caveats": list(caveats(r)), "stand_in": p.private, "public": p.public,
        "n_records": p.constants.n_records, "n_judges": numbers.n_judges, "classes": classes_of(r),
        "chance": numbers.chance, "named": numbers.named, "query_epsilon": numbers.query_epsilon,
        "scale": p.scale, "method": p.method, "epsilon": p.epsilon, "delta": p.delta,
        "rows": {row: dict(values) for row, values in numbers.rows.items()},
    }  # fmt: skip


def write(r: Rehearsal, told: dict[str, Any]) -> Path:
    """Write rehearsal.json, metrics.csv and samples.png of what `report` told; the first last."""
    where = folder(r.own)
    where.mkdir(parents=True, exist_ok=True)
    with replacing(where / "metrics.csv") as file:
        file.write(table(told).assign(what=ON_PUBLIC, stand_in=told["stand_in"]).to_csv().encode())
    with replacing(where / "samples.png") as file:
        file.write(picture(r).png())
    with replacing(where / "rehearsal.json") as file:
        file.write((json.dumps(told, indent=1) + "\n").encode())
    return where


def table(told: dict[str, Any]) -> pd.DataFrame:
    """Metrics by row."""
    frame = pd.DataFrame.from_dict(told["rows"], orient="index")
    return frame.loc[[row for row in NAMES if row in frame.index]].rename(index=NAMES).rename_axis("row")


def picture(r: Rehearsal) -> figures.style.Picture:
    """Images of every row, two labels of each below one another."""
    p, sets = r.run.params, samples_of(r.run)
    order = [row for row in (REAL, FLOOR, BASE, PRIVATE, TWIN, NOISE) if row in sets]
    badge = f"{ON_PUBLIC}: {p.private} with {p.public} | {p.scale} scale, {p.method}, epsilon {p.epsilon:g}"
    title = f"Rehearsal of {r.own.run_name[:60]}"
    return figures.beside({NAMES[row]: _two_rows(sets[row]) for row in order}, title=title, badge=badge)


def standing(own: Params) -> dict[str, Any] | None:
    """What the rehearsal of a run with just these parameters told, if there was one."""
    try:
        told = json.loads((folder(own) / "rehearsal.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and told.get("of") == own.digest else None


def _two_rows(samples: Samples) -> list[Tensor]:
    """Two rows of as many images: of the first two labels, or of the only one."""
    shown = [(samples.labels == label).nonzero().flatten() for label in samples.labels.unique()[:2]]
    shown = shown if len(shown) > 1 else [shown[0][:PICTURED], shown[0][PICTURED:]]
    n = min(PICTURED, *map(len, shown))
    return [samples.images[rows[:n]] for rows in shown]


def _twin(run: Run) -> Any:
    """What learns from the same base without clip and noise; None where the method has no such twin."""
    if (without_noise := run.row.learn.without_noise) is None:
        return None
    inputs = {kind: run.artifact(kind) for kind in ("encoder", "release", "corpus", "base", "probe")}
    return _made(run, "twin", without_noise, private=run.private, **inputs)


def _of_base(run: Run) -> Samples:
    if run.base.private_labels:
        return run.artifact("pretrained")
    return _made(run, "samples", evaluate.draw_public, model=run.base)


def _made(run: Run, kind: str, work: Any, **inputs: Any) -> Any:
    return store.build(run.as_it_stands(recipes.recipe(kind, work, run.settings, **inputs)))
