"""`dpsynth init PATH`: a parameter file for a folder of your own images, with settings that fit them.

It looks into the folder to propose what must be declared, asks, and writes params/NAME.yaml, which it never overwrites.
What is written there is public: a plan is made of it before any record is read.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dpsynth import experiments, project, scales
from dpsynth.data import folders, prepared
from dpsynth.data.public_sets import PUBLIC
from dpsynth.data.survey import Survey, survey
from dpsynth.mistakes import mistakes
from dpsynth.privacy.disk import replacing

EPSILON = "10"
COLOUR, GREY = "laptop_colour", "laptop"  # scales
COLOUR_SETS = {32: ("imagenet32", "tiny_imagenet32"), 64: ("imagenet64", "tiny_imagenet64")}  # the last is easiest got
BATCH = 400, 1000  # records of a step, on average: fewer are lost in noise, more take long on two cores
RATE = 0.1  # of both scales
LEAST = 8  # pixels a side


class Proposal(NamedTuple):
    """What is written, as texts; `remarks` are for the user."""

    name: str
    size: str
    epsilon: str
    public: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `work`."""
    parser.add_argument("path", metavar="PATH", type=Path, help="the folder: one folder a class, or images alone")
    parser.add_argument("--yes", action="store_true", help="take what is proposed, and declare it public")
    parser.add_argument("--name", help="of the parameter file; by default the folder's")


def work(given: argparse.Namespace) -> None:
    """Look, ask, write.

    Raises:
        Failed: the folder cannot be one of images, a file of that name exists, nobody is there to ask, or they say no.
    """
    path = given.path.expanduser().absolute()
    with mistakes():
        project.enter()
        if not given.yes and not (sys.stdin and sys.stdin.isatty()):  # None where it was closed
            raise ValueError(
                "dpsynth init asks before it writes down what becomes public, and nobody is at the terminal: add --yes "
                "to take what it proposes"
            )
        _spelt(path)
        if path.is_file():
            raise ValueError(f"{folders.told(path)} is a file: give the folder that holds the images, unpacked")
        print(f"looking at the names in {folders.told(path)}, and into a few images", flush=True)
        seen = survey(path)
        proposed = _proposal(seen, _name(given.name or path.name))
        _show(seen, proposed)
        chosen = proposed if given.yes else _asked(seen, proposed)
        file = Path("params") / f"{chosen.name}.yaml"
        _refuse_taken(chosen.name)
        text = _text(path, seen, chosen)
        _check(text, file)
        with replacing(file) as out:
            out.write(text.encode())
    print(f"\n{file} is written. Next, at no privacy cost: dpsynth rehearse {chosen.name}")
    if remark := _unprepared(chosen.public):
        print(f"before it: {remark}")


def delta(n_records: int) -> str:
    """The largest power of ten that is at most a tenth of 1/n, as the benchmarks have it.

    >>> delta(6000), delta(10_000), delta(999)
    ('1.0e-5', '1.0e-5', '1.0e-4')
    """
    return f"1.0e-{len(str(10 * n_records - 1))}"


def sample_rate(n_records: int) -> float:
    """A rate at which a step has `BATCH` records; two digits.

    >>> sample_rate(6000), sample_rate(200), sample_rate(50_000)
    (0.1, 1.0, 0.02)
    """
    least, most = BATCH
    return float(f"{min(1.0, max(least / n_records, min(RATE, most / n_records))):.2g}")


def _proposal(seen: Survey, name: str) -> Proposal:
    if seen.side < LEAST:
        raise ValueError(f"the images are {seen.side} pixels wide or high, and {LEAST} are the fewest: enlarge them")
    size = min(28 if seen.grey else 32, seen.side // 4 * 4)
    return Proposal(name, str(size), EPSILON, "glyphs" if seen.grey else _colour_set(size))


def _colour_set(size: int) -> str:
    """A prepared public set of photographs, else the one that is got most easily."""
    names = COLOUR_SETS[32 if size <= 32 else 64]
    return next((name for name in names if _is_prepared(name)), names[-1])


def _is_prepared(name: str) -> bool:
    try:
        prepared.opened(name)
    except (FileNotFoundError, ValueError):
        return False
    return True


def _unprepared(public: str) -> str:
    """What must be done before a public set can be used; empty if nothing."""
    if public.startswith(project.FOLDER) or not PUBLIC[public].mapped or _is_prepared(public):
        return ""
    return f"{public} is not prepared here: {prepared.state(public)}"


def _show(seen: Survey, proposed: Proposal) -> None:
    kind = "grey" if seen.grey else "in colour"
    labels = ", ".join(seen.labels) or "none: images without classes"
    print(
        f"  {seen.n_files:,} files\n  labels: {labels}\n  {seen.side} pixels, {kind}, by those that were opened\n"
        "What stands in a parameter file is public: the number of records, the names of the labels, size and colour. "
        "Do not write what must stay secret."
    )
    if not seen.grey:
        print(f"Public images must resemble yours: glyphs do not help photographs. Proposed: {proposed.public}.")
    if remark := _unprepared(proposed.public):
        print(remark)


def _asked(seen: Survey, proposed: Proposal) -> Proposal:
    """The answers, each anew until it can be; an empty one takes what is proposed."""
    print("An empty answer takes what stands in brackets.")
    try:
        chosen = Proposal(
            _answer("name of the parameter file", proposed.name, _name),
            _answer("pixels a side, a multiple of 4", proposed.size, _size),
            _answer("epsilon", proposed.epsilon, _epsilon),
            _answer(f"public images: {', '.join(PUBLIC)}, or folder:PATH", proposed.public, _public),
        )
        sure = input(
            f"declare public that there are {seen.n_files:,} records and {len(seen.labels)} labels, size and colour, "
            "and write it? [yes/no] "
        )
    except EOFError:
        sure = ""
    if sure.strip().lower() not in ("y", "yes"):
        raise ValueError("not confirmed; nothing was written")
    return chosen


def _answer(question: str, proposed: str, checked: Callable[[str], str]) -> str:
    while True:
        try:
            return checked(input(f"{question} [{proposed}]: ").strip() or proposed)
        except ValueError as error:
            print(f"  {error}")


def _name(given: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", given).strip("_-")[:40] or "mine"
    _refuse_taken(name)
    return name


def _refuse_taken(name: str) -> None:
    below = Path("params")
    if taken := [file for file in below.rglob("*.yaml") if name in (file.stem, experiments.name_of(file))]:
        raise ValueError(f"{taken[0]} exists, and is not overwritten: choose another name (--name), or move it away")


def _size(given: str) -> str:
    if not given.isdecimal() or int(given) % 4 or not LEAST <= int(given) <= 1024:
        raise ValueError(f"{given}: expected a multiple of 4 from {LEAST} to 1024")
    return given


def _epsilon(given: str) -> str:
    try:
        if 1e-3 <= float(given) <= 1e6:
            return f"{float(given):g}"
    except ValueError:
        pass
    raise ValueError(f"{given}: expected a number from 0.001 to 1,000,000; 1 is strong, 10 is usual in papers")


def _public(given: str) -> str:
    if given not in PUBLIC and not given.startswith(project.FOLDER):
        raise ValueError(f"{given}: there are {', '.join(PUBLIC)}, and folder:PATH")
    return given


def _spelt(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{folders.told(path)} has a name that is not Unicode, which no file can hold; rename it"
        ) from None


def _kept(scale: str, public: str, n_labels: int) -> int:
    """The scale's number of public classes a label, as far as half of the public set has them: as many as a rehearsal
    leaves."""
    usual = scales.read(scale).of("rpgen")["kept"]
    if public.startswith(project.FOLDER):
        n_classes = len(folders.public_listing(Path(public.removeprefix(project.FOLDER)).expanduser()))
    else:
        n_classes = PUBLIC[public].n_classes
    return max(1, min(usual, n_classes // 2 // n_labels))


def _text(path: Path, seen: Survey, chosen: Proposal) -> str:
    scale, n_labels = GREY if seen.grey else COLOUR, max(1, len(seen.labels))
    kept, rate = _kept(scale, chosen.public, n_labels), sample_rate(seen.n_files)
    labels = ", ".join(json.dumps(label, ensure_ascii=False) for label in seen.labels)
    private, public = (json.dumps(name, ensure_ascii=False) for name in (f"{project.FOLDER}{path}", chosen.public))
    lines = [
        "# Written by dpsynth init. All of this is public; the images are not.",
        f"# dpsynth rehearse {chosen.name}   the same on public images: what to expect, at no privacy cost",
        f"# dpsynth run {chosen.name}        on your images: this spends epsilon",
        "reproduces: my own images",
        f"scale: {scale}  # sizes and settings for two cores; with a GPU: gpu",
        f"over: {{method: [rpgen], epsilon: [{chosen.epsilon}], seed: [0]}}  # a smaller epsilon promises more",
        f"private: {private}",
        f"n_records: {seen.n_files}  # how many images there are: exactly, and public",
        f"labels: [{labels}]  # names of the class folders; [] for images without classes",
        f"delta: {delta(seen.n_files)}  # a power of ten, well below 1/n_records",
        f"size: {chosen.size}  # pixels a side; twice as many take four times as long",
        "noise: secret  # coins of the operating system, destroyed afterwards; folders take no other",
        f"public: {public}  # what is learned before your images are asked; it should resemble them",
        f"sample_rate: {rate:g}  # share of your images in a step: about {round(rate * seen.n_files):,}",
        f"methods: {{rpgen: {{kept: {kept}}}}}  # public classes that are taken for each label",
    ]
    return "\n".join(lines) + "\n"


def _check(text: str, file: Path) -> None:
    """Read it as `dpsynth run` will, before it lies where it belongs."""
    with tempfile.TemporaryDirectory() as aside:
        trial = Path(aside) / file.name
        trial.write_text(text, encoding="utf-8")
        try:
            experiments.load(trial)
        except ValueError as error:
            raise ValueError(f"{str(error).removeprefix(f'{trial}: ')}; nothing was written") from None
