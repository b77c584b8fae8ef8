"""Shared by all tests: a root of their own, and one thread count, on which results depend bit for bit."""

import dpsynth  # noqa: F401, I001 - before torch, which reads at import how waiting threads should wait
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
