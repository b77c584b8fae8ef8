"""Shared by all tests: a root of their own, and one thread count, on which results depend bit for bit."""

import contextlib
import os
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # of this process, as torch comes after, and of those that tests start

import pytest
import torch

collect_ignore_glob = ["mutants/*", "crash.py"]  # no tests, and no docstrings that run: commands of their own


@pytest.fixture(autouse=True, scope="session")
def _threads():
    torch.set_num_threads(1)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty DPSYNTH_ROOT: artifacts and ledgers of this test alone."""
    monkeypatch.setenv("DPSYNTH_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def tiny_root(tmp_path_factory):
    """A root that the tests of a module share, with four glyphs a class."""
    from dpsynth.data import glyphs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glyphs, "PER_CLASS", 4)
        patch.setenv("DPSYNTH_ROOT", str(folder := tmp_path_factory.mktemp("root")))
        yield folder


@pytest.fixture
def as_nobody(tmp_path):
    """A context in which this process has the rights of any other user, to whom pytest's folders are open: root may
    read all."""
    for folder in (tmp_path, *tmp_path.parents):
        if Path(tempfile.gettempdir()).resolve() in folder.parents:
            folder.chmod(0o755)

    @contextlib.contextmanager
    def context():
        user = os.geteuid()
        try:
            os.seteuid(65534 if user == 0 else user)
            yield
        finally:
            os.seteuid(user)

    return context
