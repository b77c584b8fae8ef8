"""The built pages as files: links lead somewhere, nothing is far away, nothing is heavy, nothing is from elsewhere."""

import re
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup

from dpsynth.site import build

QUESTIONS = ("what-is-this.html", "does-rpgen-hold.html", "own-images.html")
LOADS = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
HEAVIEST = 3 * 2**20
STORY = "story/01_semantic_query.html"


@pytest.fixture(scope="module")
def soups(html):
    """Each page as it was parsed, by its address."""
    return {
        path.relative_to(html).as_posix(): BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in sorted(html.rglob("*.html"))
    }


def targets(page, soup, within=""):
    """(page, anchor) of each link to a page of the site."""
    for link in soup.select(f"{within} a[href]"):
        address, _, anchor = link["href"].partition("#")
        if not re.match(r"\w+:", address):
            parts = page.split("/")[:-1] if address else page.split("/")
            for part in address.split("/") if address else ():
                parts = parts[:-1] if part == ".." else [*parts, part]
            yield "/".join(parts), unquote(anchor)


def test_every_link_leads_to_a_page_and_a_place_that_there_is(soups, html):
    ids = {page: {tag["id"] for tag in soup.select("[id]")} | {""} for page, soup in soups.items()}
    dead = [
        f"{page}: {target}#{anchor}"
        for page, soup in soups.items()
        for target, anchor in targets(page, soup)
        if anchor not in ids.get(target, ()) and not (target.endswith(".png") and (html / target).is_file())
    ]
    assert not dead, "\n".join(dead)


def test_the_three_questions_of_a_newcomer_are_within_three_clicks_of_the_front_page(soups):
    clicks, edge = {"index.html": 0}, ["index.html"]
    while edge:
        page = edge.pop(0)
        for target, _ in targets(page, soups[page], "article"):
            if target in soups and target not in clicks:
                clicks[target] = clicks[page] + 1
                edge.append(target)
    assert all(clicks[question] <= 3 for question in QUESTIONS), {q: clicks.get(q) for q in QUESTIONS}


def test_the_front_page_says_how_the_claims_came_out(soups):
    assert re.search(r"\d+ agree, \d+ disagree, \d+ cannot tell", soups["index.html"].article.get_text())


def test_no_page_loads_anything_from_another_host(soups, html):
    for page, soup in soups.items():
        for tag, attribute in LOADS.items():
            assert not [one for one in soup.select(f"{tag}[{attribute}]") if re.match(r"(\w+:)?//", one[attribute])], (
                page
            )
    for style in html.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text(encoding="utf-8")), style


def test_no_page_is_heavy(html):
    heavy = {page: weight for page, weight in build.weights(html).items() if weight >= HEAVIEST}
    assert not heavy


def test_pictures_stay_files(soups):
    for page, soup in soups.items():
        assert not soup.select("article img[src^='data:']"), page


def test_what_was_not_run_is_a_page_with_its_command_and_is_listed_at_the_end(soups, built):
    command = "make reproduce METHOD=dp_feta EPS=10 SEED=0"
    assert command in soups["methods/dp_feta.html"].article.get_text()
    assert f"not made yet: methods/dp_feta; make it with: {command}" in built[1]
    assert "not made yet: story/02_selection, story/03" in built[1]


def test_a_run_of_another_scale_or_an_older_source_is_named(soups, built):
    text = soups[STORY].article.get_text()
    assert "Scale: smoke" in text and "too small to mean anything" in text and "Not up to date" in text
    assert "made at another scale: story/01_semantic_query;" in built[1]
    assert "not up to date: story/01_semantic_query;" in built[1]


def test_a_notebook_has_its_pictures_texts_its_terms_and_its_code(soups):
    article = soups[STORY].article
    assert [image["alt"] for image in article.select("img")] == ["Digits in rows", "Figure: Asking"]
    assert article.select_one("a[href='../glossary.html#term-noise-multiplier']")
    assert article.select_one("div.cell_output div.highlight-python pre").get_text().strip() == "def f(): ..."
    assert not article.select("style")
