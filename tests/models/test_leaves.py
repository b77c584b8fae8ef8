"""Models are leaves: what is edited elsewhere renames no trained weights."""

import ast
import importlib
from pathlib import Path

import pytest
from torch import nn

from dpsynth import models, sources
from dpsynth.models import networks

FILES = sorted(Path(models.__path__[0]).glob("*.py"))
BELOW = {"dpsynth", "dpsynth.seeds", "dpsynth.privacy.engine.norm", "dpsynth.privacy.engine.parallel"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_models_import_nothing_of_ours_but_leaves(path):
    imports = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    of_ours = {n.module: [a.name for a in n.names] for n in imports if n.module.startswith("dpsynth")}
    if path.stem == "renderer":  # it draws the public glyphs
        assert of_ours.pop("dpsynth.data") == ["glyphs", "shapes"]
    assert {m for m in of_ours if not m.startswith("dpsynth.models")} <= BELOW
    assert set(of_ours.get("dpsynth", [])) <= {"deadline", "device", "distributed"}


def reached(module):
    """Modules whose definitions become part of the name of what is made with one that `module` defines."""
    seen = {}
    for name in sources._module(module).definitions:
        sources._visit(module, name, seen)
    return {place.partition(":")[0] for place in seen}


def test_the_table_of_networks_makes_no_network_part_of_an_artifacts_name():
    assert reached("dpsynth.models.networks") == {"dpsynth.models.networks"}
    for name, place in networks.NETWORKS.items():
        module, _, network = place.partition(":")
        assert issubclass(getattr(importlib.import_module(module), network), nn.Module), name


def test_training_weights_does_not_depend_on_how_images_are_drawn():
    for module in ("diffusion", "gan", "latent", "training", "unet"):
        modules = reached(f"dpsynth.models.{module}")
        assert f"dpsynth.models.{module}" in modules and "dpsynth.models.samplers" not in modules
