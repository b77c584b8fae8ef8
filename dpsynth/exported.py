"""Trained models as files: a folder that `dpsynth export` wrote, read without the project that it was made in.

`card.md` tells people what the model is, and lists the SHA-256 of the other files as `sha256sum` prints them: what was
torn or mixed up is noticed. They are no signature: whoever edits a file may edit the card.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dpsynth.artifacts import LabelCounts
from dpsynth.budget.certificate import Certificate
from dpsynth.models import networks, samplers
from dpsynth.seeds import seed_of
from dpsynth.stages import label_prior

FORMAT = 1  # of the folder
WEIGHTS, ARCHITECTURE, CERTIFICATE, CARD = "weights.npz", "architecture.json", "certificate.json", "card.md"
LISTED = (WEIGHTS, ARCHITECTURE, CERTIFICATE)  # by the card
LARGEST = 2**30  # bytes of weights, unpacked
# What is raised of a network, an argument, a weight or an archive that is not as it should be.
UNREADABLE = (ValueError, TypeError, RuntimeError, KeyError, IndexError, OverflowError, zipfile.BadZipFile)
RESTORE = "get the whole folder again, or export it anew"


@dataclass(frozen=True)
class ExportedModel:
    """A synthesiser and what it cost.

    Attributes:
        network: of `models.networks`, in eval mode; classes: names of the labels that it speaks, by number.
        prior: the released counts of the private labels, where the method asked for them.
        certificate: of the run, as plain data; as text, with what that buys an attacker.
    """

    network: nn.Module = field(repr=False)
    classes: tuple[str, ...]
    prior: LabelCounts | None
    certificate: Certificate

    def sample(self, labels: int | Sequence[int] | Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Synthetic images, (N, C, H, W) uint8, and their labels, (N,) int64.

        As many as the run that made the model drew, with its seed, are its own samples: bit for bit on the same kind
        of device, in the same precision and batches.

        Args:
            labels: one for each image; or how many images, with labels in turn, or as the released prior has them.
        Raises:
            ValueError: no image is asked for, or a label that the model does not speak.
        """
        given = self._in_all(labels) if isinstance(labels, int) else torch.as_tensor(labels)
        if given.ndim != 1 or not len(given) or given.is_floating_point():
            raise ValueError(f"labels={labels!r}: expected a number of images above 0, or a list of whole numbers")
        if given.min() < 0 or given.max() >= len(self.classes):
            raise ValueError(f"labels from {given.min()} to {given.max()}: this model has 0 to {len(self.classes) - 1}")
        given = given.long()
        return samplers.sample(self.network, given, seed_of(seed, "sample")), given

    def _in_all(self, n: int) -> Tensor:
        if self.prior is None:
            return torch.arange(max(n, 0)) % len(self.classes)
        return label_prior.proportional(self.prior, max(n, 0))


def load_model(folder: str | Path) -> ExportedModel:
    """Read a model that `dpsynth export` wrote, and check its files by their digests.

    Raises:
        FileNotFoundError: there is no such folder, or a file of it is missing.
        ValueError: a file is not what the card lists, or this version of dpsynth knows no such format or network.
    """
    folder = Path(folder)
    files = {name: _read(folder, name) for name in (CARD, *LISTED)}
    _check(folder, files)
    described = json.loads(files[ARCHITECTURE])
    if (found := described.get("format")) != FORMAT:
        raise ValueError(
            f"{folder} is a model of format {found}, this version of dpsynth reads {FORMAT}: "
            "install the version that its card names"
        )
    try:
        network = networks.rebuild(described["architecture"], _arrays(files[WEIGHTS]))
        classes, counts = tuple(described["classes"]), described["prior"]
        if len(classes) != network.n_labels or (counts is not None and len(counts) != len(classes)):
            raise ValueError(f"{len(classes)} names for {network.n_labels} labels")
        prior = None if counts is None else LabelCounts(torch.tensor([int(count) for count in counts]))
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"{folder}: this version of dpsynth cannot build the model's network ({reason}): "
            "install the version that its card names"
        ) from None
    return ExportedModel(network, classes, prior, Certificate(json.loads(files[CERTIFICATE])))


def sha256(content: bytes) -> str:
    """The digest that a card lists."""
    return hashlib.sha256(content).hexdigest()


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{folder} is no whole model: it has no {name}; {RESTORE}") from None


def _check(folder: Path, files: dict[str, bytes]) -> None:
    lines = re.findall(r"^([0-9a-f]{64})  (\S+)$", files[CARD].decode(errors="replace"), re.MULTILINE)
    listed = {name: digest for digest, name in lines}
    if missing := [name for name in LISTED if name not in listed]:
        raise ValueError(f"{folder / CARD} was altered: it lists no SHA-256 of {' and '.join(missing)}; {RESTORE}")
    if altered := [name for name in LISTED if sha256(files[name]) != listed[name]]:
        raise ValueError(
            f"{folder}: altered, or of another model: {' and '.join(altered)}, by the SHA-256 in {CARD}; {RESTORE}"
        )


def _arrays(content: bytes) -> dict[str, Tensor]:
    """The arrays of an npz: of bounded size, plain and finite."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if (size := sum(entry.file_size for entry in archive.infolist())) > LARGEST:
            raise ValueError(f"{size:,} bytes of weights, where at most {LARGEST:,} are read")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        weights = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    if broken := [name for name, w in weights.items() if w.is_floating_point() and not w.isfinite().all()]:
        raise ValueError(f"{broken[0]} holds values that are not finite")
    return weights
