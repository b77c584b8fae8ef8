"""docs/errors.md shows what it says: each entry has a cell, and the cells run."""

import doctest
import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent / "mutants"))
from planted import BUGS

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"
ENTRIES = {title: text for title, text in re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE.read_text(), re.M | re.S)}
CELL = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


@pytest.mark.parametrize("title", ENTRIES)
def test_an_entry_shows_what_it_says(title):
    cell = "".join(CELL.findall(ENTRIES[title]))
    example = doctest.DocTestParser().get_doctest(cell, {}, title, str(PAGE), 0)
    assert len(cell.splitlines()) >= 3 and sum(len(e.source.splitlines()) for e in example.examples) <= 12
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=report.append)
    assert not report, "".join(report)


def test_a_bug_that_an_entry_names_is_planted():
    named = re.findall(r"Planted bugs?: (.*?)\.\n", PAGE.read_text(), re.S)
    names = [name for line in named for name in re.findall(r'"(.+?)"', line.replace("\n", " "))]
    assert len(names) > 15
    assert not set(names) - {bug.name for bug in BUGS}
