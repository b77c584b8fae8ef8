"""Whatever can be refused is refused here, before a run's first private touch: a release that was paid must not be lost
to what was known before. Each check raises a ValueError or an OSError, one sentence that says what to do."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from dpsynth import device, privacy, project, steps, store, trainings
from dpsynth.data import catalog
from dpsynth.data.public_sets import PublicSet
from dpsynth.methods import Method
from dpsynth.models import networks
from dpsynth.params import Params
from dpsynth.privacy import accounting
from dpsynth.privacy.mechanisms import from_statement
from dpsynth.recipes import Recipe
from dpsynth.stages import evaluate
from dpsynth.stages.permit import Permit
from dpsynth.trainings import Training

ROOM = 64 * 2**20  # bytes that a folder must have left: the networks of a small run
SAFETY = 3  # images in memory take so many times their bytes: as they are drawn, joined and written
LESS = {"encoder": "encoder_batch", "base": "pretrain_batch", "synthesiser": "size or width"}
ROWS = 250  # images that are in a denoiser together, as it draws; in DP-SGD two micro-batches side by side are as many


class TooLarge(ValueError):
    """What a run needs does not fit in the memory of this machine, or of its GPU."""


def missing(name: str) -> list[type[Exception]]:
    """Errors that say that a set with a name is not here yet; a folder's path is as likely wrong."""
    return [] if name.startswith(project.FOLDER) else [FileNotFoundError]


@contextlib.contextmanager
def noting(lacks: list[str] | None, *kinds: type[Exception]) -> Iterator[None]:
    """Errors of these kinds become sentences in `lacks`, where one is given."""
    try:
        yield
    except tuple(kinds) as error:
        if lacks is None:
            raise
        lacks.append(str(error))


def once(seen: set, key: Any, check: Callable[[], Any]) -> None:
    """A check that runs may share; `seen` holds those that passed."""
    if key not in seen:
        check()
        seen.add(key)


def measures(p: Params) -> None:
    """What benchmarks are measured by can be opened: the glyphs that our convnet is trained on, whatever is public; or
    the weights of Inception or EfficientNet."""
    if steps.on_convnet(p):
        _ = catalog.public("glyphs", 1, 28).images
    else:
        evaluate.seen_by(None, p.inception)


def public(images: PublicSet, trains: bool) -> None:
    """The public set can be opened, and trained on, where it is still needed."""
    if len(images.labels) < 2 and trains:
        raise ValueError(f"{images.name} holds one image; a network that is trained on it needs two or more")
    _ = images.images


def standing(recipes: Iterable[Recipe], plan: privacy.Plan, ledger: privacy.Ledger, releases: int, seen: set) -> None:
    """Artifacts that stand are whole, the ledger knows those that were asked of the records, and a set is asked no more
    than its user allows.

    Args:
        seen: what other runs of the same command will ask.
    Raises:
        privacy.BudgetError: a release that does not stand was drawn before, and may not be drawn again; or its question
            has as many releases as it may have.
    """
    entries = ledger.entries()
    known = {entry.get("open") for entry in entries}
    for recipe in recipes:
        permit = recipe.inputs.get("permit")
        if recipe.path.exists():
            store.verified(recipe)
            if permit and recipe.identity not in known:
                raise ValueError(
                    f"{recipe.path} stands, but {ledger.path} has no entry for it: restore the ledger; without it "
                    "nobody knows what was spent"
                )
        elif permit:
            if recipe.lasts and recipe.identity not in known:
                _once_more(recipe, permit, entries, ledger, releases, seen)
            try:
                ledger.check(plan, permit.name, recipe.identity, recipe.ancestors)
            except privacy.BudgetError as error:
                raise privacy.BudgetError(f"{error}{_remedy(recipe) if recipe.identity in known else ''}") from None


def _once_more(
    recipe: Recipe, permit: Permit, entries: list[dict], ledger: privacy.Ledger, releases: int, seen: set
) -> None:
    """Refuse to ask under secret noise what was asked before under another name, by whatever settings, seed or version
    of dpsynth, unless its user said how often."""
    before = {(e["open"], e["coins"]) for e in entries if e.get("mechanism", {}).get("name") == permit.name}
    seen.add((ledger.path, permit.name, recipe.identity))
    planned = {key for key in seen if isinstance(key, tuple) and key[:2] == (ledger.path, permit.name)}
    if (asked := len(before) + len(planned)) > releases:
        earlier = [from_statement(entry["mechanism"]) for entry in entries if "mechanism" in entry]
        total = accounting.epsilon([*earlier, *[permit.mechanism] * len(planned)], permit.plan.delta)
        raise privacy.BudgetError(
            f"{ledger.path} has {len(before)} releases of {permit.name}, asked for by other settings, another seed or "
            f"an older dpsynth; and {asked - len(before)} more would come: {total:.4g} of epsilon for the set so far, "
            f"where releases: {releases} allows {releases} in all; raise it to {asked} if that is what you want"
        )


def memory(p: Params, row: Method, settings: Mapping[str, Any]) -> None:
    """The networks can be built, and the images that are held at once, a batch in the denoiser, and what a step of
    public training keeps, fit in this machine's memory, or the GPU's; on a GPU a micro-batch of DP-SGD too.

    Raises:
        TooLarge: they do not. ValueError: no such network can be built.
    """
    channels, size = p.shape
    pixels = f"{channels}x{size}x{size} pixels"
    image = SAFETY * channels * size**2
    _fits(p.n_synthetic * image, f"n_synthetic={p.n_synthetic} images of {pixels}", "n_synthetic or size")
    if candidates := settings.get("candidates"):
        population = f"candidates={candidates} for each of {p.n_classes} labels, of {pixels},"
        _fits(candidates * p.n_classes * image, population, "candidates or size")
    if architecture := trainings.denoiser(p, row, settings):
        named = ("attention", "unet") if architecture.get("unet") is None else ("unet",)
        kind = " and ".join(f"{name} {architecture[name]!r}" for name in named if architecture.get(name))
        batch = f"a batch of images of {pixels} in a network of width {p.width}{kind and f' and {kind}'}"
        _fits(batch_bytes(architecture), batch, "size or width", device.memory_bytes())
    if architecture := trainings.gan_like(p, row, settings):
        with torch.device("meta"):
            networks.build(architecture)
    for training in trainings.trainings(p, row, settings):
        if device.on_gpu() or not training.views:
            _step_fits(training, pixels)


def batch_bytes(architecture: dict[str, Any]) -> int:
    """Bytes that a denoiser keeps of a batch for its gradient, in the precision of this machine."""
    with torch.device("meta"):
        network = trainings.network_of(trainings.named(architecture))
    return trainings.kept_bytes(network, ROWS)


def _step_fits(training: Training, pixels: str) -> None:
    """Refuse a step that a GPU has no memory for; of DP-SGD, say which micro-batch there is memory for."""
    needs, memory, rows = trainings.step_bytes(training), device.memory_bytes(), training.at_once
    if not training.views:
        batch = f"{rows} images of {pixels} at once in the training of the {training.kind}"
        _fits(needs, batch, LESS[training.kind], memory)
    while needs > memory and rows > 1:
        rows = 2 ** ((rows - 1).bit_length() - 1)
        needs = trainings.step_bytes(training, rows)
    if rows < training.at_once:
        less = "size or width" if needs > memory else None
        batch = f"a micro-batch of DP-SGD, {training.at_once} images of {pixels},"
        _fits(trainings.step_bytes(training), batch, less, memory, f"set DPSYNTH_MICROBATCH={rows}")


def _fits(needs: int, what: str, less: str | None, memory: int | None = None, remedy: str = "") -> None:
    """Refuse what needs more bytes than there are: `memory`, or this machine's."""
    where = "this machine" if memory is None or not device.on_gpu() else f"the GPU ({device.card()})"
    if needs > (memory := memory or device.host_bytes()):
        raise TooLarge(
            f"{what} need about {needs / 2**30:,.1f} GiB of memory, and {where} has {memory / 2**30:,.1f}; "
            f"{f'lower {less}' if less else remedy}"
        )


def room() -> None:
    """The folders that a run writes to can be written, and have room."""
    for folder in (project.root() / name for name in ("build", "cache", "ledger")):
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=there) as file:
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
            free = shutil.disk_usage(there).free
        except OSError as error:
            raise ValueError(f"{folder} cannot be written ({error.strerror}); nothing was begun") from None
        if free < ROOM:
            raise ValueError(
                f"the disk of {folder} has {free / 2**20:.1f} MiB left, and a run needs {ROOM >> 20} or more; make room"
            )


def _remedy(recipe: Recipe) -> str:
    """What helps where a release was drawn, and is gone: one that depends on the seed has another one under another."""
    seeded = recipe.ancestors or "seed" in recipe.settings
    new = "another seed, and one more in releases:," if recipe.lasts else "another seed,"
    other = f", or choose {new} which is a further release" if seeded else ""
    return f"; restore {recipe.path} from a copy of build/{other}"
