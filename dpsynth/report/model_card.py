"""The card of an exported model: what it is, what it cost, how good it is, how to load it, what it is not for."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dpsynth.budget import risk
from dpsynth.budget.certificate import REPLACE
from dpsynth.exported import CARD
from dpsynth.metrics.names import METRICS
from dpsynth.pipeline import Run
from dpsynth.privacy.mechanisms import from_statement
from dpsynth.report.paired import accuracy_error
from dpsynth.report.weight_files import COMPARED, WeightFile

LICENCE = "MIT"  # of LICENSE
SAID = ("method", "private", "public", "epsilon", "delta", "noise", "seed", "scale")  # in the table
NO_SETTING = (*SAID, "options", "releases", "allow_large_delta")
SHORT = 12  # images of a first look


def text(run: Run, certificate: Mapping[str, Any], weights: WeightFile, digests: Mapping[str, str]) -> str:
    """The card, in Markdown.

    Args:
        certificate: of the run, as others may see it; weights: their file; digests: SHA-256 of files by name.
    """
    p = run.params
    parts = [
        f"# {p.method} on {name_of(p.private)}, epsilon {p.epsilon:g}",
        f"**{certificate['status'][0].upper()}{certificate['status'][1:]}.**",
        _table(("", ""), _facts(run, certificate, weights)),
        "## Load and sample", _program(run, weights),
        "## Settings", "\n".join(f"- `{name}`: {value}" for name, value in _settings(run).items()),
        "## Measured", _measured(run),
        "## Intended use, and limits", "\n".join(f"- {line}" for line in _limits(run, certificate, weights)),
        "## Licence", _licence(run),
        "## Files", f"SHA-256; `sha256sum --check {CARD}` reads these lines too.",
        "\n".join(["```", *(f"{digest}  {name}" for name, digest in digests.items()), "```"]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def name_of(name: str) -> str:
    """A set's name; of a folder its own, and not where it lies.

    >>> name_of("folder:/home/me/photos/"), name_of("mnist5k")
    ('folder:photos', 'mnist5k')
    """
    return f"folder:{Path(name).name}" if name.startswith("folder:") else name


def _facts(run: Run, certificate: Mapping[str, Any], weights: WeightFile) -> Iterator[tuple[str, str]]:
    p, synthesiser = run.params, run.synthesiser
    channels, size = p.shape
    images = f"{channels}x{size}x{size} pixels"
    seeds = f"{p.seed}: of public randomness" + (", and of the coins" if p.noise == "seeded" else "")
    number = sum(w.numel() for w in synthesiser.weights.values())
    meta = synthesiser.artifact.meta
    yield "method", f"`{p.method}`, {run.row.paper}"
    yield (
        "private set",
        f"`{name_of(p.private)}`, {certificate['n_records']:,} records of {images}, {p.n_classes} labels",
    )
    yield "public set", f"`{name_of(p.public)}`"
    yield "epsilon", f"{certificate['epsilon']:.4f} of a budget of {p.epsilon:g}"
    yield "delta", f"{p.delta:g}"
    yield "neighbours", certificate["adjacency"]
    yield "accountant", certificate["accountant"]
    also = dict(certificate["also"])
    yield "epsilon, replace one record", _number(also.pop(REPLACE, "none that is finite"))
    mechanisms = [from_statement(entry["mechanism"]) for entry in certificate["releases"]]
    by_adding, by_replacing = (
        risk.right_guesses(mechanisms, certificate["epsilon"], p.delta, replace) for replace in (False, True)
    )
    under = "" if p.noise == "secret" else ", if the noise were secret"
    yield (
        "an attacker's right guesses",
        f"at most {by_adding} of 100 whether a given record was among them{under}; by chance 50",
    )
    yield "the same, replace one record", f"at most {by_replacing} of 100 which of two records was among them{under}"
    yield "by others", "; ".join(f"{name}: {epsilon:.4f}" for name, epsilon in also.items())
    yield "asked", "; ".join(_question(m) for m in certificate["mechanisms"])
    yield "noise", p.noise
    yield "seed", seeds
    yield "scale", f"`{p.scale}`" + ("" if p.scale == "paper" else ", not the papers'")
    yield "network", f"`{synthesiser.architecture['network']}`, {number:,} numbers, {weights.dtype}"
    yield "weights' file", f"{len(weights.content):,} bytes"
    yield "made by", f"dpsynth at commit `{meta['commit']}`, torch {meta['versions']['torch']}, {_device(meta)}"


def _question(mechanism: Mapping[str, Any]) -> str:
    line = "`{name}`, {steps:,} x at rate {sample_rate:g}, noise multiplier {noise_multiplier:.4g}"
    return line.format(**mechanism)


def _device(meta: Mapping[str, Any]) -> str:
    return f"{meta['device']}, {meta['precision'].removeprefix('torch.')}"


def _program(run: Run, weights: WeightFile) -> str:
    p = run.params
    lines = [
        "```python", "from dpsynth import load_model",
        f'model = load_model("{p.run_name}")  # this folder',
        f"images, labels = model.sample({SHORT}, seed=0)", "```",
    ]  # fmt: skip
    after = (
        f"`images` are uint8, ({SHORT}, {p.shape[0]}, {p.shape[1]}, {p.shape[1]}). `model.sample([0, 0], seed=1)` "
        f"draws two of label 0; `model.certificate` is the run's. `model.sample({p.n_synthetic}, seed={p.seed})` "
        f"draws the run's own samples, bit for bit on {_device(run.samples.artifact.meta)}"
        f"{', but for the rounding below' if weights.change else ''}."
    )
    return "\n".join([*lines, "", after])


def _settings(run: Run) -> dict[str, Any]:
    """All that was chosen and the table has not; files by their names."""
    fields = run.params.model_dump(exclude=set(NO_SETTING)) | run.options.model_dump()
    chosen = {name: value for name, value in fields.items() if value is not None}
    return {name: Path(value).name if _is_path(value) else value for name, value in chosen.items()}


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and "/" in value


def _measured(run: Run) -> str:
    if not run.params.constants.builtin:
        return "Nothing: the records of a user's own set stay closed. See the certificate, and draw samples."
    measured = run.measurement(run.row_name)
    rows = [
        (name, f"{value:.{METRICS[name].decimals}f}", _test_error(name, value, measured.n_reference))
        for name, value in measured.values.items()
    ]
    after = (
        f"{measured.n_synthetic:,} samples of this model against {measured.n_reference:,} held-out records, on "
        f"features of `{measured.extractor}`; accuracies, in percent, of classifiers trained on the samples. One run, "
        "one seed: the error is that of the finite test set alone, binomial; of the other metrics none is known."
    )
    return f"{_table(('metric', 'value', 'standard error of the test set'), rows)}\n\n{after}"


def _test_error(metric: str, value: float, n: int) -> str:
    return f"{accuracy_error(value, n):.{METRICS[metric].decimals}f}" if METRICS[metric].percent else "-"


def _limits(run: Run, certificate: Mapping[str, Any], weights: WeightFile) -> Iterator[str]:
    p = run.params
    yield (
        "For comparing methods of DP image synthesis without training them again, for teaching, and as a start for "
        "further public work: whatever is computed from the weights costs no further epsilon."
    )
    yield "Not for decisions about people, and not as a stand-in for the private images where each one matters."
    if p.noise == "seeded":
        yield (
            f"**Not private.** The coins follow from seed {p.seed}, which stands here: whoever has the code can draw "
            "the noise again and take it away. Epsilon is what the same run would cost under `noise: secret`. The "
            "private set is a published benchmark."
        )
    else:
        total = certificate["set_total"]
        yield (
            "The certificate bounds what this model tells of one record; of a group it bounds less, and what all "
            f"records have in common the model may show. By its ledger the set gave {total['releases']} answers in "
            f"all, which compose to epsilon {_number(total['epsilon'])} at delta {total['delta']:g}."
        )
    if p.constants.builtin:
        yield (
            "The metrics, and the choice of settings before, looked at records of the benchmark without noise; epsilon "
            "does not count that."
        )
    if weights.change:
        yield (
            "Weights are rounded to float16: at equal seeds pixels (0 to 255) change by {:.3f} on average, {:g} at "
            "most, over {} samples.".format(*weights.change, COMPARED)
        )
    if p.scale == "smoke":
        yield "Scale `smoke` is too small to mean anything: the images are noise."


def _licence(run: Run) -> str:
    if not run.params.constants.builtin:
        return "For those to choose whose images the model learned from: it is not written here yet."
    return f"The weights: {LICENCE}, as `LICENSE` of dpsynth says. The image sets keep the terms of their publishers."


def _number(epsilon: float | str) -> str:
    return epsilon if isinstance(epsilon, str) else f"{epsilon:.4f}"


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
