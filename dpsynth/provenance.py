"""What an artifact or a result was made with: the commit, the packages, the machine."""

import contextlib
import functools
import importlib.metadata
import os
import subprocess
from pathlib import Path
from typing import Any

import torch

from dpsynth import device

DISTRIBUTION = "dpsynth-images"
PACKAGES = ("torch", "torchvision", "opacus", "dp-accounting", "scikit-learn", "torch-fidelity")


def facts() -> dict[str, Any]:
    """For meta.json: commit, versions of the packages that there are, device kind, precision, threads."""
    return {
        "versions": {package: version for package in PACKAGES if (version := _version(package))}, "commit": commit(),
        "device": device.kind(), "precision": str(device.precision()), "threads": torch.get_num_threads(),
    }  # fmt: skip


@functools.cache
def commit() -> str:
    """The commit of the checkout that this package is part of, with a plus sign if it was edited; else its version.

    A package that is installed, in whatever repository, is no part of a checkout. "unknown" if it was only copied.
    """
    package = Path(__file__).resolve().parent
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        if Path(_git(package, "rev-parse", "--show-toplevel")).resolve() == package.parent:
            edited = _git(package, "status", "--porcelain", "-uno")
            return _git(package, "rev-parse", "--short=12", "HEAD") + ("+" if edited else "")
    return _version(DISTRIBUTION) or "unknown"


def _version(package: str) -> str | None:
    """Of an installed package; a machine that only makes artifacts need not have all."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def _git(folder: Path, *command: str) -> str:
    # A hook of git's sets variables that would lead to its own repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    answer = subprocess.run(["git", "-C", folder, *command], capture_output=True, check=True, env=environment)
    return os.fsdecode(answer.stdout).strip()
