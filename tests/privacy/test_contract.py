"""The core's README: each line of code that it quotes, and each test that it names, exists."""

import re
from pathlib import Path

import pytest

from dpsynth import privacy

CORE = Path(privacy.__file__).parent
ROW = re.compile(r"^\| \d+ \| (.+?) \| `([\w/.]+\.py)`: `(.+?)` \| `([\w/.]+\.py)::(\w+)` \|$", re.MULTILINE)
ROWS = ROW.findall((CORE / "README.md").read_text())


def test_every_row_of_the_contract_is_read():
    assert len(ROWS) == (CORE / "README.md").read_text().count("::test_") >= 25


@pytest.mark.parametrize(("sentence", "file", "line", "test_file", "test"), ROWS, ids=[row[0] for row in ROWS])
def test_the_line_and_the_test_that_keep_a_sentence_exist(sentence, file, line, test_file, test):
    assert line in (CORE / file).read_text()
    assert f"def {test}(" in (Path(__file__).parent / test_file).read_text()
