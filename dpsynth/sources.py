"""Which code makes an artifact: the syntax trees of a module and of every dpsynth module that it imports."""

import ast
import contextlib
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path


@functools.cache
def code_digest(module: str) -> str:
    """SHA-256 of the syntax trees, without docstrings, of `module` and every dpsynth module it imports."""
    seen: dict[str, str] = {}
    _visit(module, seen)
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def _visit(module: str, seen: dict[str, str]) -> None:
    if module in seen:
        return
    spec = importlib.util.find_spec(module)
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    seen[module] = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    for name in _imports(tree, module.partition(".")[0]):
        _visit(name, seen)


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == package)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == package:
            yield node.module
            for alias in node.names:  # of a package they may be modules
                with contextlib.suppress(ModuleNotFoundError):
                    if importlib.util.find_spec(f"{node.module}.{alias.name}"):
                        yield f"{node.module}.{alias.name}"
