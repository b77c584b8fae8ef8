"""What ends a command early, said for people: one sentence, with what is wrong, where, and what to do."""

import contextlib
import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError

from dpsynth import device
from dpsynth.privacy import disk

CELL, MISTAKE, UNDRAWN, OUT_OF_TIME, INTERRUPT, KILL = 1, 2, 3, 4, 130, 138  # exit codes
RESUMES = "the same command continues where this one stopped"
NO_LOCKS = (
    "its file system has no locks, without which two runs could spend one budget twice: "
    "set DPSYNTH_ROOT to a folder on a local disk"
)
NO_RIGHT = "your rights do not reach it: change them, or set DPSYNTH_ROOT to a folder of your own"
TOO_MANY = f"too many files are open: raise the limit (ulimit -n) or run fewer at a time; {RESUMES}"
IN_THE_WAY = "something else lies where this belongs: move it away"
SYSTEM = {
    errno.ENOENT: "no such file or folder: check the path",
    errno.ENOSPC: f"the disk is full: make room; {RESUMES}",
    errno.EDQUOT: f"your quota of the disk is used up: make room; {RESUMES}",
    errno.EROFS: "it lies on a disk that cannot be written: set DPSYNTH_ROOT to a folder that can",
    errno.EACCES: NO_RIGHT,
    errno.EPERM: NO_RIGHT,
    errno.ENAMETOOLONG: "the name is longer than its file system allows: choose a shorter one",
    errno.ELOOP: "its links lead in a circle: mend the link",
    errno.ENOLCK: NO_LOCKS,
    errno.EOPNOTSUPP: NO_LOCKS,
    errno.ENOSYS: NO_LOCKS,
    errno.EMFILE: TOO_MANY,
    errno.ENFILE: TOO_MANY,
    errno.EIO: f"the disk failed: check it, or restore the file; {RESUMES}",
    errno.ESTALE: f"its network disk lost it: mount that anew; {RESUMES}",
    errno.EISDIR: "a folder lies where a file belongs: move it away",
    errno.ENOTDIR: "a file lies where a folder belongs: move it away",
    errno.EEXIST: IN_THE_WAY,
    errno.ENOTEMPTY: IN_THE_WAY,
    errno.EPIPE: f"whoever read the output is gone; {RESUMES}",
}
MEMORY = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")  # torch's, RuntimeErrors
ON_GPU = "CUDA out of memory"  # how torch begins of a GPU's
PATHLIB = ("Symlink loop", "Could not determine home")  # and pathlib's
IN_CELLS = {
    **dict.fromkeys(("ValueError", "BudgetError"), ValueError),
    **dict.fromkeys(("OSError", "FileNotFoundError", "NotADirectoryError", "PermissionError"), OSError),
    **dict.fromkeys(("MemoryError", "_ArrayMemoryError", "OutOfMemoryError"), MemoryError),
    "RuntimeError": RuntimeError, "SafetensorError": SafetensorError,
}  # fmt: skip
LONGEST = 200  # characters of a path that are shown


class Failed(Exception):
    """Says what ended a run, for people; `code` is the exit code."""

    def __init__(self, sentence: str, code: int):
        super().__init__(sentence)
        self.code = code


def ended(action: Callable[[], None]) -> int:
    """The exit code of `action`; what ended it early is said on stderr. SIGTERM is taken as an interrupt."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what must be undone is
    try:
        action()
    except Failed as failure:
        print(failure, file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        print(f"\ninterrupted; {RESUMES}", file=sys.stderr)
        return INTERRUPT
    except (OSError, MemoryError, SafetensorError) as error:  # of the machine, wherever they come from
        print(f"error: {sentence(error)}", file=sys.stderr)
        return MISTAKE
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


@contextlib.contextmanager
def mistakes() -> Iterator[None]:
    """What the user can mend is said in one sentence, without a traceback; for checks that spend nothing."""
    try:
        yield
    except Exception as error:
        if (line := sentence(error)) is None:
            raise
        raise Failed(f"error: {line}", MISTAKE) from None


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the system get the `path` of the file at work, where they come without, or dressed by a library."""
    try:
        with disk.naming(path):
            yield
    except SafetensorError as error:
        if number := _number(error):
            raise OSError(number, os.strerror(number), str(path)) from None
        raise
    except RuntimeError as error:  # torch's, while the system's was being handled
        if isinstance(system := error.__context__, OSError) and system.errno:
            raise OSError(system.errno, system.strerror, str(path)) from None
        raise


def sentence(error: BaseException) -> str | None:
    """What is wrong and what to do, on one line; None for a bug, which needs its traceback.

    A ValueError, and an OSError that the system did not make, are taken to be a sentence already.
    """
    if isinstance(error, SafetensorError) and (number := _number(error)):
        error = OSError(number, os.strerror(number))
    message = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno:
        path = str(error.filename or "a file of this run")
        where = path if len(path) <= LONGEST else f"{path[:LONGEST]}..."
        return f"{where}: {SYSTEM.get(error.errno) or f'{error.strerror}: mend that; {RESUMES}'}"
    if isinstance(error, OSError | ValueError):
        return message
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(text in message for text in MEMORY)):
        wanted = f" ({message[:LONGEST]})" if message else ""
        if message.startswith(ON_GPU) and (rows := device.at_once(1)) > 1:
            return f"not enough memory on the GPU{wanted}: set DPSYNTH_MICROBATCH={rows // 2}; {RESUMES}"
        return f"not enough memory{wanted}: choose smaller sizes in the parameter file, or run fewer at a time"
    if isinstance(error, OverflowError):
        return f"a number is too large to compute with ({message}): choose a smaller one"
    if isinstance(error, RecursionError):
        return "a file is nested too deeply to be read: write it with fewer levels"
    if isinstance(error, SafetensorError):
        return f"a safetensors file is not whole ({message}): restore it from a copy, or delete it and run again"
    if isinstance(error, RuntimeError) and message.startswith(PATHLIB):
        return f"{message}: check the path"
    return None


def of_cell(ename: str, evalue: str, trace: str) -> str | None:
    """The same for an error in a notebook's cell, of which only texts are left.

    Args:
        ename, evalue: the error's class and message; trace: its traceback as IPython prints it, without colours.
    """
    if system := re.match(r"\[Errno (\d+)\] [^:]*(?:: '(.*?)')?", evalue):
        return sentence(OSError(int(system[1]), os.strerror(int(system[1])), system[2]))
    kind = IN_CELLS.get(ename)
    if kind is None or (kind in (ValueError, OSError) and not _is_ours(trace)):
        return None
    return sentence(kind(evalue))


def _number(error: SafetensorError) -> int | None:
    """The system's number of what went wrong, if it was the system that failed."""
    code = re.search(r"\(os error (\d+)\)|code: (\d+)", str(error))
    return int(code[1] or code[2]) if code else None


def _is_ours(trace: str) -> bool:
    """Whether the error was raised in this package's own words, not in a cell or in another library's."""
    frames = re.findall(r"^File (.+?):\d+, in ", trace, re.MULTILINE)
    return bool(frames) and Path(frames[-1]).expanduser().is_relative_to(Path(__file__).parent)
