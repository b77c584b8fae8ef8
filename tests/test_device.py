import ast
from pathlib import Path

import pytest
import torch

import dpsynth
from dpsynth import device

PACKAGE = Path(dpsynth.__file__).parent


def test_one_file_names_the_device():
    naming = set()
    for path in PACKAGE.rglob("*.py"):
        words = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant | ast.Attribute)]
        if {"cpu", "cuda"} & {n.value if isinstance(n, ast.Constant) else n.attr for n in words}:
            naming.add(str(path.relative_to(PACKAGE)))
    assert naming == {"device.py"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_are_computed_in_the_precision_asked_for(dtype):
    with device.autocast(dtype, torch.ones(1)):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert device.precision() in (torch.float32, torch.bfloat16)
