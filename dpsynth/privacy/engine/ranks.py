"""The processes of torchrun that share a step: which micro-batches are whose, and the sum of all.

All draw the same records and the same noise from the same coins, so that a step is one release however many compute it:
each micro-batch is one process's, and the noise is added to the sum of all, once. What crosses between them is the sum
before noise, as private as the records: they belong on one machine, or on a network that nobody else listens to.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Ranks:
    """Process number `rank` of `world`; alone unless told."""

    rank: int = 0
    world: int = 1

    def share(self, parts: list) -> list:
        """Those of `parts` that are this process's; each is one's."""
        return parts[self.rank :: self.world]

    def agree(self, *facts: Any) -> None:
        """Compare what every process must have alike: a record that two counted would move the sum by 2 C.

        Raises:
            ValueError, in all of them: they differ.
        """
        if self.world == 1:
            return
        word = int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:7])
        largest = torch.tensor([word, -word])
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        if largest[0] != -largest[1]:
            raise ValueError(
                "the processes of this run do not draw the same records, or do not cut them into the same "
                "micro-batches: give all the same data and the same DPSYNTH_MICROBATCH; this step released nothing"
            )

    def summed(self, sums: list[Tensor]) -> list[Tensor]:
        """The sum over the processes of each tensor: the same bits in all, as each gets the one result."""
        if self.world == 1:
            return sums
        flat = torch.cat([each.flatten() for each in sums])
        distributed.all_reduce(flat)
        parts = flat.split([each.numel() for each in sums])
        return [part.view_as(each) for part, each in zip(parts, sums, strict=True)]


ALONE = Ranks()


def sharing(joined: bool) -> Ranks:
    """All processes of the run, if they joined the work; else this one alone."""
    return Ranks(distributed.get_rank(), distributed.get_world_size()) if joined else ALONE
