"""The kernel that executes a notebook: this interpreter, on a fixed number of threads, its output shown."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, TextIO

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.util import run_sync
from papermill.exceptions import strip_color
from tqdm import tqdm

from dpsynth import memory, project
from dpsynth.mistakes import MISTAKE, Failed
from dpsynth.runner.process import ENVIRONMENT

FORGET = "import gc; get_ipython().reset(new_session=True); gc.collect()"
SOCKET_BYTES = 103  # the longest path of a socket on macOS; Linux has 107
SHORT = ("/tmp", "/dev/shm", "$XDG_RUNTIME_DIR", "/var/tmp")  # where sockets may lie if TMPDIR is too long for them


class Kernel(AsyncKernelManager):
    """This interpreter, whatever kernels are registered, on the threads that `process` says.

    It is spoken to through sockets in a folder of its owner's: what a kernel prints may be private, and local ports are
    open to every user of the machine.
    """

    transport = "ipc"
    _client = None

    @property
    def kernel_spec(self) -> KernelSpec:
        """How it is started."""
        environment = ENVIRONMENT | {"DPSYNTH_ROOT": str(project.root().resolve())}
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python", env=environment)

    def client(self, **kwargs: Any) -> AsyncKernelClient:
        """One at a time: of each notebook its own."""
        if self._client:
            self._client.stop_channels()
        self._client = super().client(**kwargs)
        return self._client

    async def forget(self, **_: Any) -> None:
        """Begin a notebook as if it were the first, but for what was imported."""
        await self._client.execute(FORGET, silent=True, store_history=False, reply=True)

    async def shutdown_kernel(self, *args: Any, **kwargs: Any) -> None:
        if self._client:
            self._client.stop_channels()
        await super().shutdown_kernel(*args, **kwargs)

    def peak_mib(self) -> float | None:
        """Largest resident memory in MiB, since it began or last made an artifact; known on Linux alone."""
        return memory.peak_mib(self.provisioner.pid)


@contextlib.contextmanager
def started() -> Iterator[Kernel]:
    """A kernel for notebooks that are executed one after the other.

    Raises:
        Failed: no folder is short enough for its sockets.
    """
    with sockets() as folder:
        kernel = Kernel(ip=f"{folder}/kernel")  # what the names of its sockets begin with; "-1" and so on follow
        try:
            yield kernel
        finally:
            if kernel.has_kernel:
                run_sync(kernel.shutdown_kernel)(now=True)


def sockets() -> tempfile.TemporaryDirectory:
    """A folder with a path short enough for sockets, its owner's alone as each that tempfile makes."""
    for place in (tempfile.gettempdir(), *map(os.path.expandvars, SHORT)):
        with contextlib.suppress(OSError):
            folder = tempfile.TemporaryDirectory(prefix="dpsynth-", dir=place)
            if len(os.fsencode(f"{folder.name}/kernel-9")) <= SOCKET_BYTES:
                return folder
            folder.cleanup()
    raise Failed(
        f"error: {tempfile.gettempdir()}: too long a path for a kernel's sockets, which hold {SOCKET_BYTES} bytes: "
        "set TMPDIR to a shorter folder", MISTAKE,
    )  # fmt: skip


class Progress:
    """A stream for what a kernel prints: lines, and states of bars, which are redrawn in place, each after `margin`.

    Every state is shown that a bar is drawn in: which ones a clock lets through would tell of time.
    """

    def __init__(self, out: TextIO, margin: str):
        self._out, self._margin, self._line, self._is_bar, self._shown = out, margin, "", False, ""

    def write(self, text: str) -> None:
        """Take the next piece; it may end anywhere in a line."""
        for piece in re.split(r"([\r\n])", text):
            if piece in ("\r", "\n"):
                self._show()
                self._line, self._is_bar = "", piece == "\r"
            else:
                self._line += piece
        if self._is_bar:
            self._show()

    def flush(self) -> None:
        """Nothing waits: a line is written when it is shown."""

    def _show(self) -> None:
        line = strip_color(self._line).rstrip()
        if line and line != self._shown:
            tqdm.write(f"{self._margin}{line}", file=self._out)  # keeps clear of papermill's own bar
            self._shown = line
