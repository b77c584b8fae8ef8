"""The largest resident memory of a process."""

import contextlib
import ctypes
import re
from pathlib import Path


def peak_mib(process: int | str = "self") -> float | None:
    """Largest resident memory in MiB, since the process began or last forgot its peak; known on Linux alone.

    rusage would count what its parent held before it, too.
    """
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        return round(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024, 1)
    return None


def forget_peak() -> None:
    """Let the peak be what is held now, and give back to the system what was freed: else a stage has the peak of those
    that the same process worked before it. Does nothing where the system cannot (proc(5), clear_refs)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
