"""Where a project lies: one folder, one ledger, wherever a notebook, a script or a command is started.

Where there is none, or it holds a dpsynth of its own while another checkout's is running, a ValueError says so.
"""

import os
from pathlib import Path

from dpsynth.privacy.ledger import canonical

MARKS = ("notebooks/01_semantic_query.py", "params")
PACKAGE = Path(__file__).parent
FOLDER = "folder:"


def root() -> Path:
    """Where build/, cache/ and ledger/ live: $DPSYNTH_ROOT, else the project's folder."""
    named = os.environ.get("DPSYNTH_ROOT")
    if not named:
        return folder()
    _around(Path.cwd())
    return Path(named)


def folder() -> Path:
    """The project's folder: the working directory or the first above it that holds notebooks/ and params/, else the
    checkout that this package lies in. "." for the working directory."""
    here = Path.cwd()
    if place := _around(here) or _around(PACKAGE.parent, above=False):
        return Path() if place == here else place
    raise ValueError(
        f"no project at or above {here}: start in the project's folder, which holds notebooks/ and params/, "
        "or set DPSYNTH_ROOT to where its ledger shall lie; nothing was touched"
    )


def data() -> Path:
    """Where image sets that are not embedded lie, and are prepared: $DPSYNTH_DATA, else cache/data below the root."""
    return Path(os.environ.get("DPSYNTH_DATA") or root() / "cache" / "data").absolute()


def enter() -> None:
    """Make the project's folder the working directory, from which a command's relative paths are taken.

    A relative $DPSYNTH_ROOT or $DPSYNTH_DATA keeps its meaning.
    """
    for variable in ("DPSYNTH_ROOT", "DPSYNTH_DATA"):
        if named := os.environ.get(variable):
            os.environ[variable] = os.path.abspath(named)
    os.chdir(folder())


def anchored(name: str) -> str:
    """A set's name such that it means the same folder from here: a relative path starts in the project's folder."""
    path = name.removeprefix(FOLDER)
    if not name.startswith(FOLDER) or not path or path.startswith("~") or os.path.isabs(path):
        return name
    place = folder()
    return name if place == Path() else f"{FOLDER}{place / path}"


def placed(value: object) -> object:
    """A set's name with its whole path, as ledgers have it: one folder is one input. Else `value` itself."""
    return canonical(value) if isinstance(value, str) else value


def _around(start: Path, above: bool = True) -> Path | None:
    """`start`, or the first folder above it, that is a project; None if there is none."""
    for place in (start, *(start.parents if above else ())):
        if all((place / mark).exists() for mark in MARKS):
            _refuse_another(place)
            return place
    return None


def _refuse_another(place: Path) -> None:
    """A copied project whose environment still imports the original would spend by other code than it shows."""
    own = place / PACKAGE.name
    ours_is_a_checkout = all((PACKAGE.parent / mark).exists() for mark in MARKS)
    if ours_is_a_checkout and (own / "__init__.py").exists() and not own.samefile(PACKAGE):
        raise ValueError(
            f"the project {place} has a dpsynth of its own, but this Python imports {PACKAGE}: an environment that was "
            "copied with a project still means the original's; delete .venv and run make, which makes a fresh one"
        )
