"""YAML as parameter files need it: names and plain values, each key once, in UTF-8, of a bounded size.

What YAML offers beside (tags, merges, dates, keys that are no names) is refused with its line, not half understood.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import yaml

LARGEST = 100_000  # bytes of a file; ours have 3,000
DIGITS = 40  # of a number
HALVES = re.compile("[\ud800-\udfff]")  # surrogates
STRING, DATE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"


def read(path: Path) -> dict[str, Any]:
    """What the file says: a mapping to mappings, lists, strings, numbers, booleans and None.

    Raises:
        FileNotFoundError; ValueError: one line that says what is wrong, and on which line of the file.
    """
    if not os.path.isfile(path):  # Path's own raises on a name too long
        raise FileNotFoundError("no such parameter file")
    with open(path, "rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"larger than {LARGEST:,} bytes: not a parameter file")
    try:
        value = yaml.load(text.decode("utf-8"), _Loader)
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line}: not UTF-8, which parameter files are; save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"line {error.problem_mark.line + 1}: {' '.join(problem.split())}") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("nested too deeply to be a parameter file") from None
    if not isinstance(value, dict):
        raise ValueError("expected a mapping of parameters at the top level")
    return value


class _Loader(yaml.SafeLoader):
    # Dates stay strings.
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own
        first: [(tag, pattern) for tag, pattern in resolvers if tag != DATE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent, index):
        """Refuse tags (`!!python/object`, `!!set`, ...), and text that no file could be written with."""
        event = self.peek_event()
        if getattr(event, "tag", None):
            raise _refusal(event, f"no tags here ({event.tag})")
        if HALVES.search(getattr(event, "value", "")):
            raise _refusal(event, f"half a character in {event.value[:DIGITS]!r}")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        """Refuse a key that is no name (merges too) or that stands there already; PyYAML takes the last."""
        first: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag != STRING:
                name = key.value if isinstance(key, yaml.ScalarNode) else f"a {key.id}"
                rule = "keys are names, in quotes if need be, and each is written out"
                raise _refusal(key, f"{name!r} is no key; {rule}")
            if key.value in first:
                line = first[key.value]
                raise _refusal(key, f"the key {key.value!r} is written a second time (first on line {line})")
            first[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)

    def construct_number(self, node):
        """Numbers as Python writes them; in YAML 1.1, 010 is 8 and 1:30 is 90."""
        with contextlib.suppress(ValueError):
            if len(node.value) <= DIGITS and ":" not in node.value:
                return int(node.value, 0) if node.tag.endswith("int") else self.construct_yaml_float(node)
        raise _refusal(node, f"{node.value[:DIGITS]!r} is no number, or too long a one; put names in quotes")


def _refusal(place: yaml.Node | yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


for tag in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{tag}", _Loader.construct_number)
