"""The card of an exported synthetic data set: what it is, what it cost, how it was made, how good it is."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from dpsynth.budget import risk
from dpsynth.metrics.names import METRICS
from dpsynth.pipeline import Run
from dpsynth.privacy.mechanisms import from_statement
from dpsynth.report.model_card import REPLACE, name_of

CARD, SYNTHETIC, TRAIN, METADATA = "README.md", "synthetic.npz", "train", "metadata.jsonl"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))  # the hub's


def text(run: Run, certificate: Mapping[str, Any], names: list[str]) -> str:
    """The card, in Markdown with a head in YAML.

    Args:
        certificate: of the run, as others may see it; names: of the class folders, [""] without classes.
    """
    p = run.params
    title = f"Synthetic images of {name_of(p.private)}, epsilon {p.epsilon:g}"
    parts = [
        _head(run, title), f"# {title}",
        f"**{certificate['status'][0].upper()}{certificate['status'][1:]}.**",
        "\n".join(f"- {line}" for line in _facts(run, certificate, names)),
        "## Privacy", "\n".join(f"- {line}" for line in _privacy(run, certificate)),
        "## How it was made", _made(run),
        "## Measured", _measured(run),
        "## Intended use, and limits", "\n".join(f"- {line}" for line in _limits(run)),
        "## Load", _program(p.n_classes > 1),
        "## Licence", "To be chosen by those whose images these were learned from: fill in `license` above, and here.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _head(run: Run, title: str) -> str:
    n = len(run.samples.images)
    size = next((name for most, name in SIZES if n < most), "n>1M")
    task = "image-classification" if run.params.n_classes > 1 else "unconditional-image-generation"
    return "\n".join([
        "---", "# license: choose one, as cc-by-4.0", f"pretty_name: {json.dumps(title, ensure_ascii=False)}",
        f"size_categories: [{json.dumps(size)}]", f"task_categories: [{task}]",
        "tags: [synthetic, differential-privacy]",
        "configs:", "- config_name: default", "  data_files:", "  - split: train", f"    path: {TRAIN}/**", "---",
    ])  # fmt: skip


def _facts(run: Run, certificate: Mapping[str, Any], names: list[str]) -> Iterator[str]:
    channels, size = run.params.shape
    n = len(run.samples.images)
    classes = (
        f"in {len(names)} classes: {', '.join(f'`{name}`' for name in names)}" if names != [""] else "without classes"
    )
    yield f"{n:,} images of {size}x{size} pixels, {'grey' if channels == 1 else 'RGB'}, {classes}."
    yield "No image is of the private set: each is drawn from a model that learned from it with noise."
    yield (
        f"The private set, `{name_of(run.params.private)}`, has {certificate['n_records']:,} records; it is not part "
        "of this data set."
    )


def _privacy(run: Run, certificate: Mapping[str, Any]) -> Iterator[str]:
    p = run.params
    yield (
        f"Epsilon {certificate['epsilon']:.4f} at delta {p.delta:g}, by {certificate['accountant']}; neighbours: "
        f"{certificate['adjacency']}."
    )
    if REPLACE in certificate["also"]:
        yield f"If one record is replaced by another: epsilon {certificate['also'][REPLACE]:.4f} at the same delta."
    yield (
        "One record more or less changes the probability of any outcome by at most a factor exp(epsilon), up to delta."
    )
    if p.noise == "seeded":
        yield f"**Not private**: the noise follows from seed {p.seed}. The private set is a published benchmark."
    else:
        mechanisms = [from_statement(entry["mechanism"]) for entry in certificate["releases"]]
        yield risk.brief(mechanisms, certificate["epsilon"], p.delta)
        yield "What all records have in common these images may show; that is not what epsilon bounds."
    yield "`certificate.json` states every question that was asked, its noise, and all other figures."


def _made(run: Run) -> str:
    p, meta = run.params, run.synthesiser.artifact.meta
    return (
        f"Method `{p.method}` ({run.row.paper}), with public images of `{name_of(p.public)}`, at scale `{p.scale}`, by "
        f"dpsynth at commit `{meta['commit']}`."
    )


def _measured(run: Run) -> str:
    if not run.params.constants.builtin:
        return "Nothing: the records of a user's own set stay closed, so nothing can be measured on them."
    measured = run.measurement(run.row_name)
    rows = [f"| {name} | {value:.{METRICS[name].decimals}f} |" for name, value in measured.values.items()]
    after = f"Against {measured.n_reference:,} held-out real images, on features of `{measured.extractor}`; one run."
    return "\n".join(["| metric | value |", "| --- | --- |", *rows, "", after])


def _limits(run: Run) -> Iterator[str]:
    yield (
        "For developing and teaching where the private images cannot be shown: whatever is computed of these costs no "
        "further epsilon."
    )
    yield (
        "Not for decisions about people, and not in the place of real images where a single one matters: rare cases "
        "are lost first."
    )
    yield "Labels are what the model was asked for; images may not show them. Look at some, and test on real ones."
    if run.params.scale == "smoke":
        yield "Scale `smoke` is too small to mean anything: the images are noise."


def _program(labelled: bool) -> str:
    loaded = 'images = load_dataset("imagefolder", data_dir="FOLDER")["train"]'
    lines = ["```python", "from datasets import load_dataset", loaded]
    if labelled:
        lines += ["", "from torchvision.datasets import ImageFolder", f'images = ImageFolder("FOLDER/{TRAIN}")']
    lines += ["", "import numpy as np", f'images = np.load("FOLDER/{SYNTHETIC}")["images"]', "```"]
    return "\n".join(lines)
