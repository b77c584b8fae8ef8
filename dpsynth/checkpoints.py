"""Work in the making: a folder aside that survives a kill, with at most one checkpoint."""

import dataclasses
import errno
import os
import sys
from pathlib import Path
from typing import Any

import torch

from dpsynth import device, distributed
from dpsynth.mistakes import naming
from dpsynth.privacy.disk import replacing


@dataclasses.dataclass(frozen=True)
class Work:
    """An artifact in the making: a folder aside, that survives a kill, with at most one checkpoint.

    `made_by` digests the code, the machine and the inputs' content, which an artifact's name need not hold.
    """

    kind: str
    digest: str
    path: Path
    lineage: tuple[str, ...]
    made_by: str = ""

    def save(self, **state: Any) -> None:
        """Replace the checkpoint by `state` (tensors, numbers, lists, dicts), atomically, and force it to disk; of
        several processes rank 0 does.

        Raises:
            ValueError: of the state dicts in `trained`, a tensor at the top, weights and averages, is not finite.
        """
        if distributed.rank():
            return
        for name, of_one in state.get("trained", {}).items():
            refuse_infinite(self.kind, {f"{name}/{key}": v for key, v in of_one.items() if isinstance(v, torch.Tensor)})
        path = self.path / "checkpoint.pt"
        with naming(path), replacing(path) as file:
            torch.save({"of": self.digest, "by": self.made_by, **state}, file)

    def resume(self) -> dict[str, Any] | None:
        """The state last saved, or None: in all processes what rank 0 finds.

        A checkpoint that is not whole, or that other code or another kind of machine saved, is set aside, with a word
        on stderr.

        Raises:
            ValueError: it was saved by work with other settings or inputs.
        """
        state = self._saved() if not distributed.rank() else None
        if distributed.from_rank_0(state is not None) and state is None:
            state = self._saved()
        distributed.barrier()  # before it is replaced
        return state

    def _saved(self) -> dict[str, Any] | None:
        path = self.path / "checkpoint.pt"
        if not path.exists():
            return None
        try:
            state = torch.load(path, map_location=device.HOST, weights_only=True)
            saved_of, saved_by = state.pop("of"), state.pop("by")
        except Exception as error:  # torch's readers raise whatever the bytes lead them to, seeks before the start too
            if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno != errno.EINVAL):
                raise  # of the machine: the file may be whole
            return self._set_aside(f"was not whole ({type(error).__name__})")
        if saved_of != self.digest:
            raise ValueError(f"{path} was saved by another run than {self.kind}-{self.digest[:16]}; delete that folder")
        return state if saved_by == self.made_by else self._set_aside("was saved by other code or another machine")

    def _set_aside(self, why: str) -> None:
        torn = self.path / "checkpoint.torn"
        os.replace(self.path / "checkpoint.pt", torn)
        sys.stderr.write(f"\n{torn}: this checkpoint {why}; the work begins again\n")

    def forget(self) -> None:
        """The artifact is made: no checkpoint is needed any more."""
        for file in self.path.glob("checkpoint.*"):
            file.unlink()


def refuse_infinite(kind: str, tensors: dict[str, torch.Tensor]) -> None:
    """Let nothing that diverged become an artifact, from which samples would be drawn.

    Raises:
        ValueError: a tensor holds NaN or an infinity, by its name.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(
                f"{kind}: {name} is not finite, its training diverged: choose a lower learning rate; what it asked of "
                "private records, if it did, is spent, and the same command would end the same way"
            )
