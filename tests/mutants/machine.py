"""Machine-made mutants: an operator or a constant changed, one at a time, in the core and where stages ask it."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LAYERS = {"_linear", "_linear_squares", "_linear_total", "_conv2d", "_conv2d_squares", "_conv2d_total", "_padded"}
# Where the sampler, the clip, the noise, the divisor and the ledger are: files, and the functions and classes in them.
CORE = {
    "privacy/engine/layers.py": LAYERS,
    "privacy/coins.py": {"Coins", "as_normals", "as_uniforms"},
    "privacy/engine/clip.py": {"Materialised", "Ghost", "clip", "bounded", "clip_factors"},
    "privacy/engine/ranks.py": {"Ranks", "sharing"},
    "privacy/engine/sums.py": {"Draws", "clipped_sum", "_by_hooks", "one_each"},
    "privacy/engine/parallel.py": {"side_by_side"},
    "privacy/ledger.py": {"Charge", "Ledger", "opened", "canonical"},
    "privacy/chain.py": {"Chain", "_digest"},
    "privacy/mechanisms.py": {"Counts", "_Gaussian", "Sums", "Gradients", "_positive", "_rate"},
    "privacy/keys.py": {"Keys"},
    "privacy/plan.py": {"Plan"},
    "privacy/private.py": {"Private", "_distinct", "_mean_of_fakes"},
}
# Where a question is put, or stated, or what is said of a record is computed.
STAGES = {
    "methods/dp_feta.py": {"central_images", "mechanism", "levels", "halved", "level_votes"},
    "methods/dpsda.py": {"mechanism", "evolve", "nearest", "embedded"},
    "stages/dp_sgd.py": {"mechanism", "descend", "dp_sgd"},
    "methods/gans.py": {"mechanism", "n_fakes", "losses"},
    "stages/label_prior.py": {"label_histogram", "mechanism"},
    "methods/dp_mepf.py": {"mechanism", "match_moments", "perceptual"},
    "stages/permit.py": {"Permit"},
    "budget/calibration.py": {"make_plan", "query_noise", "smallest_noise"},
    "budget/planning.py": {"plan", "query_noise", "calibrate", "by_rule"},
    "pipeline.py": {"Run.questions", "Run.plan", "Run.ledger", "Run._named", "Run._build", "Run._rule"},
    "stages/query.py": {"semantic_histogram", "histogram_mechanism", "_top"},
    "methods/dp_sapf.py": {"probe", "squared_norms", "probe_mechanism"},
}
# Of these, expressions that name the records or the charge; what else they do is post-processing.
MOSTLY_PUBLIC, ASKING = {"evolve", "match_moments"}, {"private", "charge", "permit"}
COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Pow: ast.Mult, ast.RShift: ast.LShift,
}  # fmt: skip


class Mutant(NamedTuple):
    """`old`, at character `start` of `file`, becomes `new`; `name` does not depend on line numbers.

    `file` is relative to the package; a name leaves out the core's own folder.
    """

    name: str
    file: str
    start: int
    old: str
    new: str

    def apply(self, text: str) -> str:
        """`text` of the file, mutated."""
        assert text[self.start :].startswith(self.old)
        return text[: self.start] + self.new + text[self.start + len(self.old) :]


def mutants(package: Path, places: dict[str, set[str]]) -> list[Mutant]:
    """Every mutant of `places`, in an order that depends on their names alone, as a hash shuffles them."""
    found = [m for file, names in places.items() for m in _of(file, (package / file).read_text(), names)]
    return sorted(found, key=lambda m: hashlib.sha256(m.name.encode()).hexdigest())


def _of(file: str, text: str, places: set[str]) -> Iterator[Mutant]:
    tops = {name: node for name, node in _definitions(ast.parse(text)) if name in places}
    assert tops.keys() == places, f"{file} lacks {places - tops.keys()}"
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    assert text.isascii()  # columns count bytes
    seen: dict[str, int] = {}
    for name, top in tops.items():
        for place, node in _walk(top, name):
            for changed in _changes(node):
                start = starts[node.lineno - 1] + node.col_offset
                old = ast.get_source_segment(text, node)
                said = f"{file.removeprefix('privacy/')}:{place}: {' '.join(old.split())} -> {ast.unparse(changed)}"
                seen[said] = seen.get(said, 0) + 1
                again = f" ({seen[said]})" if seen[said] > 1 else ""
                yield Mutant(said + again, file, start, old, f"({ast.unparse(changed)})")


def _definitions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Functions, classes and methods (`Class.method`), by name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{inner}", of_class) for inner, of_class in _definitions(node))


def _walk(node: ast.AST, place: str) -> Iterator[tuple[str, ast.AST]]:
    """Expressions below `node`, without annotations, docstrings, error messages and decorators."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list") or isinstance(node, ast.Raise):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.JoinedStr) or not isinstance(child, ast.AST):
                continue
            if isinstance(child, ast.expr):
                if place in MOSTLY_PUBLIC and isinstance(node, ast.stmt) and not _asks(child):
                    continue
                yield place, child
            inner = f"{place}.{child.name}" if isinstance(child, ast.FunctionDef | ast.ClassDef) else place
            yield from _walk(child, inner)


def _asks(expression: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id in ASKING for node in ast.walk(expression))


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARED:
            yield ast.Compare(node.left, [COMPARED[type(op)]()], node.comparators)
        case ast.BinOp(op=op) if type(op) in COMPUTED:
            yield ast.BinOp(node.left, COMPUTED[type(op)](), node.right)
        case ast.BoolOp(op=ast.And()):
            yield ast.BoolOp(ast.Or(), node.values)
        case ast.BoolOp(op=ast.Or()):
            yield ast.BoolOp(ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
