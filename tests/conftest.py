"""Shared by all tests: a root of their own, and one thread count, on which results depend bit for bit."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _threads():
    torch.set_num_threads(2)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty DPSYNTH_ROOT: artifacts and ledgers of this test alone."""
    monkeypatch.setenv("DPSYNTH_ROOT", str(tmp_path))
    return tmp_path
