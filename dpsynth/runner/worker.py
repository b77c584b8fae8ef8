"""One of the processes that torchrun starts: several GPUs make the runs of a parameter file together.

`torchrun --nproc-per-node N -m dpsynth.runner.worker FILE`; without GPUs it is N processes of the CPU.

It is `dpsynth run` in several processes. Pre-training, DP-SGD and sampling are shared out; other work is rank 0's,
while the others wait. Ledger, plan and noise are those of one process, and so are the names of artifacts; weights are
equal within rounding. A run that was stopped goes on with as many processes as there are then, or with `dpsynth run`.
Torchrun adds lines of its own where a process ends early, and its exit status is then 1.
"""

import os
import sys
from collections.abc import Callable

from dpsynth import distributed, terminal
from dpsynth.mistakes import INTERRUPT, MISTAKE, OUT_OF_TIME, Failed, ended, mistakes
from dpsynth.runner import headless

LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL")  # in torch's RuntimeErrors


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = terminal.parser("torchrun --nproc-per-node N -m dpsynth.runner.worker", __doc__)
    headless.add_arguments(parser)
    given = parser.parse_args(argv)
    number = int(os.environ.get("RANK", 0))
    if number:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives

    def action() -> None:
        with mistakes():
            distributed.begin()
        headless.work(given)
        distributed.end()

    return ended(lambda: _as_one(number, action))


def _as_one(number: int, action: Callable[[], None]) -> None:
    """One sentence for all processes, by the one that something went wrong in, or by rank 0."""
    try:
        action()
    except Failed as failure:
        if number and failure.code == OUT_OF_TIME:
            sys.exit(failure.code)
        raise Failed(f"rank {number}: {failure}" if number else str(failure), failure.code) from None
    except KeyboardInterrupt:
        if number == 0:
            raise
        sys.exit(INTERRUPT)
    except RuntimeError as error:
        if not any(text in str(error) for text in LOST):
            raise
        sys.exit(MISTAKE)  # another process ended, and said why


if __name__ == "__main__":
    sys.exit(main())
