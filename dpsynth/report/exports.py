"""A run's synthesiser as a folder that others can load (`exported`): weights, architecture, certificate, card.

What an export tells is what the run released: the weights, the released label counts if samples follow them, the
certificate, and public constants. Not the artifacts' histories, the times of work, or the path of a user's own folder.
"""

import json
from pathlib import Path

from dpsynth.budget.certificate import RELEASE, Certificate
from dpsynth.exported import ARCHITECTURE, CARD, CERTIFICATE, FORMAT, WEIGHTS, sha256
from dpsynth.pipeline import Run
from dpsynth.privacy.disk import forget_times, replacing
from dpsynth.report import model_card
from dpsynth.report.weight_files import WeightFile, weight_file


def export(run: Run, folder: Path) -> WeightFile:
    """Write the synthesiser of a finished run into `folder`; the card last, so that what is not whole says so.

    Raises:
        ValueError: the run is not finished, or promises no privacy that lets its weights be shown; or they are larger
            than `LIMIT`, in float16 too, or change samples by more than `TOLERANCE` there.
    """
    certificate = shown(run)
    weights = weight_file(run.synthesiser, run.params.run_name)
    counts = None if run.prior is None else run.prior.counts.tolist()
    described = {
        "format": FORMAT, "architecture": run.synthesiser.architecture, "classes": list(run.params.constants.classes),
        "prior": counts,
    }  # fmt: skip
    files = {WEIGHTS: weights.content, ARCHITECTURE: _json(described), CERTIFICATE: _json(certificate)}
    digests = {name: sha256(content) for name, content in files.items()}
    files[CARD] = model_card.text(run, certificate, weights, digests).encode()
    folder.mkdir(parents=True, exist_ok=True)
    timeless = not run.params.constants.builtin
    for name, content in files.items():
        with replacing(folder / name, timeless=timeless) as file:
            file.write(content)
    if timeless:
        forget_times(folder)
    return weights


def unmade(run: Run) -> list[str]:
    """What an export reads and does not stand, by kind; asks for nothing to be made but the plan."""
    recipes = run.recipes() | {"samples": run.recipe("samples")}
    lacking = [kind for kind, recipe in recipes.items() if not recipe.path.exists()]
    if lacking or not run.params.constants.builtin:
        return lacking
    recipes = {"extractor": run.recipe("extractor"), "measurement": run.measurement_recipe(run.row_name)}
    return [kind for kind, recipe in recipes.items() if recipe and not recipe.path.exists()]


def shown(run: Run) -> Certificate:
    """The certificate as others may see it: of a user's own set the folder's name, not where it lies.

    Raises:
        ValueError: as of `export`.
    """
    p = run.params
    if not run.plan.is_private:
        raise ValueError(
            f"{p.run_name} is a non-private twin: its weights may hold private records, and nothing bounds what they "
            "tell; it is not exported"
        )
    if lacking := unmade(run):
        raise ValueError(f"{p.run_name} is not finished: it has no {', '.join(lacking)}, and export trains nothing")
    certificate = run.certificate
    if not p.constants.builtin and certificate["status"] != RELEASE:
        raise ValueError(
            f"{p.private} is a set of your own, and this run's certificate says: {certificate['status']}; it is not "
            "exported: with noise: secret the run would be a release"
        )
    return Certificate(certificate | {"private": model_card.name_of(p.private)})


def _json(value: dict) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
