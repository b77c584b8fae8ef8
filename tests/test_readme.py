"""The README says what results/ says."""

import pytest

from dpsynth import readme


def test_every_number_in_the_readme_comes_from_results():
    text = readme.README.read_text()
    assert text == readme.filled(text, readme.blocks()), "run `make readme`"


def test_a_block_without_a_place_or_a_place_without_a_block_is_an_error():
    text = "a\n<!-- begin: x -->\nold\n<!-- end: x -->\nb"
    assert readme.filled(text, {"x": "new"}) == "a\n<!-- begin: x -->\nnew\n<!-- end: x -->\nb"
    for blocks in ({}, {"x": "", "y": ""}):
        with pytest.raises(ValueError, match="the README has markers for"):
            readme.filled(text, blocks)
