"""The package works whatever the locale, and under `python -OO`, which takes docstrings and assertions away."""

import ast
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dpsynth import terminal

ROOT = Path(__file__).parents[1]
MODULES = sorted(ROOT.glob("dpsynth/**/*.py"))


def in_text_mode(call):
    """Whether a call reads or writes text; `open` may be the built-in or a path's method, not an image's."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    owner = getattr(getattr(call.func, "value", None), "id", "")
    if name not in ("open", "fdopen") or (owner in ("Image", "os", "tarfile") and name == "open"):
        return name in ("read_text", "write_text")
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    modes = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return not any("b" in mode for mode in modes if set(mode) <= set("rwxabt+"))


def without_encoding(source):
    """Lines on which text is read or written in the encoding of whatever locale."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and in_text_mode(node)]
    return [call.lineno for call in calls if "encoding" not in {keyword.arg for keyword in call.keywords}]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_is_read_and_written_with_its_encoding_named(path):
    assert without_encoding(path.read_text(encoding="utf-8")) == []


def test_the_search_for_encodings_finds_what_it_is_for():
    bad = "p.read_text()\np.write_text(x)\nopen(p)\nopen(p, 'w')\np.open()\np.open(mode='a')\nos.fdopen(d, 'w')\n"
    assert without_encoding(bad) == [1, 2, 3, 4, 5, 6, 7]
    good = "p.read_text(encoding='utf-8')\nopen(p, 'rb')\np.open('wb')\nos.open(p, flags)\nImage.open(p)\n"
    assert without_encoding(good + "os.fdopen(d, 'wb')\nopen(p, 'w', encoding='utf-8')\np.open(mode='ab')\n") == []


FILE = """
reproduces: Katzenbilder, für die Katz.
over: {method: dpdm}
private: folder:photos
n_records: 400
labels: [Katze, Löwe, 虎]
size: 16
noise: secret
delta: 1.0e-3
"""
COMMANDS = (
    "dpsynth.__main__", "dpsynth.runner.reproduce", "dpsynth.report.readme", "dpsynth.bench.__main__",
)  # fmt: skip
# One process for all that is asked of it: without compiled modules it takes seconds to start.
ASKED = """
import contextlib, importlib, locale, sys
from pathlib import Path
print(__doc__, locale.getpreferredencoding(False), sys.stdout.encoding)
for name in sys.argv[2:]:
    sys.argv[1:] = ["--help"]
    with contextlib.suppress(SystemExit):
        importlib.import_module(name).main()
from dpsynth import experiments
print(*experiments.load(Path(PATH)).points()[0].labels)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What the command lines' help, and labels of a parameter file, look like under -OO in an ASCII locale."""
    path = tmp_path_factory.mktemp("params") / "table.yaml"
    path.write_text(FILE, encoding="utf-8")
    asked = ASKED.replace("PATH", ascii(str(path)))
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-OO", "-c", asked, "", *COMMANDS]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    first, *lines = done.stdout.splitlines()
    assert first == b"None ANSI_X3.4-1968 ascii"
    return lines


def test_each_command_line_starts_without_docstrings(said):
    programs = [b"dpsynth", b"python -m dpsynth.runner.reproduce"]
    programs += [b"python -m dpsynth.report.readme", b"python -m dpsynth.bench"]
    usages = [line for line in said if line.startswith(b"usage: ")]
    assert [line.removeprefix(b"usage: ").partition(b" [")[0] for line in usages] == programs


def test_a_parameter_file_loads_and_its_names_are_shown_in_an_ascii_locale(said):
    assert said[-1] == rb"Katze L\xf6we \u864e"


def test_a_terminal_gets_an_escape_for_what_it_cannot_show(monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="latin-1", errors="strict"))
    parser = terminal.parser("dpsynth", "First line.\n\nMore.")
    print("±3 虎", flush=True)  # noqa: T201
    assert shown.getvalue() == b"\xb13 \\u864e\n"
    assert parser.description == "First line." and terminal.parser("dpsynth", None).description == ""


@pytest.mark.parametrize("path", sorted(ROOT.glob("dpsynth/**/*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_rests_on_an_assertion_or_a_docstring(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    docs = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute | ast.Name)
            and (getattr(n, "attr", "") == "__doc__" or getattr(n, "id", "") == "__doc__")]  # fmt: skip
    passed = [argument for n in ast.walk(tree) if isinstance(n, ast.Call) for argument in n.args]
    assert all(one in passed for one in docs), "pass it to terminal.parser, which knows that there may be none"
