"""The processes that torchrun started for one run: rank 0 decides, writes and speaks, all of them train.

Without torchrun there is one, rank 0 of 1: nothing is sent then, and nothing is waited for. All processes go through
the same work in the same order, as they meet in it. What they send one another has the worth of the records and of the
key of their noise: they belong on one machine, or on a network that nobody else listens to.
"""

import contextlib
import datetime
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dpsynth import device

WAIT = datetime.timedelta(days=30)  # for work that rank 0 does alone

_in_all = 1  # processes that met
_alone = False


def begin() -> None:
    """Meet the other processes that torchrun started, if it started any.

    Raises:
        ValueError: there is no GPU for this one.
    """
    global _in_all
    for dump in ("TORCH_FR_BUFFER_SIZE", "TORCH_NCCL_DUMP_ON_TIMEOUT"):  # which would keep the time of each step
        os.environ[dump] = "0"
    if (started := int(os.environ.get("WORLD_SIZE", 1))) > 1:
        torch.distributed.init_process_group(device.own(int(os.environ["LOCAL_RANK"])), timeout=WAIT)
        _in_all = started


def end() -> None:
    """Part from them."""
    global _in_all
    if _in_all > 1:
        barrier()
        torch.distributed.destroy_process_group()
        _in_all = 1


def spans_machines() -> bool:
    """Whether the processes are of more than one machine."""
    return world() > int(os.environ.get("LOCAL_WORLD_SIZE", world()))


def rank() -> int:
    """Number of this process."""
    return torch.distributed.get_rank() if world() > 1 else 0


def world() -> int:
    """How many processes are in what is being done: all, or one."""
    return 1 if _alone else _in_all


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """What rank 0 does inside, it does as if there were no other."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


@contextlib.contextmanager
def rank_0_first() -> Iterator[None]:
    """What is inside, where nothing is sent, rank 0 does first: what it caches the others find, and of what would be
    wrong in all it alone tells."""
    if rank():
        from_rank_0(None)
    yield
    if rank() == 0:
        from_rank_0(None)


def from_rank_0(value: Any) -> Any:
    """`value` as rank 0 has it, in every process."""
    if world() == 1:
        return value
    said = [value]
    torch.distributed.broadcast_object_list(said, 0, device=device.HOST)
    return said[0]


def barrier() -> None:
    """Wait until all have come here."""
    sum_of([torch.zeros(1)])


def share() -> slice:
    """Of what is shared out, this process's part: every so manieth."""
    return slice(rank(), None, world())


def sum_of(tensors: list[Tensor]) -> list[Tensor]:
    """The sum over the processes of each tensor, all of one dtype and on one device: the same bits in every process."""
    if world() == 1:
        return tensors
    flat = torch.cat([each.flatten() for each in tensors])
    torch.distributed.all_reduce(flat)
    parts = flat.split([each.numel() for each in tensors])
    return [part.view_as(each) for part, each in zip(parts, tensors, strict=True)]
