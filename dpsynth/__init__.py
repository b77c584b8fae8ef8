"""dpsynth: a reproducible companion to the papers on differentially private image synthesis."""

import ctypes
import os
import sys

# Threads that wait should sleep. Torch's spin by default, which makes a step ten times slower as soon as anything else
# runs on the same cores. It is read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# What is freed stays for the next step. By default glibc hands large blocks back and faults their pages in again, which
# took a sixth of a DP-SGD step. (Parameters of mallopt: one arena, no trimming, no separate maps below 32 MiB.)
if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
    for parameter, value in ((-8, 1), (-1, 2**31 - 1), (-3, 2**25 - 4096)):
        libc.mallopt(parameter, value)
