"""The kernel that executes a notebook: this interpreter, on a fixed number of threads, its output shown."""

import atexit
import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from papermill.exceptions import strip_color
from tqdm import tqdm

from dpsynth import project
from dpsynth.mistakes import MISTAKE, Failed

# Not the machine's: a sum is split among threads, so results depend on their number bit for bit. Two is what the
# smallest machine has.
THREADS = 2
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SOCKET_BYTES = 103  # the longest path of a socket on macOS; Linux has 107
SHORT = ("/tmp", "/dev/shm", "$XDG_RUNTIME_DIR", "/var/tmp")  # where sockets may lie if TMPDIR is too long for them
PAUSE = 5.0  # seconds between two states of a progress bar


def manager(sockets: Path, peaks: list[float]) -> type[AsyncKernelManager]:
    """A kernel manager that starts this interpreter, whatever kernels are registered.

    Args:
        sockets: folder for its sockets, its owner's alone: what a kernel prints may be private, and local
            ports are open to every user of the machine.
            Where its path is too long for sockets, a short folder like it, which goes with the kernel.
        peaks: gets the kernel's largest resident memory in MiB when it ends, on Linux.
    Raises:
        Failed: no folder is short enough.
    """
    environment = dict.fromkeys(THREAD_VARIABLES, str(THREADS))  # read by what the kernel imports
    environment["DPSYNTH_ROOT"] = str(project.root().resolve())
    place = sockets if _fits(sockets) else _short()
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

    class Kernel(AsyncKernelManager):
        transport = "ipc"
        ip = _socket(place)
        kernel_spec = KernelSpec(argv=command, display_name="Python 3", language="python", env=environment)

        async def shutdown_kernel(self, *args: Any, **kwargs: Any) -> None:
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{self.provisioner.pid}/status").read_text(encoding="utf-8")
                peaks.append(round(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024, 1))
            await super().shutdown_kernel(*args, **kwargs)
            if place != sockets:
                shutil.rmtree(place, ignore_errors=True)

    return Kernel


def _socket(folder: Path) -> str:
    """What the names of a kernel's sockets begin with; a hyphen and a digit follow."""
    return str(folder / "kernel")


def _fits(folder: Path) -> bool:
    return len(os.fsencode(_socket(folder))) + len("-9") <= SOCKET_BYTES


def _short() -> Path:
    """A folder for sockets with a short path, its owner's alone as each that tempfile makes."""
    for place in map(os.path.expandvars, SHORT):
        with contextlib.suppress(OSError):
            made = Path(tempfile.mkdtemp(prefix="dpsynth-", dir=place))
            atexit.register(shutil.rmtree, made, ignore_errors=True)  # where the kernel did not end as it should
            if _fits(made):
                return made
            made.rmdir()
    said = f"error: {tempfile.gettempdir()}: too long a path for a kernel's sockets, which hold {SOCKET_BYTES} "
    raise Failed(said + "bytes: set TMPDIR to a shorter folder", MISTAKE)


class Progress:
    """A stream for what a kernel prints: lines as they end, bars (redrawn in place) every `pause` seconds, each line
    after `margin`."""

    def __init__(self, out: TextIO, margin: str, pause: float = PAUSE):
        self._out, self._margin, self._pause = out, margin, pause
        self._line, self._is_bar, self._shown, self._last = "", False, "", -pause

    def write(self, text: str) -> None:
        """Take the next piece; it may end anywhere in a line."""
        for piece in re.split(r"([\r\n])", text):
            if piece == "\n":
                self._show()
                self._line, self._is_bar = "", False
            elif piece == "\r":
                self._show_bar()
                self._line, self._is_bar = "", True
            else:
                self._line += piece
        self._show_bar()

    def flush(self) -> None:
        """Nothing waits: a line is written when it is shown."""

    def _show_bar(self) -> None:
        if self._is_bar and time.monotonic() - self._last >= self._pause:
            self._show()

    def _show(self) -> None:
        line = strip_color(self._line).rstrip()
        if line and line != self._shown:
            tqdm.write(f"{self._margin}{line}", file=self._out)  # keeps clear of papermill's own bar
            self._shown, self._last = line, time.monotonic()
