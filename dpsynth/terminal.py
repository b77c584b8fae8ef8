"""What the command lines share: they run without docstrings, and on terminals that know few characters."""

import argparse
import io
import sys


def parser(prog: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser of the command line `prog`; from here on stdout escapes what its terminal cannot show.

    Args:
        doc: docstring whose first line describes the command; None under `python -OO`.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return argparse.ArgumentParser(prog=prog, description=(doc or "").partition("\n")[0])
