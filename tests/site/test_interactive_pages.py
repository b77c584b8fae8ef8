"""The interactive pages in a headless Chromium: what they show, and what they refuse."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "site"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGES = sorted(path.stem for path in (SITE / "interactive").glob("*.md"))

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")


def raw(page):
    """The HTML of a page's own."""
    text = (SITE / "interactive" / f"{page}.md").read_text("utf-8")
    return "".join(re.findall(r"```\{raw\} html\n(.*?)```", text, re.S))


@pytest.fixture
def shown(tmp_path):
    """`shown(page, script)`: what is in a page after a script."""
    (tmp_path / "_static").symlink_to(SITE / "static")
    (tmp_path / "pages").mkdir()

    def show(page, script=""):
        file = tmp_path / "pages" / f"{page}.html"
        after = f"<script>addEventListener('load', () => {{ {script} }})</script>"
        crash = "<script>onerror = (words) => { document.title = `crashed: ${words}`; }</script>"
        head = f"<!doctype html><html lang=en><meta charset=utf-8><title>page</title>{crash}"
        file.write_text(f"{head}<body>{raw(page)}{after}</body></html>", "utf-8")
        command = [BROWSER, "--headless", "--no-sandbox", "--virtual-time-budget=4000", "--dump-dom", file.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    return show


def typed(**fields):
    """A script that types into fields, as a reader does."""
    lines = [
        f"document.querySelector('[name={name}]').value = '{text}';"
        f"document.querySelector('[name={name}]').dispatchEvent(new Event('input', {{bubbles: true}}));"
        for name, text in fields.items()
    ]
    return "".join(lines)


@pytest.mark.parametrize("page", PAGES)
def test_every_field_has_a_label_and_every_picture_words(page):
    html = raw(page)
    fields = re.findall(r'<(?:input|select)[^>]*\bid="([^"]+)"', html)
    assert fields and all(f'<label for="{field}"' in html for field in fields)
    assert all('alt="' in picture for picture in re.findall(r"<img[^>]*>", html))
    assert 'aria-live="polite"' in html and 'class="still"' in html


@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_no_other_host(page):
    scripts = re.findall(r'src="\.\./_static/([a-z-]+\.js)"', raw(page))
    texts = [raw(page), *((SITE / "static" / name).read_text("utf-8") for name in scripts)]
    links = {link for text in texts for link in re.findall(r"//[a-z]+\.[\w./-]+", text)}
    assert scripts and links <= {"//www.w3.org/2000/svg"}  # a name, which is not loaded


@needs_browser
@pytest.mark.parametrize("page", PAGES)
def test_without_its_data_a_page_shows_its_still_and_does_not_crash(shown, page):
    html = shown(page)
    assert "<title>page</title>" in html
    assert ("is-live" in html) == (page == "explorer")  # which needs none but its presets


@needs_browser
def test_the_explorer_answers_and_draws(shown):
    html = shown("explorer", "document.querySelector('[value=noise]').click();" + typed(noise="1"))
    assert re.search(r"epsilon [\d.]+ at delta 1e-5", html)
    assert html.count("<polyline") == 4 and "The chart as a table" in html
    assert "NaN" not in html and "undefined" not in html and "<title>page</title>" in html


@needs_browser
def test_the_explorer_refuses_impossible_values_beside_their_fields(shown):
    html = shown("explorer", typed(rate="1.5", delta="0", steps="many", votes=""))
    for field, words in (("rate", "at most 1"), ("delta", "above 0"), ("steps", "not a number"), ("votes", "is empty")):
        assert words in re.search(rf'id="{field}-error"[^>]*>([^<]*)<', html)[1]
    assert "No answer" in html and "NaN" not in html and "<title>page</title>" in html


@needs_browser
def test_a_query_that_costs_the_whole_budget_is_told_so(shown):
    html = shown("explorer", typed(epsilon="0.5"))
    assert "The query alone costs epsilon 0.9264, which leaves DP-SGD nothing" in html
