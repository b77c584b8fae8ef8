"""`dpsynth unpack IN.tar`: put what was packed on another machine into this project.

All is checked before anything is written. Nothing that stands is overwritten: what is the same is left as it is, and
what is not is refused. A ledger grows by the entries that the pack's has after its own.
"""

import argparse
import contextlib
import importlib
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dpsynth import privacy, project, provenance
from dpsynth.data import carried, prepared
from dpsynth.data.private_sets import PRIVATE
from dpsynth.mistakes import mistakes
from dpsynth.privacy.disk import locked, naming, sync
from dpsynth.runner.pack import FORMAT, MANIFEST, MIB, Hashing, digest
from dpsynth.sources import work_digest

CHUNK = 2**20
LONGEST = 2**26  # bytes of a manifest
# What a pack may hold. Whole folders come into place as such, other files one by one.
FOLDERS = re.compile(
    r"(build/artifacts/[a-z]+-[0-9a-f]{16})/(meta\.json|tensors\.safetensors)"
    r"|(data/prepared/[a-z0-9_]+)/(images\.npy|labels\.npy|set\.json)"
)
FILES = re.compile(
    r"build/artifacts/[a-z]+-[0-9a-f]{16}\.partial/checkpoint\.pt|cache/mnist5k\.npz"
    r"|data/(MNIST|FashionMNIST)/raw/[a-z0-9-]+(\.gz)?"
)
LEDGER = re.compile(r"ledger/([a-z0-9_]+)\.jsonl")
COSTS = ("seconds", "peak_MiB", "versions", "commit", "threads", "device", "precision")  # of meta.json: not the work


def read(given: argparse.Namespace) -> None:
    """Check a pack, then put its files in place, and say what was done.

    Raises:
        Failed: it is another version's, not whole, edited, or at odds with what stands here.
    """
    with mistakes():
        path = given.pack.absolute()
        project.enter()
        with _opened(path) as archive, tempfile.TemporaryDirectory(prefix="dpsynth-") as folder:
            manifest = _manifest(path, archive)
            _refuse_other_works(path, manifest)
            members = _checked(path, archive, manifest)
            copies = _ledgers(Path(folder), archive, members)
            for ledger, copy in copies.items():
                ledger.missing(copy)
            files = [name for name in members if not LEDGER.fullmatch(name)]
            fresh = [name for name in files if not _stands(name, manifest["files"][name][1], archive, members)]
            added = {ledger.path: ledger.extend(copy) for ledger, copy in copies.items()}  # before what it tells of
            for target, names in _targets(fresh).items():
                _put(archive, target, [members[name] for name in names])
        size = sum(members[name].size for name in fresh)
        print(f"{len(fresh)} files, {size / MIB:.1f} MiB, are in place; {len(files) - len(fresh)} stood already")
        for ledger, entries in added.items():
            print(f"{ledger}: {entries} entries added")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """The archive; what tar cannot read in it, now or later, is said in one sentence."""
    try:
        with naming(path), tarfile.open(path, "r:") as archive:
            yield archive
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{path} is no pack, or not a whole one ({error}): copy it again") from None


def _manifest(path: Path, archive: tarfile.TarFile) -> dict[str, Any]:
    first = archive.next()
    try:
        if first is None or first.name != MANIFEST or not first.isreg() or first.size > LONGEST:
            raise ValueError("its first file is not the list of the others")
        manifest = json.loads(archive.extractfile(first).read())
        version = manifest["format"]
        if version == FORMAT and manifest["digest"] != digest(manifest):
            raise ValueError(f"{MANIFEST} was edited, or not read as it was written")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not what `dpsynth pack` wrote ({error}): make it again, or copy it again"
        ) from None
    if version != FORMAT:
        raise ValueError(
            f"{path} is a pack of format {version} (commit {manifest.get('commit')}), and this version reads {FORMAT}: "
            "unpack it with the version that packed it, or pack it again with this one"
        )
    return manifest


def _refuse_other_works(path: Path, manifest: dict[str, Any]) -> None:
    """What other code made would not be found here: artifacts are named by the code of their works."""
    for name, known in manifest["works"].items():
        module, _, function = name.rpartition(".")
        try:
            work = getattr(importlib.import_module(module), function) if module.startswith("dpsynth.") else None
        except (ImportError, AttributeError):
            work = None
        if work is None or work_digest(work) != known:
            raise ValueError(
                f"{path} was packed by another version of dpsynth (commit {manifest['commit']}, here "
                f"{provenance.commit()}), whose {name} differs, so that nothing of it would be found: unpack it in a "
                "checkout of that commit"
            )


def _checked(path: Path, archive: tarfile.TarFile, manifest: dict[str, Any]) -> dict[str, tarfile.TarInfo]:
    """The members by name: regular files that belong into a project, all that were packed, each with its content."""
    members: dict[str, tarfile.TarInfo] = {}
    while member := archive.next():
        ledger = LEDGER.fullmatch(member.name)
        known = FOLDERS.fullmatch(member.name) or FILES.fullmatch(member.name) or (ledger and ledger[1] in PRIVATE)
        if not (known and member.isreg()):
            kind = "file" if member.isreg() else "link or other special file"
            raise ValueError(f"{path} holds the {kind} {member.name!r}, which no pack has: do not trust it")
        if member.name in members or member.name not in manifest["files"]:
            raise ValueError(f"{path} holds {member.name} twice, or without saying so: it was edited; copy it again")
        reader = Hashing(archive.extractfile(member))
        while reader.read(CHUNK):
            pass
        if [member.size, reader.sha256.hexdigest()] != manifest["files"][member.name]:
            raise ValueError(f"{path}: {member.name} is not what was packed: it was edited or cut short; copy it again")
        members[member.name] = member
    if lacking := sorted(manifest["files"].keys() - members.keys()):
        raise ValueError(
            f"{path} lacks {len(lacking)} of its files, {lacking[0]} first: it was cut short; copy it again"
        )
    return members


def _ledgers(folder: Path, archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> dict[Any, list[dict]]:
    """The ledgers of this project that the pack has copies of, and the entries of each copy, which are checked."""
    copies = {}
    for name, member in members.items():
        if ledger := LEDGER.fullmatch(name):
            _extract(archive, member, folder / f"{ledger[1]}.jsonl")
            ours, copy = (
                privacy.Ledger(place, ledger[1], "seeded", 0) for place in (project.root() / "ledger", folder)
            )
            copies[ours] = copy.entries()
    return copies


def _stands(name: str, known: str, archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> bool:
    """Whether a file is there already, the same.

    Raises:
        ValueError: another one is there in its place.
    """
    place = carried.place(name)
    whole = place.parent if FOLDERS.fullmatch(name) else place
    if FILES.fullmatch(name) and place.parent.suffix == ".partial" and place.parent.with_suffix("").exists():
        return True  # its work is finished here
    if not whole.exists():
        return False
    if place.exists() and (prepared.sha256(place) == known or _same_work(place, archive, members[name])):
        return True
    raise ValueError(
        f"{place} stands here and is another than in the pack, which overwrites nothing: move {whole} away, or unpack "
        "into a DPSYNTH_ROOT of its own"
    )


def _same_work(place: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    """Whether two meta.json tell of the same work, whatever it took and wherever it was done."""
    if place.name != "meta.json":
        return False
    metas = json.loads(place.read_bytes()), json.loads(archive.extractfile(member).read())
    here, there = ({key: value for key, value in meta.items() if key not in COSTS} for meta in metas)
    return here == there


def _targets(names: list[str]) -> dict[Path, list[str]]:
    """What comes into place as one: folders, and single files."""
    targets: dict[Path, list[str]] = {}
    for name in names:
        place = carried.place(name)
        targets.setdefault(place.parent if FOLDERS.fullmatch(name) else place, []).append(name)
    return targets


def _put(archive: tarfile.TarFile, target: Path, members: list[tarfile.TarInfo]) -> None:
    """Put a file or a folder into place, whole or not at all; whoever would make it waits meanwhile."""
    lock, aside = (target.with_name(f"{target.name}.{what}") for what in ("lock", "unpacking"))
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock), naming(target):
        try:
            if FOLDERS.fullmatch(members[0].name):
                shutil.rmtree(aside, ignore_errors=True)  # of an unpacking that was killed
                aside.mkdir()
                for member in members:
                    _extract(archive, member, aside / Path(member.name).name)
            else:
                _extract(archive, members[0], aside)
            os.replace(aside, target)
            sync(target.parent)
        finally:
            if aside.is_dir():
                shutil.rmtree(aside)
            aside.unlink(missing_ok=True)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    with open(place, "wb") as file:
        shutil.copyfileobj(archive.extractfile(member), file, CHUNK)
    sync(place)
