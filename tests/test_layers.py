"""Imports point one way: no module of dpsynth imports one of a higher layer, and none imports itself by a detour."""

import ast
from pathlib import Path

import pytest

import dpsynth

PACKAGE = Path(dpsynth.__file__).parent
# Bottom first. A module may import what is below its layer, and what is in its own line of the layer: `data.catalog`
# other modules of `data`.
LAYERS = (
    ("privacy",),
    ("project", "strict", "seeds", "plainyaml", "device", "memory", "sources", "terminal", "verify"),
    ("distributed",),
    ("deadline",),
    ("provenance", "mistakes", "rules"),
    ("scales", "checkpoints", "data", "recipes"),
    ("params", "store"),
    ("artifacts",),
    ("models",),
    ("metrics",),
    ("stages",),
    ("methods",),
    ("budget", "steps", "trainings"),
    ("preflight", "experiments", "exported"),
    ("pipeline",),
    ("figures",),
    ("bench",),
    ("report",),
    ("runner",),
    ("site",),
    ("__main__",),
)
PLACE = {name: (height, name) for height, layer in enumerate(LAYERS) for name in layer}
WORK = ("models", "metrics", "stages", "methods")
ABOVE_WORK = (
    "budget",
    "steps",
    "trainings",
    "preflight",
    "experiments",
    "exported",
    "pipeline",
    "figures",
    "bench",
    "report",
    "runner",
    "site",
)


def modules():
    """Every module but the package's own face, by its name below dpsynth."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


FILES = dict(modules())


def imports(path):
    """Modules of ours that a file imports, wherever in it: `from dpsynth.data import catalog` means data.catalog."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            named = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in named:
            first, _, below = name.partition(".")
            while first == "dpsynth" and below not in FILES:
                assert below, f"{path} imports {name} from the package's face, which is for its users"
                below = below.rpartition(".")[0]
            if first == "dpsynth":
                yield below


GRAPH = {name: set(imports(path)) for name, path in FILES.items()}


def place(module):
    """Height of a module's layer, and its line there."""
    return PLACE[module.partition(".")[0]]


def test_every_module_has_a_layer_and_every_line_of_a_layer_a_module():
    assert {place(module)[1] for module in FILES} == set(PLACE)


@pytest.mark.parametrize("module", FILES)
def test_a_module_imports_only_what_is_below_it(module):
    height, line = place(module)
    assert not {other for other in GRAPH[module] if place(other)[1] != line and place(other)[0] >= height}


def test_no_module_imports_itself_by_whatever_detour():
    left = {module: set(others) for module, others in GRAPH.items()}
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"a circle, and what leads to it: {sorted(left)}"


def test_the_core_imports_nothing_of_ours_but_itself():
    others = set().union(*(GRAPH[module] for module in FILES if module.partition(".")[0] == "privacy"))
    assert {other.partition(".")[0] for other in others} == {"privacy"}


def test_the_check_of_certificates_imports_nothing_of_ours():
    assert GRAPH["verify"] == set()


@pytest.mark.parametrize("module", [name for name in FILES if name.partition(".")[0] in WORK])
def test_work_knows_nothing_of_runs_reports_and_figures(module):
    assert not {other for other in GRAPH[module] if other.partition(".")[0] in ABOVE_WORK}
