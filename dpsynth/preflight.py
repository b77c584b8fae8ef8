"""Whatever can be refused is refused here, before a run's first private touch: a release that was paid must not be lost
to what was known before."""

import inspect
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

from dpsynth import device, lineage, privacy, store
from dpsynth.data import catalog
from dpsynth.metrics import extractors
from dpsynth.models import networks
from dpsynth.params import Params
from dpsynth.stages import planning, pretrain

ROOM = 64 * 2**20  # bytes that a folder must have left: the networks of a small run
SAFETY = 3  # images in memory take so many times their bytes: as they are drawn, joined and written
ROWS = 250  # images that are in a denoiser together, as it draws; in DP-SGD two micro-batches side by side are as many

_ready: set[tuple[str, Path]] = set()


def ready(p: Params, private: privacy.Private) -> None:
    """`check` of one run whose records are open, once a process; for a notebook or a script that is started alone."""
    key = (p.digest, store.root().resolve())
    if key not in _ready:
        check([p], private)
        _ready.add(key)


def check(points: Sequence[Params], private: privacy.Private | None = None) -> dict[str, privacy.Private]:
    """Whatever would end one of the runs after its first private touch, and can be known now, ends it here.

    Touches nothing: of the records it is only told whether they can be opened.

    Args:
        private: the private set of all the runs, where it is open.
    Returns:
        The private sets, sealed, by the digest of the run.
    Raises:
        ValueError, FileNotFoundError, PermissionError, privacy.BudgetError: one sentence each.
    """
    opened: dict[tuple, Any] = {}

    def once(key: tuple, action: Callable[[], Any]) -> Any:
        if key not in opened:
            opened[key] = action()
        return opened[key]

    sealed = {}
    for p in points:
        once(("room",), room)
        memory(p)
        own = (p.private, p.n_records, p.labels, p.size, p.background)
        sealed[p.digest] = private or once(own, lambda p=p: planning.private(p))
        if p.constants.builtin:
            once((*own, "test"), lambda p=p: planning.private(p, "test") and None)
            once(("glyphs",), lambda: catalog.public("glyphs", 1, 28) and None)  # the measure's own, whatever is public
            once(("inception", p.inception), lambda p=p: p.inception and extractors.inception(p.inception))
        budget(p)
        needed = lineage.of(p, sealed[p.digest])
        standing(p, needed)
        if reads := [made for made in needed if _reads_public(made.function)]:
            once(("shared", p.private, p.public), lambda p=p: catalog.refuse_shared_files(p.private, p.public))
        if missing := [made.kind for made in reads if not made.path.exists()]:
            found = once((p.public, p.shape, p.background), lambda p=p: _public_images(p))
            if "encoder" in missing and found < 2:
                raise ValueError(f"{p.public} holds one image; a network that is trained on it needs two or more")
    return sealed


def budget(p: Params) -> None:
    """Make the plan; of the non-private twin, what it would ask must be askable too.

    Raises:
        ValueError, privacy.BudgetError: more is asked than there is: classes, matrices, or budget.
    """
    if planning.run(p).is_private:
        return
    learn = p.row.learn.price(p)
    for touch in (p.row.prior, p.row.release, p.row.probe):
        if touch:
            touch.price(p, learn)


def standing(p: Params, needed: Sequence[lineage.Made]) -> None:
    """Artifacts that stand are whole, and the ledger knows those that were asked of the records.

    Raises:
        ValueError: one is not, or is of another version, or has no entry; or the ledger is damaged.
        privacy.BudgetError: a release that does not stand was drawn before, and may not be drawn again.
    """
    plan, ledger = planning.run(p), planning.ledger(p)
    known = {entry.get("open") for entry in ledger.entries()}
    for made in needed:
        if made.path.exists():
            store.verified(made.path, made.function, made.digest, made.lineage)
            if made.touch and made.digest not in known:
                raise ValueError(
                    f"{made.path} stands, but {ledger.path} has no entry for it: restore the ledger; without it nobody "
                    "knows what was spent"
                )
        elif made.touch:
            try:
                ledger.check(plan, made.touch, made.digest, made.lineage)
            except privacy.BudgetError as error:
                raise privacy.BudgetError(f"{error}{_remedy(made) if made.digest in known else ''}") from None


def memory(p: Params) -> None:
    """The images that are held at once, and a batch in the denoiser, fit in this machine's memory.

    Raises:
        ValueError: they do not.
    """
    channels, size = p.shape
    pixels = f"{channels}x{size}x{size} pixels"
    image = SAFETY * channels * size**2
    _fits(p.n_synthetic * image, f"n_synthetic={p.n_synthetic} images of {pixels}", "n_synthetic or size")
    if "candidates" in p:
        said = f"candidates={p['candidates']} for each of {p.n_classes} labels, of {pixels},"
        _fits(p["candidates"] * p.n_classes * image, said, "candidates or size")
    if p.row.base in (pretrain.fresh, pretrain.train_diffusion):
        attention = p["attention"] if "attention" in p else "middle"  # noqa: SIM401 - Params has no `get`
        architecture = pretrain.architecture(p.shape, p.n_classes, p.width, p["prediction"], attention)
        said = f"a batch of images of {pixels} in a network of width {p.width} and attention {attention!r}"
        _fits(batch_bytes(architecture), said, "size or width")


def batch_bytes(architecture: dict[str, Any]) -> int:
    """Bytes that a denoiser keeps of a batch for its gradient, in the precision of this machine.

    Counted on torch's "meta" device, which knows shapes alone: nothing is computed.
    """
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.device("meta"), saved_tensors_hooks(keep, lambda tensor: tensor):
        images = torch.empty(ROWS, architecture["channels"], architecture["size"], architecture["size"])
        networks.build(architecture)(images, torch.ones(ROWS), torch.zeros(ROWS, dtype=torch.int64))
    counted = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return counted * device.precision().itemsize // torch.float32.itemsize


def _fits(needs: int, what: str, less: str) -> None:
    has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needs > has:
        raise ValueError(
            f"{what} need about {needs / 2**30:,.1f} GiB of memory, and this machine has {has / 2**30:,.1f}; "
            f"lower {less}"
        )


def room() -> None:
    """The folders that a run writes to can be written, and have room.

    Raises:
        ValueError: one cannot, or has none.
    """
    for folder in (store.root() / name for name in ("build", "cache", "ledger")):
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


def _remedy(made: lineage.Made) -> str:
    """What helps where a release was drawn, and is gone: one that depends on the seed has another one under another."""
    seeded = made.lineage or "seed" in inspect.signature(made.function).parameters
    other = ", or choose another seed, which is a further release" if seeded else ""
    return f"; restore {made.path} from a copy of build/{other}"


def _public_images(p: Params) -> int:
    return len(catalog.public(p.public, *p.shape, background=p.background).labels)


def _reads_public(function: Callable) -> bool:
    return "public" in inspect.signature(function).parameters
