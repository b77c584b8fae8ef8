"""One of the processes that `torchrun --nproc-per-node N -m dpsynth.runner.worker FILE` starts: N GPUs make the runs of
a parameter file together, or N processes of the CPU.

Pre-training, DP-SGD and sampling are shared out; other work is rank 0's, while the others wait. Ledger, plan and noise
are those of one process, and so are the names of artifacts; weights are equal within rounding. What was made is found
by every other command. Started without torchrun it is one process, which makes the same.
"""

import argparse
import os
import sys
from collections.abc import Callable

from dpsynth import distributed, experiments, project, terminal
from dpsynth.data import catalog
from dpsynth.mistakes import INTERRUPT, MISTAKE, Failed, ended, mistakes
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.report import results

LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL")  # in torch's RuntimeErrors


def checked(points: list[Params]) -> list[Run]:
    """The runs, all that can be refused refused; a private set that several have is opened once.

    Raises:
        As `Run.check`.
    """
    runs, checks, sealed = [], set(), {}
    for p in points:
        declared = (p.private, p.n_records, p.labels, p.size, p.background)
        runs.append(Run(p, sealed.get(declared)))
        runs[-1].check(checks)
        sealed[declared] = runs[-1].private
    return runs


def make(run: Run) -> None:
    """Every artifact of a run, in order, whether it stands or not, as the processes meet in each; then rank 0 writes
    the files of the run."""
    for kind in run.recipes():
        print(f"{run.params.run_name}: {kind}", flush=True)
        run.artifact(kind)
    print(f"{run.params.run_name}: samples", flush=True)
    measured = run.rows if run.params.constants.builtin else {}
    if measured:
        print(f"{run.params.run_name}: measurements of {', '.join(measured)}", flush=True)
    _ = run.samples, run.measurements
    if distributed.rank() == 0:
        with distributed.alone():
            results.write_certificate(run)
            results.write_artifacts(run)
            results.write_synthetic(run)
            if measured:
                results.write_metrics(run)


def work(given: argparse.Namespace) -> None:
    """Meet the other processes, and make the runs with them; see the module.

    Raises:
        Failed: something cannot be run.
    """
    axes = {name: getattr(given, name) for name in ("method", "epsilon", "seed") if getattr(given, name)}
    points: list[Params] = []
    try:
        with mistakes():
            distributed.begin()
            project.enter()
            points = experiments.load(experiments.find(given.file), given.scale, **axes).points()
            for run in checked(points):
                make(run)
            distributed.end()
    finally:
        for private in {p.private for p in points if not p.constants.builtin}:
            catalog.forget_decoded(private)


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = terminal.parser("torchrun --nproc-per-node N -m dpsynth.runner.worker", __doc__)
    parser.add_argument("file", metavar="FILE", help="name or path of a parameter file below params/")
    parser.add_argument("--scale", help="a file of params/scales/, in place of the one that the experiment names")
    parser.add_argument("--method", type=_several, help="these instead of the file's, separated by commas")
    parser.add_argument("--epsilon", type=_several, help="these instead; inf is the non-private twin")
    parser.add_argument("--seed", type=lambda text: [int(part) for part in text.split(",")], help="these instead")
    given = parser.parse_args(argv)
    number = int(os.environ.get("RANK", 0))
    if number:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    return ended(lambda: _as_one(number, lambda: work(given)))


def _as_one(number: int, action: Callable[[], None]) -> None:
    """One sentence for all processes, by the one that something went wrong in."""
    try:
        action()
    except Failed as failure:
        raise Failed(f"rank {number}: {failure}" if number else str(failure), failure.code) from None
    except KeyboardInterrupt:
        if number == 0:
            raise
        sys.exit(INTERRUPT)
    except RuntimeError as error:
        if not any(text in str(error) for text in LOST):
            raise
        sys.exit(MISTAKE)  # another process ended, and said why


def _several(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


if __name__ == "__main__":
    sys.exit(main())
