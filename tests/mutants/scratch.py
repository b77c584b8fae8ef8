"""A scratch copy of what the privacy tests need, and a bug planted in it: for `make mutants` and `make exercise`."""

import shutil
from pathlib import Path

PROJECT = Path(__file__).parents[2]
NEEDED = (
    "dpsynth", "tests/conftest.py", "tests/privacy", "tests/budget", "tests/methods", "tests/test_pipeline.py",
    "notebooks", "params", "pyproject.toml",
)  # fmt: skip


def scratch(folder: Path) -> Path:
    """Copy what is needed into `folder`, and give it back."""
    for name in NEEDED:
        source, target = PROJECT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb"))
        else:
            shutil.copy(source, target)
    return folder


def plant(bug, package: Path) -> None:
    """Apply the bug's patches, in order, below `package`."""
    for file, old, new in bug.patches:
        path = package / file
        path.write_text(path.read_text().replace(old, new, 1))
