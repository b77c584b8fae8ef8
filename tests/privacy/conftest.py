"""The tests of whole stages share `worlds`, which lies here: pytest's importlib mode puts no folder on the path."""

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """A cache with four glyphs a class, drawn once; `make mutants` hands one over."""
    if "DPSYNTH_RENDERED" in os.environ:
        yield Path(os.environ["DPSYNTH_RENDERED"])
        return
    from dpsynth.data import catalog, glyphs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glyphs, "PER_CLASS", 4)
        patch.setenv("DPSYNTH_ROOT", str(root := tmp_path_factory.mktemp("rendered")))
        assert catalog.public("glyphs", 3, 16).classes
    yield root / "cache"  # and the patch is undone: this fixture lives as long as the session
