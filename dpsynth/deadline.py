"""A time by which a command is to end: long work saves a checkpoint before it is over, and stops there."""

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from typing import Any

from dpsynth import distributed

MARGIN = 5.0  # seconds that are kept for the end of a command

_until = math.inf  # on the clock of time.monotonic


class OutOfTime(BaseException):
    """The time is as good as over. What was made stands, what was begun has its checkpoint.

    No Exception, as an interrupt is none: nothing shall take it for a failure of the work that it ends.
    """


@contextlib.contextmanager
def within(minutes: float | None) -> Iterator[None]:
    """End what is done inside before so many minutes are over; None for as long as it takes.

    Loops that have checkpoints ask `is_near` after each step, and stop there. Whatever else still runs when the time is
    over is ended by the system's alarm, as by an interrupt: work without checkpoints is lost, and begins again. Of
    several processes rank 0 has the clock.

    Raises:
        OutOfTime: it did not end by itself.
    """
    global _until
    if minutes is None:
        yield
        return
    before = signal.signal(signal.SIGALRM, _ring)
    _until = time.monotonic() + 60 * minutes
    if distributed.rank() == 0:
        signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        _until = math.inf


def is_near(seconds: float) -> bool:
    """Whether what takes so many seconds should not be begun any more; in all processes what rank 0 says."""
    near = time.monotonic() + seconds + MARGIN > _until
    return near if math.isinf(_until) else distributed.from_rank_0(near)


def _ring(*_: Any) -> None:
    raise OutOfTime
