"""Folders of images, by names alone: one folder a class, or images without classes directly in the folder.

Names are compared in Unicode's composed form (NFC): a Mac writes the accents of a name as characters of their own.
"""

import os
import stat
from pathlib import Path
from unicodedata import normalize

UNLABELLED = ""  # the class of images directly in the folder; no class folder can be called so
SYSTEMS = {  # what systems leave in folders; passed over, like names that begin with a dot
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information",
    "__macosx", "icon\r", "@eadir", "lost+found",
}  # fmt: skip
LISTED = 10  # files that a sentence names at most


def composed(name: str) -> str:
    """A name as it is compared: two that look alike are alike."""
    return normalize("NFC", name)


def printable(text: str) -> str:
    """No line break or escape sequence of a file's name reaches the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def told(path: Path | str) -> str:
    """A path for a sentence."""
    return printable(str(Path(path).absolute()))


def several(paths: list[str]) -> str:
    """LISTED of them, and the number of the others."""
    more = f" and {len(paths) - LISTED} more" if len(paths) > LISTED else ""
    return ", ".join(paths[:LISTED]) + more


def listing(path: Path) -> dict[str, list[Path]]:
    """The files of each class by name (NFC); of {UNLABELLED: files} if there are no class folders. Opens no file.

    Names that begin with a dot are passed over, and what systems leave behind (SYSTEMS).

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no image in it, or files where only folders may be, or the reverse; neither of the two; two folders
            of one name; a folder that cannot be listed.
    """
    if not _is_folder(path):
        raise FileNotFoundError(f"the image folder {told(path)} does not exist; check the path")
    folders, files = _entries(path)
    if folders and files:
        raise ValueError(f"{told(files[0])} lies beside class folders; move it into one of them, or away")
    groups: dict[str, list[Path]] = {} if folders else {UNLABELLED: files}
    for folder in folders:
        name = composed(folder.name)
        if name in groups:
            raise ValueError(f"two class folders of {told(path)} are called {name}, in two spellings; merge them")
        if not _is_unicode(name):
            raise ValueError(
                f"the name of the class folder {told(folder)} is not Unicode; rename it, or set PYTHONUTF8=1 if it is "
                "only the locale that cannot read it"
            )
        nested, groups[name] = _entries(folder)
        if nested:
            raise ValueError(f"{told(nested[0])} is a folder where images are expected; classes do not nest")
    if not any(groups.values()):
        raise ValueError(f"the image folder {told(path)} is empty; put images in it, one folder a class")
    return groups


def public_listing(path: Path) -> dict[str, list[Path]]:
    """As `listing`, for a folder whose classes are what it holds.

    Raises:
        ValueError: a class without an image; and as `listing`.
    """
    groups = listing(path)
    if empty := [told(path / name) for name, files in groups.items() if not files]:
        raise ValueError(f"public class folders without an image: {several(empty)}; fill them, or take them away")
    return groups


def declared_listing(path: Path, classes: tuple[str, ...]) -> list[list[Path]]:
    """The files of each declared class, in that order; images directly in the folder are of the only class.

    A declared class may be empty: to tell of it would tell of records.

    Raises:
        ValueError: the folder contradicts the declaration; and as `listing`.
    """
    files, names = listing(path), [composed(name) for name in classes]
    if UNLABELLED in files and len(classes) == 1:
        files = {names[0]: files[UNLABELLED]}
    elif UNLABELLED in files:
        raise ValueError(f"{told(path)} has no class folders, but labels declares {', '.join(classes)}")
    undeclared = [printable(name) for name in files if name not in names]
    absent = [printable(label) for label, name in zip(classes, names, strict=True) if name not in files]
    if undeclared or absent:
        raise ValueError(
            f"{told(path)} contradicts the declared labels: "
            f"class folders not declared: {', '.join(undeclared) or 'none'}; "
            f"labels without a folder: {', '.join(absent) or 'none'}"
        )
    return [files[name] for name in names]


def shared(one: Path, other: Path) -> tuple[Path, Path] | None:
    """A file or folder of `one` and one of `other` that are the same on the disk, by whatever names; None if none is.

    Raises:
        as `listing`.
    """
    paths = {_place(path): path for path in _all(one)}
    return next(((paths[place], path) for path in _all(other) if (place := _place(path)) in paths), None)


def link_into(one: Path, other: Path) -> Path | None:
    """A file or class folder of `one` that is a link into `other`, which is not listed and need not exist; or None.

    Raises:
        as `listing`.
    """
    place = other.resolve()
    return next((path for path in _all(one) if path.is_symlink() and path.resolve().is_relative_to(place)), None)


def _all(path: Path) -> list[Path]:
    """The folder, its class folders and the files of them all."""
    files = [file for group in listing(path).values() for file in group]
    return [path, *sorted({file.parent for file in files} - {path}), *files]


def _place(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:  # a loop of links, a name too long, a folder on the way that may not be entered
        raise ValueError(f"the image folder {told(path)} cannot be read ({error.strerror}); check the path") from None


def _is_unicode(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:  # bytes of another encoding, which could not be printed after the release either
        return False


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Folders and regular files in `folder`, each in the order of their names."""
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: (composed(entry.name), entry.name)):
                if entry.name.startswith(".") or entry.name.casefold() in SYSTEMS:
                    continue
                if not entry.is_dir() and not entry.is_file():  # opening a pipe would wait for its writer
                    raise ValueError(
                        f"{told(entry.path)} is neither a file nor a folder, but a pipe, a socket, a device or "
                        "a link to nothing; take it away"
                    )
                (folders if entry.is_dir() else files).append(folder / entry.name)
    except OSError as error:
        raise ValueError(f"{told(error.filename or folder)} cannot be read ({error.strerror}); mend that") from None
    return folders, files
