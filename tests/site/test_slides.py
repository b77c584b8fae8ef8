"""The lecture: its route is what the notebooks tag, and its slides load nothing."""

import re
from pathlib import Path

import jupytext
import nbformat
import pandas as pd
import pytest

from dpsynth.runner import pages
from dpsynth.site import slides

ROOT = Path(__file__).parents[2]
ROUTE = slides.route((ROOT / "docs" / "teaching.md").read_text())
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def books():
    """The notebooks, each code cell with a picture of its own for an output."""
    found = {name: jupytext.read(ROOT / "notebooks" / f"{name}.py") for name in (pages.PRIMER, *pages.STORY)}
    for book in found.values():
        for cell in book.cells:
            if cell.cell_type == "code":
                about = {"image/png": {"alt": 'a "picture"'}}
                cell.outputs = [nbformat.v4.new_output("display_data", {"image/png": PNG}, metadata=about)]
    return found


def test_the_route_takes_fifty_minutes_and_about_forty_cells(books):
    tagged = [cell for book in books.values() for cell in book.cells if "lecture" in cell.metadata.get("tags", ())]
    assert 35 <= len(tagged) == sum(stop.cells for stop in ROUTE) <= 45
    assert sum(stop.minutes for stop in ROUTE) == 50


def test_each_slide_is_a_row_of_the_route_with_as_many_cells(books):
    found = slides.slides(books, ROUTE)
    assert [(s.notebook[:2], s.title, 1 + len(s.shown)) for s in found] == [
        (r.notebook, r.title, r.cells) for r in ROUTE
    ]
    assert [slide.until for slide in found][-1] == 50 and all(slide.title for slide in found)


def test_a_route_that_is_not_the_notebooks_is_refused(books):
    with pytest.raises(ValueError, match=r"has \('00', 'The promise'\) where the notebooks' tagged cells have"):
        slides.slides(books, ROUTE[1:])


def test_the_slides_load_nothing_and_each_picture_has_a_text(books):
    text = slides.page(slides.slides(books, ROUTE))
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|url\(|@import|<link""", text)
    assert text.count("<img") == text.count('alt="a &quot;picture&quot;"') > 10
    assert text.count("<section") == len(ROUTE) and 'lang="en"' in text


def test_no_formula_is_left_as_it_was_written(books):
    text = slides.page(slides.slides(books, ROUTE))
    assert text.count("<math") > 50 and "$" not in re.sub(r"<script>.*</script>", "", text, flags=re.S)
    prose = re.sub(r"<[^>]+>", "", re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.S))
    assert not re.findall(r"\\[a-z]+", prose)


def test_script_and_double_struck_letters_are_characters_of_their_own(books):
    shown = slides.html(r"$\mathcal N \mathcal L \mathbb E \mathbb Z \mathbb 1$")
    assert re.findall(r"<m[in]>(.)<", shown) == [*"\U0001d4a9\u2112\U0001d53c\u2124\U0001d7d9"]
    found = slides.page(slides.slides(books, ROUTE))
    assert set(re.findall(r'mathvariant="([^"]+)"', found)) <= {"normal", "bold"}


def test_what_a_slide_announces_it_shows(books):
    for slide in slides.slides(books, ROUTE):
        assert slide.shown or not slide.text.endswith(":</p>"), slide.title


def test_of_several_pictures_a_slide_has_the_first_and_says_so():
    names = ["first", "second", "third"]
    outputs = [
        nbformat.v4.new_output("display_data", {"image/png": PNG}, metadata={"image/png": {"alt": name}})
        for name in names
    ]
    picture, said = slides.with_one_picture(outputs)
    assert 'alt="first"' in picture and said == "<p>and 2 more in the notebook</p>"
    assert len(slides.with_one_picture(outputs[:1])) == 1


def test_of_a_long_table_a_slide_has_the_first_rows_and_says_so():
    def cell(n):
        return nbformat.v4.new_output("execute_result", {"text/html": pd.DataFrame({"a": range(n)}).to_html()})

    assert slides.shown(cell(12)).count("<tr>") == 12 and "more rows" not in slides.shown(cell(12))
    assert slides.shown(cell(15)).count("<tr>") == 12 and "and 3 more rows" in slides.shown(cell(15))


def test_what_was_not_executed_is_said_with_the_command_that_does_it(root, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert slides.main([]) == 2
    assert "make reproduce METHOD=rpgen EPS=10 SEED=0 SCALE=laptop does it" in capsys.readouterr().err
