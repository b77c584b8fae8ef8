"""How a process that makes artifacts is started: on a fixed number of threads, with memory that stays its own."""

import os
import sys

from dpsynth import device

# Not the machine's: a sum is split among threads, so results depend on their number bit for bit. Two is what the
# smallest machine has.
THREADS = 2
# Of a process that trains. Threads that wait sleep: torch's spin by default, which makes a step ten times slower as
# soon as anything else runs on the same cores. What is freed stays for the next step: glibc hands large blocks back by
# default and faults their pages in again, which took a sixth of a DP-SGD step.
ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(THREADS)) | {
    "OMP_WAIT_POLICY": "PASSIVE", "MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_MMAP_THRESHOLD_": str(2**25 - 4096),
}  # fmt: skip


def tuned() -> None:
    """Start this command anew in such an environment, unless it is in it; on a GPU the threads are the machine's."""
    if not device.on_gpu() and not ENVIRONMENT.items() <= os.environ.items():
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | ENVIRONMENT)
