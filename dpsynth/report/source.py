"""The code under an equation: a function's own source, from the package, as a page shows it."""

import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path

from IPython.display import Code

from dpsynth.project import PACKAGE


def source(function: Callable) -> Code:
    """The source of a function or class of the package, highlighted, under the line that says where it stands.

    >>> from dpsynth.stages.selection import pick
    >>> source(pick).data.splitlines()[0]
    '# dpsynth/stages/selection.py'
    """
    place = Path(inspect.getsourcefile(inspect.unwrap(function))).relative_to(PACKAGE.parent)
    return Code(f"# {place.as_posix()}\n{textwrap.dedent(inspect.getsource(function))}", language="python")
