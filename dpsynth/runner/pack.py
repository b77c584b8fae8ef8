"""`dpsynth pack FILE OUT.tar`: what was made of a parameter file, and what it needs, in one file for another machine.

A pack holds the artifacts of the file's runs, the checkpoints of those in the making, the plans, the ledgers of the
private sets, and the files of the sets. It is a tar archive, not compressed: weights and natural images are as good as
random to gzip (docs/running.md), and so its size is known before it is written. Its first member, `pack.json`, names
its format, commit and works, and each file's size and SHA-256.

Releases under `noise: secret` are not packed: their key stays on one machine, as two that had it could answer twice
under one noise.
"""

import argparse
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from dpsynth import experiments, project, provenance
from dpsynth.budget import planning
from dpsynth.data import carried, prepared
from dpsynth.mistakes import mistakes
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy.disk import naming, replacing
from dpsynth.recipes import Recipe
from dpsynth.report import pictures
from dpsynth.runner.command import axes, opened
from dpsynth.sources import work_digest

FORMAT = 1
MANIFEST = "pack.json"
MIB = 2**20


def write(given: argparse.Namespace) -> None:
    """Say what is packed and how large it is, then write it.

    Raises:
        Failed: a run has secret noise, a set is missing or not prepared, a file changed meanwhile.
    """
    with mistakes():
        out = given.out.absolute()
        project.enter()
        path = experiments.find(given.file)
        points = experiments.load(path, given.scale, **axes(given)).points()
        _refuse_secrets(points)
        recipes = [recipe for run in opened(points) for recipe in _recipes(run)]
        files = {**_artifacts(recipes), **_plans(points), **_ledgers(points)}
        files |= {} if given.without_data else _data(points)
        manifest = _manifest(path.stem, files, recipes)
        content = json.dumps(manifest, indent=1).encode()
        size = _size([len(content), *(size for size, _ in manifest["files"].values())])
        print(f"{out}: {len(files)} files, {size / MIB:.1f} MiB", flush=True)
        for kind, its in sorted(_by_kind(manifest).items()):
            print(f"  {kind}: {its / MIB:.1f} MiB", flush=True)
        with replacing(out) as file:
            _archive(file, content, files, manifest)


def _refuse_secrets(points: list[Params]) -> None:
    for p in points:
        if p.noise == "secret":
            raise ValueError(
                f"{p.run_name} has noise: secret: the key of a release and its ledger stay on the machine that began "
                "it, as another one with both could answer twice under one noise; it is not packed"
            )


def _recipes(run: Run) -> Iterator[Recipe]:
    """All that a run may have made, finished or in the making; asks for nothing to be made."""
    before = run.recipes()
    yield from before.values()
    if all(recipe.path.exists() for recipe in before.values()):
        kinds = list(run.row_kinds.values())
        yield from (run.recipe(kind) for kind in kinds)
        if run.params.constants.builtin:
            yield from filter(None, [run.recipe("extractor")])  # images in colour need none of ours
            yield from (run.measurement_recipe(row) for row in run.row_kinds)
        yield from (recipe for recipe, _ in pictures.beside(run).values())


def _artifacts(recipes: list[Recipe]) -> dict[str, Path]:
    """Files of the artifacts that stand, and the checkpoints of those that do not."""
    files = {}
    for recipe in recipes:
        for path in (each.path for each in (recipe, *recipe.elsewhere())):
            if path.exists():
                files |= {f"build/artifacts/{path.name}/{file.name}": file for file in sorted(path.iterdir())}
            elif (checkpoint := path.with_name(f"{path.name}.partial") / "checkpoint.pt").exists():
                files[f"build/artifacts/{path.name}.partial/{checkpoint.name}"] = checkpoint
    return files


def _plans(points: list[Params]) -> dict[str, Path]:
    folders = {path for p in points for path in planning.kept(p)}
    return {f"build/artifacts/{path.name}/{file.name}": file for path in sorted(folders) for file in path.iterdir()}


def _ledgers(points: list[Params]) -> dict[str, Path]:
    paths = {name: project.root() / "ledger" / f"{name}.jsonl" for name in sorted({p.private for p in points})}
    return {f"ledger/{path.name}": path for path in paths.values() if path.exists()}


def _data(points: list[Params]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for name in sorted({name for p in points for name in (p.private, p.public)}):
        files |= carried.files(name)
    return files


def _manifest(name: str, files: dict[str, Path], recipes: list[Recipe]) -> dict[str, Any]:
    works = {f"{r.function.__module__}.{r.function.__qualname__}": work_digest(r.function) for r in recipes}
    known = {place: (path.stat().st_size, prepared.sha256(path)) for place, path in files.items()}
    head = {"format": FORMAT, "commit": provenance.commit(), "of": name, "works": works, "files": known}
    return head | {"digest": digest(head)}


def digest(head: dict[str, Any]) -> str:
    """SHA-256 of a manifest, but for the entry that holds it."""
    parts = {name: value for name, value in head.items() if name != "digest"}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _by_kind(manifest: dict[str, Any]) -> dict[str, int]:
    """Bytes of artifacts, checkpoints, plans, ledgers and sets."""
    sums: dict[str, int] = {}
    for place, (size, _) in manifest["files"].items():
        kind = "checkpoints" if ".partial/" in place else "artifacts" if place.startswith("build/") else "sets"
        kind = "ledgers" if place.startswith("ledger/") else "plans" if place.startswith("build/plans/") else kind
        sums[kind] = sums.get(kind, 0) + size
    return sums


def _size(sizes: list[int]) -> int:
    """Bytes of a tar archive: a block before each file, each in whole blocks, two at the end, all in whole records."""
    blocks = sum(1 + -(-size // tarfile.BLOCKSIZE) for size in sizes) + 2
    return -(-blocks * tarfile.BLOCKSIZE // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _archive(file: BinaryIO, content: bytes, files: dict[str, Path], manifest: dict[str, Any]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(_member(MANIFEST, len(content)), io.BytesIO(content))
        for place, path in files.items():
            size, known = manifest["files"][place]
            with naming(path), open(path, "rb") as source:
                reader = Hashing(source)
                try:
                    archive.addfile(_member(place, size), reader)
                except OSError as error:
                    if error.errno:
                        raise
                if reader.sha256.hexdigest() != known:
                    raise ValueError(f"{path} changed while it was packed: stop the run that makes it, then pack again")


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Whoever packs the same writes the same: no times, no names of users."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


class Hashing:
    """A file that is read once, and its SHA-256 along the way."""

    def __init__(self, source: Any):
        self._source, self.sha256 = source, hashlib.sha256()

    def read(self, n: int = -1) -> bytes:
        """The next bytes."""
        content = self._source.read(n)
        self.sha256.update(content)
        return content
