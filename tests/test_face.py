"""The public face: five names, and ten lines of Python that make a synthetic set and print its certificate."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dpsynth
from dpsynth.data import glyphs

README = Path(__file__).parents[1] / "README.md"


def test_the_readmes_ten_lines_make_a_synthetic_set_and_print_its_certificate(root, monkeypatch, capsys):
    monkeypatch.setattr(glyphs, "PER_CLASS", 4)
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len([line for line in program.splitlines() if line.strip()]) <= 10
    made = {}
    exec(program, made)
    assert made["images"].shape == (200, 1, 28, 28) and made["labels"].bincount().tolist() == [20] * 10
    printed = capsys.readouterr().out
    assert "semantic_histogram" in printed and "epsilon 9.9" in printed and "add or remove one record" in printed


def test_the_face_is_five_names():
    assert sorted(dpsynth.__all__) == sorted(dpsynth.FACE) == ["METHODS", "Params", "Run", "load", "load_model"]
    assert dpsynth.METHODS["rpgen"].paper.startswith("RPGen")
    with pytest.raises(AttributeError, match="its face is Params, Run, load, METHODS, load_model"):
        _ = dpsynth.Method


def test_importing_the_package_imports_nothing_else_and_tunes_nothing():
    code = "import os, sys; was = dict(os.environ); import dpsynth; print('torch' in sys.modules, os.environ == was)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=README.parent)
    assert done.stdout.split() == ["False", "True"], done.stderr
