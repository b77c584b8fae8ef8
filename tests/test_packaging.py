"""What a newcomer installs, and what is committed."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = [
    Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines() if line[:1] not in ("", "#")
]
LOCKED = {canonicalize_name(one.name): str(one.specifier) for one in LOCK}
DECLARED = [Requirement(one) for one in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]


@pytest.fixture(scope="module")
def committed():
    """Files that are, or would be, committed."""
    git = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(git, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).is_file()]


def test_the_lock_pins_every_package_once_and_nothing_else():
    assert len(LOCK) == len(LOCKED) > 100
    for one in LOCK:
        assert re.fullmatch(r"==[\w.]+", str(one.specifier)) and one.url is None, one
        assert str(one.marker or "") in ("", 'sys_platform == "linux"'), one
    assert "dpsynth" not in LOCKED


@pytest.mark.parametrize("one", DECLARED, ids=str)
def test_the_lock_satisfies_pyproject(one):
    pinned = LOCKED[canonicalize_name(one.name)].removeprefix("==")
    assert one.specifier.contains(pinned)
    assert not any(spec.operator == "==" for spec in one.specifier), "ranges in pyproject, versions in the lock"


def test_the_lock_holds_what_each_package_needs():
    for name in LOCKED:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                pinned = LOCKED.get(canonicalize_name(need.name))
                assert pinned or canonicalize_name(need.name) in ("setuptools", "pip"), f"{name} needs {need}"
                if pinned:
                    assert need.specifier.contains(pinned.removeprefix("=="), prereleases=True), f"{name} needs {need}"


def test_the_conda_environment_is_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert environment["name"] == PROJECT["name"] == "dpsynth" and pip == "pip"
    assert packages == {"pip": ["-r requirements.lock", "-e ."]}
    supported = SpecifierSet(PROJECT["requires-python"])
    assert python.startswith("python=") and f"{python.removeprefix('python=')}.0" in supported
    assert "{}.{}.{}".format(*sys.version_info) in supported


def test_what_is_imported_is_declared():
    distributions = importlib.metadata.packages_distributions()
    peers = map(Requirement, PROJECT["optional-dependencies"]["peers"])  # need not be installed
    declared = {canonicalize_name(one.name) for one in (*DECLARED, *peers)}
    ours, missing = {"dpsynth", *(path.stem for path in ROOT.glob("tests/mutants/*.py"))}, {}
    for path in (*ROOT.glob("dpsynth/**/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("notebooks/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for top in {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - ours:
                if not declared & {canonicalize_name(one) for one in distributions.get(top, [top])}:
                    missing.setdefault(top, []).append(path.name)
    assert missing == {}


def test_no_notebook_output_key_or_ledger_is_committed(committed):
    bad = [
        n for n in committed if n.endswith((".ipynb", ".key", ".safetensors")) or n.startswith(("build/", "ledger/"))
    ]
    assert bad == []


def test_no_committed_file_tells_where_it_was_made(committed):
    for name in committed:
        if (ROOT / name).suffix in (".png", ".gif"):
            continue
        text = (ROOT / name).read_text()
        assert str(ROOT) + "/" not in text and str(Path.home()) + "/" not in text, name


def test_help_lists_every_target():
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", text, re.M)[1].split()
    assert {"reproduce", "dry-run", "test", "lint", "lab", "readme", "clean", "help"} <= set(targets)
    helped = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in helped.splitlines() if line.startswith("  make ")] == targets


def test_make_passes_its_variables_on():
    command = ["make", "--no-print-directory", "-C", str(ROOT), "-n", "-o", ".venv/.installed", "reproduce"]

    def called(*variables):
        return subprocess.run([*command, *variables], capture_output=True, text=True, check=True).stdout.split()

    start = [".venv/bin/python", "-m", "dpsynth.reproduce"]
    assert called() == [*start, "--profile", "'laptop'", "--experiment", "'table'", "--jobs", "'1'"]
    assert called("PROFILE=smoke", "METHOD=rpgen,dpdm", "EPS=inf", "SEED=3", "JOBS=2") == [
        *start, "--profile", "'smoke'", "--experiment", "'table'",
        "--method", "'rpgen,dpdm'", "--epsilon", "'inf'", "--seed", "'3'", "--jobs", "'2'",
    ]  # fmt: skip


def test_make_wants_python_3_11(tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    other = tmp_path / "python3.9"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    command = ["make", "-C", str(tmp_path), "test", f"PYTHON={other}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "error: Python 3.11 is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_clean_keeps_ledger_and_cache(tmp_path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in ("build/smoke", "ledger/keys", "cache"):
        (tmp_path / name).mkdir(parents=True)
    subprocess.run(["make", "-C", str(tmp_path), "clean"], check=True, capture_output=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Makefile", "cache", "ledger"]


def test_ci_lints_and_tests():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111 and script.read_text().startswith("#!/usr/bin/env bash\n")
    assert script.read_text().splitlines()[-2:] == ["make lint", "make test"]


def test_the_licence_is_what_the_citation_says():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["license"] == "MIT" and citation["version"] == PROJECT["version"]
