"""The built pages in headless Chromium: what a reader sees, and how they get around."""

from pathlib import Path

import pytest

CHECKS = Path(__file__).with_name("page_checks.js").read_text(encoding="utf-8")
PHONE, DESKTOP, PAPER = (360, 740), (1280, 900), (718, 1000)
STORY = "story/01_semantic_query.html"
NARROW = ".sidebar-drawer, .toc-drawer, .mobile-header, footer"


@pytest.fixture
def open_page(browser, address, look):
    """Opens a page in a window of a phone's size."""

    def open_it(page: str) -> None:
        look(PHONE)
        browser.get(f"{address}/{page}")

    return open_it


def test_every_page_is_sound_on_phone_and_desktop_in_light_and_dark(browser, open_page, look, html):
    pages = [path.relative_to(html).as_posix() for path in sorted(html.rglob("*.html"))]
    assert len(pages) > 50
    wrong = []
    for page in pages:
        open_page(page)
        for size, scheme in ((PHONE, "light"), (PHONE, "dark"), (DESKTOP, "light"), (DESKTOP, "dark")):
            look(size, scheme)
            wrong += [f"{page}, {size[0]} px, {scheme}: {one}" for one in browser.execute_script(CHECKS)]
        wrong += [f"{page}: {entry['message']}" for entry in browser.get_log("browser")]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("document.querySelector('article p').style.color = '#ccc'", "contrast"),
        ("document.querySelector('article section > p').style.width = '900px'", "px wide"),
        ("document.querySelector('article img').alt = ''", "without text"),
        ("document.querySelector('article h2').outerHTML = '<h4>a</h4>'", "a heading of level"),
        ("document.querySelector('article').insertAdjacentHTML('beforeend', '<a href=#nowhere>a</a>')", "no place"),
        ("document.querySelector('.theme-toggle').removeAttribute('aria-label')", "without a name"),
    ],
)
def test_what_is_wrong_with_a_page_is_found(browser, open_page, change, said):
    open_page(STORY)
    assert not browser.execute_script(CHECKS)
    browser.execute_script(change)
    assert any(said in one for one in browser.execute_script(CHECKS))


def test_formulas_are_mathml_in_the_bundled_font(browser, open_page):
    open_page(STORY)
    script = "return document.fonts.ready.then(() => [...document.fonts].map(f => f.family + ' ' + f.status))"
    assert "STIX Two Math loaded" in [one.replace('"', "") for one in browser.execute_script(script)]
    assert browser.execute_script("return document.querySelectorAll('article math').length") == 2
    sizes = "return [...document.querySelectorAll('article math')].every(m => m.getBoundingClientRect().height > 10)"
    assert browser.execute_script(sizes)


def test_the_menu_and_what_scrolls_are_reached_by_keyboard(browser, open_page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    open_page("tables/rpgen_table2.html")
    menu = browser.find_element(By.CSS_SELECTOR, "label.nav-overlay-icon")
    assert menu.get_attribute("role") == "button" and menu.get_attribute("aria-label")
    menu.send_keys(Keys.ENTER)
    assert browser.find_element(By.ID, "__navigation").is_selected() and menu.get_attribute("aria-expanded") == "true"
    table = browser.find_element(By.CSS_SELECTOR, ".table-wrapper")
    assert table.get_attribute("tabindex") == "0"
    width = "const b = arguments[0]; return [getComputedStyle(b).outlineStyle, b.scrollWidth > b.clientWidth]"
    browser.execute_script("arguments[0].focus({focusVisible: true})", table)
    assert browser.execute_script(width, table) == ["solid", True]


def test_on_paper_there_are_no_menus_and_no_cut_tables(browser, open_page, look):
    open_page("tables/rpgen_table2.html")
    look(PAPER, media="print")
    shown = f"return [...document.querySelectorAll('{NARROW}')].filter(e => e.checkVisibility()).length"
    assert browser.execute_script(shown) == 0
    edges = "return [...document.querySelectorAll('article table')].map(table => table.getBoundingClientRect().right)"
    assert max(browser.execute_script(edges)) <= PAPER[0]
