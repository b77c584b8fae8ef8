"""`make exercise N=3`: a bug of the field, planted in a copy of the package; red until the reader mends it there.

The copy lies in build/exercises/3, is made once, and keeps the reader's edits; the package itself is not touched.
"""

import argparse
import difflib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

PROJECT = Path(__file__).parents[1]
sys.path.append(str(PROJECT / "tests" / "mutants"))
from planted import BUGS  # noqa: E402
from scratch import plant, scratch  # noqa: E402


class Exercise(NamedTuple):
    """One page of this folder: its number, its title, the planted bug, and the tests that catch it."""

    number: str
    title: str
    bug: object
    tests: list[str]

    @property
    def file(self) -> str:
        """The file that is to be mended, below the package."""
        return self.bug.patches[0][0]


def exercises() -> dict[str, Exercise]:
    """All of this folder, by number."""
    found, bugs = {}, {bug.name: bug for bug in BUGS}
    for page in sorted(Path(__file__).parent.glob("[0-9]-*.md")):
        _, head, text = page.read_text(encoding="utf-8").split("---\n", 2)
        stated, number = yaml.safe_load(head), page.name[0]
        found[number] = Exercise(
            number, re.search(r"^# \d · (.+)$", text, re.M)[1], bugs[stated["bug"]], stated["tests"]
        )
    return found


def planted(exercise: Exercise, folder: Path) -> Path:
    """The copy with the bug in it; one that stands keeps its reader's edits."""
    if not (folder / "dpsynth").exists():
        plant(exercise.bug, scratch(folder) / "dpsynth")
    return folder


def answer(exercise: Exercise) -> str:
    """What to change in the planted file, as a diff."""
    mended = (PROJECT / "dpsynth" / exercise.file).read_text(encoding="utf-8")
    broken = mended
    for _, old, new in exercise.bug.patches:
        broken = broken.replace(old, new, 1)
    lines = (text.splitlines(keepends=True) for text in (broken, mended))
    return "".join(difflib.unified_diff(*lines, f"planted/{exercise.file}", f"mended/{exercise.file}"))


def judge(exercise: Exercise, folder: Path) -> int:
    """Run the replay and the tests against the copy; 0 if it is mended."""
    command = [sys.executable, str(Path(__file__).parent / "judge.py"), exercise.number, *exercise.tests]
    environment = os.environ | {"PYTHONPATH": str(folder), "DPSYNTH_ROOT": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="make exercise", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("number", nargs="?", default="", help="1 to 6")
    parser.add_argument("--answer", action="store_true", help="show what to change")
    parser.add_argument("--folder", type=Path, help="where copies lie (build/exercises)")
    given = parser.parse_args(argv)
    found = exercises()
    if given.number not in found:
        names = "\n".join(f"  make exercise N={n}   {exercise.title}" for n, exercise in found.items())
        none = f"There is no exercise {given.number}. " if given.number else ""
        print(f"{none}Which exercise? ANSWER=1 shows the answer; exercises/README.md says more.\n{names}")
        return 2
    exercise = found[given.number]
    if given.answer:
        print(answer(exercise), end="")
        return 0
    folder = planted(exercise, (given.folder or PROJECT / "build" / "exercises") / exercise.number)
    file = folder / "dpsynth" / exercise.file
    print(f"{exercise.number} · {exercise.title}\nedit    {Path(os.path.relpath(file))}\n", flush=True)
    if judge(exercise, folder):
        print("\nRED: the bug is still there. Mend the file, and run the same command again.")
        return 1
    print("\nGREEN: mended.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
