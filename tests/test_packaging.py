"""What a newcomer installs, and what is committed."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from dpsynth import provenance
from dpsynth.report import results

ROOT = Path(__file__).parents[1]
PIP = "-m pip install --quiet --disable-pip-version-check --no-input"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = [
    Requirement(line)
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line[:1] not in ("", "#")
]
LOCKED = {canonicalize_name(one.name): str(one.specifier) for one in LOCK}
# A machine with a GPU has the torch that its driver takes, and more Pythons: tests/privacy, tests/models, tests/data
# and tests/metrics were run with these by hand, on Python 3.12.
OLDER = {"torch": "2.9", "torchvision": "0.24"}
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = [Requirement(one) for one in PROJECT["dependencies"] + EXTRAS["dev"] + EXTRAS["site"]]


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
    assert not {"dpsynth", PROJECT["name"]} & set(LOCKED)


@pytest.mark.parametrize("one", DECLARED, ids=str)
def test_what_pyproject_asks_for_at_least_is_what_the_lock_pins_or_what_machines_with_gpus_have(one):
    pinned = LOCKED[canonicalize_name(one.name)].removeprefix("==")
    assert str(one.specifier) == f">={OLDER.get(one.name, pinned)}", "a lower bound that nobody tried"
    assert pinned in one.specifier


def test_the_pythons_that_are_supported_are_those_of_the_lock_and_the_two_after_it():
    supported = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(9, 16) if f"3.{minor}.0" in supported] == ["3.11", "3.12", "3.13"]


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
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, packages = environment["dependencies"]
    assert environment["name"] == PROJECT["name"] == provenance.DISTRIBUTION and pip == "pip"
    assert packages == {"pip": ["-r requirements.lock", "-e ."]}
    supported = SpecifierSet(PROJECT["requires-python"])
    assert python.startswith("python=") and f"{python.removeprefix('python=')}.0" in supported
    assert "{}.{}.{}".format(*sys.version_info) in supported


def test_what_is_imported_is_declared():
    distributions = importlib.metadata.packages_distributions()
    peers = map(Requirement, PROJECT["optional-dependencies"]["peers"])  # need not be installed
    declared = {canonicalize_name(one.name) for one in (*DECLARED, *peers)}
    ours, missing = (
        {"dpsynth", *(path.stem for folder in ("mutants", "privacy") for path in ROOT.glob(f"tests/{folder}/*.py"))},
        {},
    )
    for path in (*ROOT.glob("dpsynth/**/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("notebooks/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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
        content = (ROOT / name).read_bytes()
        assert f"{ROOT}/".encode() not in content and f"{Path.home()}/".encode() not in content, name


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds what `pip install .` installs."""
    if Version(importlib.metadata.version("setuptools")) < Version("70.1"):
        pytest.skip("this setuptools builds no wheel by itself, and nothing is fetched for a test")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "dpsynth", source / "dpsynth", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q", "-w", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"dpsynth_images-{PROJECT['version']}-py3-none-any.whl"
    zipfile.ZipFile(wheel).extractall(folder / "site-packages")
    return folder / "site-packages"


def test_the_wheel_holds_every_module_and_the_papers_numbers(installed):
    def held(folder):
        return {p.relative_to(folder) for p in (folder / "dpsynth").rglob("*") if p.suffix in (".py", ".csv")}

    assert held(installed) == held(ROOT) and Path("dpsynth/published.csv") in held(installed)


def test_an_installed_package_works_elsewhere_and_states_its_version(installed, tmp_path):
    repository(tmp_path, installed.parent)  # it lies in someone's repository, as a virtual environment may
    code = (
        "from dpsynth import provenance\nfrom dpsynth.report import results\nfrom dpsynth.runner import reproduce\n"
        "print(reproduce.measured_minutes())\n"
        "print(results.__file__, len(results.published()), provenance.commit())"
    )
    environment, command = {**os.environ, "PYTHONPATH": str(installed)}, [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    numbers = len(results.published())
    assert numbers > 900
    file = installed / "dpsynth" / "report" / "results.py"
    assert done.stdout.splitlines() == ["{}", f"{file} {numbers} {PROJECT['version']}"]


def repository(*folders):
    """Make each a git repository with one commit of all that it holds; returns the last commit."""
    for folder in folders:
        git = ["git", "-C", folder, "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        for command in (["init", "-q"], ["add", "."], ["commit", "-q", "--allow-empty", "-m", "all"]):
            subprocess.run([*git, *command], check=True, capture_output=True)
        said = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True)
    return said.stdout.strip()


@pytest.mark.parametrize(
    ("place", "part"),
    [("dpsynth", True), ("lib/dpsynth", False), (".venv/lib/python3.11/site-packages/dpsynth", False)],
)
def test_the_commit_is_that_of_the_checkout_the_package_is_part_of(tmp_path, monkeypatch, place, part):
    package = tmp_path / place
    package.mkdir(parents=True)
    for name in ("__init__.py", "provenance.py"):
        (package / name).touch()
    commit = repository(tmp_path)
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    monkeypatch.setattr(provenance.importlib.metadata, "version", {provenance.DISTRIBUTION: "0.1.0"}.get)
    assert provenance.commit.__wrapped__() == (commit if part else "0.1.0")
    (package / "provenance.py").write_text("# edited\n", encoding="utf-8")
    assert provenance.commit.__wrapped__() == (f"{commit}+" if part else "0.1.0")


def test_a_package_that_git_does_not_know_has_no_commit(tmp_path, monkeypatch):
    package = tmp_path / "dpsynth"
    package.mkdir()
    commit = repository(tmp_path)
    (package / "__init__.py").touch()  # beside someone's files, not among them
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    monkeypatch.setattr(provenance.importlib.metadata, "version", {provenance.DISTRIBUTION: "0.1.0"}.get)
    assert provenance.commit.__wrapped__() == "0.1.0" != commit


def test_the_commit_is_not_that_of_a_repository_whose_hook_is_running(tmp_path, monkeypatch):
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        (folder / "dpsynth").mkdir(parents=True)
        (folder / "dpsynth" / "__init__.py").write_text(folder.name, encoding="utf-8")
    repository(other)
    commit = repository(own)
    monkeypatch.setattr(provenance, "__file__", str(own / "dpsynth" / "provenance.py"))
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert provenance.commit.__wrapped__() == commit


def test_help_lists_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", text, re.M)[1].replace(" $(FIGURES)", "").split()
    assert {"reproduce", "dry-run", "test", "lint", "lab", "readme", "clean", "help"} <= set(targets)
    helped = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in helped.splitlines() if line.startswith("  make ")] == targets


def test_make_passes_its_variables_on():
    command = ["make", "--no-print-directory", "-C", str(ROOT), "-n", "-o", ".venv/.installed", "reproduce"]

    def called(*variables):
        return subprocess.run([*command, *variables], capture_output=True, text=True, check=True).stdout.split()

    start = [".venv/bin/python", "-m", "dpsynth.runner.reproduce"]
    assert called() == [*start, "--experiment", "'table'", "--jobs", "'1'"]
    assert called("PROFILE=smoke") == called("SCALE=smoke")
    assert called("SCALE=smoke", "METHOD=rpgen,dpdm", "EPS=inf", "SEED=3", "JOBS=2") == [
        *start, "--experiment", "'table'", "--scale", "'smoke'",
        "--method", "'rpgen,dpdm'", "--epsilon", "'inf'", "--seed", "'3'", "--jobs", "'2'",
    ]  # fmt: skip


FOLDERS = ["it's", "two words", "a $HOME of one's own", "#1 (x) & y; z", "虎"]


def project(folder, made_in):
    """The Makefile in a folder, with an environment whose Python says what it was asked."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / "notebooks" / "methods").mkdir(parents=True)
    for name in ("01.py", "methods/one.py"):
        (folder / "notebooks" / name).touch()
    for name in ("requirements.lock", "pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, folder)
    fake = folder / ".venv" / "bin" / "python"
    fake.write_text('#!/bin/sh\necho "$0 $* in $DPSYNTH_ROOT"\n', encoding="utf-8")
    fake.chmod(0o755)
    (folder / ".venv" / ".installed").write_text(f"{made_in}\n", encoding="utf-8")


def make(folder, *arguments):
    """What make prints there; it is started as one would from a terminal."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "DPSYNTH_"))}
    done = subprocess.run(["make", *arguments], cwd=folder, env=own, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", FOLDERS)
def test_make_works_in_a_folder_of_any_name(tmp_path, name):
    project(tmp_path / name, tmp_path / name)
    assert make(tmp_path / name, "lab", "PROFILE=laptop", "METHOD=dpdm", "EPS=1", "SEED=2") == [
        ".venv/bin/python -m dpsynth.runner.lab --scale laptop --method dpdm --epsilon 1 --seed 2 in ",
    ]
    assert make(tmp_path / name, "edit") == [
        ".venv/bin/python -m jupytext --quiet --sync notebooks/01.py notebooks/methods/one.py in ",
        f".venv/bin/python -m jupyter lab notebooks in {tmp_path / name}",
    ]
    assert make(tmp_path / name, "lint") == [".venv/bin/python -m ruff check . in "]
    (said,) = make(tmp_path / name, "test")
    assert said == ".venv/bin/python -m pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile in "
    (said,) = make(tmp_path / name, "reproduce", "SEED=3")
    assert said == ".venv/bin/python -m dpsynth.runner.reproduce --experiment table --seed 3 --jobs 1 in "


@pytest.mark.parametrize(
    ("given", "scale"), [(["PROFILE=smoke"], "smoke"), (["SCALE=smoke"], "smoke"), (["PROFILE=a", "SCALE=b"], "b")]
)
def test_profile_is_the_older_word_for_scale(tmp_path, given, scale):
    project(tmp_path / "set", tmp_path / "set")
    for target, rest in (("reproduce", "--jobs 1"), ("dry-run", "--dry-run")):
        (said,) = make(tmp_path / "set", target, *given)
        asked = f"--experiment table --scale {scale} {rest} in "
        assert said.partition("reproduce ")[2].split() == asked.split()


@pytest.mark.parametrize("name", FOLDERS)
def test_an_environment_that_was_copied_with_its_project_is_made_anew(tmp_path, name):
    project(tmp_path / "original", tmp_path / "original")
    copy = tmp_path / name
    shutil.copytree(tmp_path / "original", copy)
    (copy / ".venv" / "of the original").touch()
    new = copy / "python"
    new.write_text(
        '#!/bin/sh\nif [ "$2" = venv ]; then mkdir -p .venv/bin; cp "$0" .venv/bin/python; fi\necho "new $*"\n',
        encoding="utf-8",
    )
    new.chmod(0o755)
    said = make(copy, "lint", "PYTHON=./python")
    assert f"the environment in .venv was made in {tmp_path / 'original'}, and is made anew here" in said
    assert said[-2:] == [f"new {PIP} --no-deps -e .", "new -m ruff check ."]
    assert not (copy / ".venv" / "of the original").exists()
    assert make(copy, "lint", "PYTHON=./python") == ["new -m ruff check ."]
    assert make(tmp_path / "original", "lint") == [".venv/bin/python -m ruff check . in "]


def test_an_environment_of_before_is_kept_and_marked(tmp_path):
    project(tmp_path / "set", "")
    (tmp_path / "set" / ".venv" / ".installed").write_bytes(b"")
    said = make(tmp_path / "set", "lint", "PYTHON=.venv/bin/python")
    assert not any("anew" in line for line in said) and f".venv/bin/python {PIP} --no-deps -e . in " in said
    assert (tmp_path / "set" / ".venv" / ".installed").read_text(encoding="utf-8") == f"{tmp_path / 'set'}\n"
    assert make(tmp_path / "set", "lint") == [".venv/bin/python -m ruff check . in "]


def test_make_wants_python_3_11(tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"))
    other = tmp_path / "python3.9"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    command = ["make", "-C", str(tmp_path), "test", f"PYTHON={other}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "error: Python 3.11 is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_clean_keeps_ledger_and_cache(tmp_path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text(encoding="utf-8"))
    for name in ("build/smoke", "ledger/keys", "cache"):
        (tmp_path / name).mkdir(parents=True)
    subprocess.run(["make", "-C", str(tmp_path), "clean"], check=True, capture_output=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Makefile", "cache", "ledger"]


def test_ci_lints_and_tests():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111 and script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    assert script.read_text(encoding="utf-8").splitlines()[-2:] == ["make lint", "make test"]


def test_the_licence_is_what_the_citation_says():
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == "MIT" and citation["version"] == PROJECT["version"]
