"""The code that an artifact depends on: the definitions that its work reaches, without their words.

A name is followed from the work's own definition through what it mentions, in whatever module of the package that is
defined; a class that is mentioned counts as a whole. Docstrings, comments, annotations and what is raised do not
count, and neither does what prices, schedules, records or shows (`NOT_WORK`): an edit there changes no artifact.
"""

import ast
import functools
import hashlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

STARTED = time.time()  # what is younger may not be what runs
# Modules whose definitions are not followed. Their part in an artifact is in its settings, or it has none.
NOT_WORK = {f"dpsynth.{name}" for name in (
    "artifacts", "budget.calibration", "checkpoints", "data.catalog", "data.folder_sets", "data.public_sets",
    "deadline", "device", "distributed", "memory", "mistakes", "params", "privacy.accounting", "privacy.chain",
    "privacy.disk", "privacy.keys", "privacy.ledger", "privacy.plan", "project", "provenance", "recipes",
    "stages.permit", "stages.progress", "store", "strict",
)}  # fmt: skip
# Closed records are followed verb by verb: the verbs are different works. Each draws by the coins, which it is given.
RECORDS, COINS = ("dpsynth.privacy.private", "Private"), ("dpsynth.privacy.coins", "Coins")


class Module(NamedTuple):
    """A source file: its definitions at the top, and what each imported name stands for: (module, name in it)."""

    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, tuple[str, str]]


def work_digest(function: Callable) -> str:
    """SHA-256 of the definition of `function` and of all that it mentions, directly or not.

    Raises:
        ValueError: it is defined outside the package.
    """
    if not _path(function.__module__):
        raise ValueError(
            f"{function.__qualname__} is defined in {function.__module__}: work belongs into a module of dpsynth, as "
            "its code names the artifact"
        )
    seen: dict[str, str] = {}
    _visit(function.__module__, function.__qualname__.partition(".")[0], seen)
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


@functools.cache
def page_digest(module: str) -> str:
    """SHA-256 of `module` and of every module of ours that it imports: what an executed page may show."""
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and (path := _path(name)):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            seen[name] = hashlib.sha256(as_text(_Silent().visit(tree)).encode()).hexdigest()
            for origin, part in imports(tree):
                waiting += [origin, f"{origin}.{part}"]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def as_text(tree: ast.AST) -> str:
    """A tree as text, the same under every Python that we support: `ast.dump` names the fields that its own version
    has, if they are empty too."""

    def parts(node: Any) -> Any:
        if isinstance(node, list):
            return [parts(one) for one in node]
        if isinstance(node, ast.AST):
            fields = ast.iter_fields(node)
            return [type(node).__name__, *([name, parts(value)] for name, value in fields if value not in (None, []))]
        return repr(node)

    return json.dumps(parts(tree))


def _visit(module: str, name: str, seen: dict[str, str]) -> None:
    """Add the definition of `name` in `module`, and what it mentions, to `seen`."""
    place = f"{module}:{name}"
    if place not in seen and module not in NOT_WORK and name in _module(module).definitions:
        _read(place, _module(module).definitions[name], module, seen)


def _read(place: str, statements: list[ast.stmt], module: str, seen: dict[str, str]) -> None:
    """Add a definition under the name `place`, and visit what it mentions."""
    seen[place] = hashlib.sha256("".join(as_text(_Silent().visit(_copy(s))) for s in statements).encode()).hexdigest()
    chains = {chain for statement in statements for chain in _mentioned(statement)}
    meant = {_meaning(module, chain) for chain in chains} | ({RECORDS, COINS} if module == RECORDS[0] else set())
    for origin, name in sorted(meant - {("", ""), RECORDS}):
        _visit(origin, name, seen)
    if RECORDS in meant:
        attributes = {n.attr for statement in statements for n in ast.walk(statement) if isinstance(n, ast.Attribute)}
        for verb in _module(RECORDS[0]).definitions[RECORDS[1]][0].body:
            if getattr(verb, "name", "") in attributes and (inner := f"{':'.join(RECORDS)}.{verb.name}") not in seen:
                _read(inner, [verb], RECORDS[0], seen)


def _meaning(module: str, chain: tuple[str, ...]) -> tuple[str, str]:
    """Module and name of what `a` or `a.b.c` means in `module`; empty if it is nothing of a module's top."""
    source, (first, *rest) = _module(module), chain
    if first in source.definitions:
        return module, first
    module, name = source.imports.get(first, ("", ""))
    while rest and _path(f"{module}.{name}" if name else module):  # a module was imported, not what is in it
        module, name = (f"{module}.{name}" if name else module), rest.pop(0)
    source = _module(module)
    if name and source and name not in source.definitions and source.imports.get(name, (module, ""))[0] != module:
        return _meaning(module, (name, *rest))  # a package passes on what its modules define
    return (module, name) if name and source else ("", "")


def _mentioned(statement: ast.stmt) -> Iterator[tuple[str, ...]]:
    """Every name and dotted name in a definition, annotations included: they say whose methods are called."""
    for node in ast.walk(statement):
        chain, base = [], node
        while isinstance(base, ast.Attribute):
            chain.append(base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            yield (base.id, *reversed(chain))


@functools.cache
def _module(name: str) -> Module | None:
    if (path := _path(name)) is None:
        return None
    if path.stat().st_mtime > STARTED:
        raise ValueError(
            f"{path} was edited after this process began, which may run what it was before: start the kernel, or the "
            "command, anew"
        )
    tree = ast.parse(path.read_text(encoding="utf-8"))
    definitions: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for defined in _defined(statement):
            definitions.setdefault(defined, []).append(statement)
    imports = {}
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            origin = (node.module, alias.name) if isinstance(node, ast.ImportFrom) else (alias.name, "")
            imports[alias.asname or alias.name.partition(".")[0]] = origin
    return Module(definitions, imports)


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return [node.id for target in targets if target for node in ast.walk(target) if isinstance(node, ast.Name)]


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each module that is imported, and what of it, if that is named."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


@functools.cache
def _path(module: str) -> Path | None:
    """The file of a module of ours, or of one that is loaded from beside the tests; None of all others."""
    if module.partition(".")[0] != __package__:
        file = getattr(sys.modules.get(module), "__file__", None)
        return Path(file) if file and "site-packages" not in file and Path(file).stem.startswith("test_") else None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _copy(statement: ast.stmt) -> ast.stmt:
    return ast.parse(ast.unparse(statement)).body[0]


class _Silent(ast.NodeTransformer):
    """Takes out what computes nothing: docstrings, annotations of functions, and the arguments of what is raised."""

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._without_docstring(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._without_docstring(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.copy_location(ast.Raise(), node)

    def _without_docstring(self, node: ast.Module | ast.ClassDef | ast.FunctionDef) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)
