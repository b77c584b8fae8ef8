"""What the site is collected from, piece by piece."""

from html import unescape
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from dpsynth.mistakes import Failed
from dpsynth.site import addresses, books, build, executed, links, terms, verdicts
from dpsynth.site.__main__ import lacking
from dpsynth.site.mathml import mathml

ROOT = Path(__file__).parents[2]
FILES = {
    "index": "index.md",
    "tables/index": "tables/index.md",
    "story/01_a": "story/01_a.ipynb",
    "errors": "errors.md",
}


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("[x](docs/items.md)", "[x](tables/index.md)"),
        ("[x](notebooks/01_a.py)", "[x](story/01_a.ipynb)"),
        ("[`x[0]`](docs/errors.md#a-b)", "[`x[0]`](errors.md#a-b)"),
        ("[`x`](dpsynth/store.py) and [y](docs/none.md)", "`x` and y"),
        ("[x](https://a.org/b.md) [y](#place)", "[x](https://a.org/b.md) [y](#place)"),
        ("`a[x](docs/items.md)`", "`a[x](docs/items.md)`"),
        ("```\na[x](docs/items.md)\n```", "```\na[x](docs/items.md)\n```"),
        ("[two\nlines](docs/items.md)", "[two\nlines](tables/index.md)"),
    ],
)
def test_links_to_pages_follow_and_links_to_source_become_text(text, becomes):
    assert links.rewritten(text, "README.md", "index", FILES, {}) == becomes


def test_links_start_where_the_page_lies_and_pictures_are_taken_along():
    pictures = {}
    text = links.rewritten("[x](../items.md) ![y](y.png)", "docs/items/a.md", "tables/a", FILES, pictures)
    assert (text, pictures) == ("[x](index.md) ![y](y.png)", {"tables/y.png": "docs/items/y.png"})
    assert links.rewritten("![y](results/y.png)", "README.md", "index", FILES, pictures) == "![y](images/y.png)"
    with pytest.raises(ValueError, match=r"the picture dpsynth/y\.png lies in no folder"):
        links.rewritten("![y](dpsynth/y.png)", "README.md", "index", FILES, pictures)


def test_no_two_files_of_the_project_are_one_page():
    paths = [
        p.relative_to(ROOT).as_posix() for place in ("docs", "site", "notebooks") for p in (ROOT / place).rglob("*.*")
    ]
    pages = [addresses.page_of(path) for path in paths if path.endswith((".md", ".py"))]
    named = [page for page in pages if page and not page.endswith("/conf")]
    assert len(named) == len(set(named)) > 40


def test_only_the_first_use_of_a_term_outside_code_maths_links_and_headings_is_a_reference():
    text = "# epsilon\n\n$epsilon$ `epsilon` [epsilon](x.md) epsilon, then epsilon; epsilons"
    first = text.replace("epsilon, then", "{term}`epsilon`, then")
    used = set()
    assert terms.linked(text, ["epsilon", "delta"], used) == first
    assert (terms.linked("epsilon", ["epsilon"], used), used) == ("epsilon", {"epsilon"})


def test_the_glossary_explains_each_term_once():
    names = terms.terms((ROOT / "site" / "glossary.md").read_text(encoding="utf-8"))
    assert len(names) == len(set(names)) > 30
    assert [name.lower() for name in names][:3] == ["accountant", "add-or-remove", "adversarial model perturbation"]


@pytest.mark.parametrize(
    ("latex", "letter"),
    [
        (r"\mathcal N", "\N{MATHEMATICAL SCRIPT CAPITAL N}"),
        (r"\mathcal{N}", "\N{MATHEMATICAL SCRIPT CAPITAL N}"),
        (r"\mathbb 1", "\N{MATHEMATICAL DOUBLE-STRUCK DIGIT ONE}"),
        (r"\mathbb Z", "\N{DOUBLE-STRUCK CAPITAL Z}"),
        (r"\boldsymbol\sigma", "\N{MATHEMATICAL BOLD ITALIC SMALL SIGMA}"),
    ],
)
def test_a_letter_in_a_script_is_its_own_character_as_browsers_know_no_variants(latex, letter):
    assert f"<mi>{letter}<" in unescape(mathml(latex)).replace("mn>", "mi>") and "mathvariant" not in mathml(latex)


def test_a_formula_that_cannot_be_converted_is_named():
    assert mathml(r"\frac{1}{2}", "block").startswith("<math")
    with pytest.raises(ValueError, match=r"the formula '.*frac.*' cannot be converted"):
        mathml(r"\frac{1}{")


def test_the_summary_counts_what_was_tested_and_names_the_rest():
    once = [
        ("a.1", "RPGen Table 1", "agrees"),
        ("b.1", "RPGen Figure 5", "not run"),
        ("c.1", "PrivImage Table 1", "agrees"),
    ]
    claims = pd.DataFrame([("C1", "RPGen Table 1", "agrees"), *once], columns=["id", "item", "verdict"])
    claims = claims.assign(
        claim="c", command="make rpgen-fig5", ours="+1", interval="0 to 2", seeds="3", scale="laptop"
    )
    assert verdicts.summary(claims).startswith("1 comparison of RPGen's claims was tested")
    assert verdicts.summary(claims).endswith("1 agree, 0 disagree, 0 cannot tell. Of the others: 1 not run.")
    table = verdicts.table(claims, {"tables/rpgen_fig5": "tables/rpgen_fig5.md"})
    assert "| [RPGen Table 1](tables/rpgen_fig5.md) | 1 | 0 | 0 |" in table
    assert "\n### RPGen Table 1\n" in table and "| agrees | c | +1 (0 to 2) | 3 | laptop |" in table
    assert "Not run at today's settings: [RPGen Figure 5](tables/rpgen_fig5.md) (`make rpgen-fig5`)." in table


@pytest.mark.filterwarnings("ignore:.*Check CHANGES for Sphinx API")  # of myst-parser's, to whom it is said
def test_what_sphinx_warns_of_fails_the_build_in_sentences_and_leaves_the_old_pages(tmp_path):
    source, html = tmp_path / "source", tmp_path / "html"
    for folder in (source, html):
        folder.mkdir()
    (html / "old.html").write_text("old", encoding="utf-8")
    (tmp_path / "conf.py").write_text("extensions = ['myst_nb']", encoding="utf-8")
    (source / "index.md").write_text("# A\n\n[x](nowhere.md)\n", encoding="utf-8")
    with pytest.raises(Failed, match=r"^error: page index.md, line 3: .*nowhere\.md"):
        build.build(source, tmp_path, html)
    assert (html / "old.html").exists()


def test_a_page_weighs_what_it_loads(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x" * 1000)
    text = '<img src="a.png"><img src="a.png"><a href="a.png">'
    (tmp_path / "a.html").write_text(text, encoding="utf-8")
    assert build.weights(tmp_path) == {"a.html": 1000 + len(text)}


def test_an_executed_notebook_keeps_its_file_and_says_what_it_is(told):
    before = told.out.read_bytes()
    book = nbformat.reads(books.shown(told, lambda text: text), as_version=4)
    assert told.out.read_bytes() == before
    assert book.cells[0].source.startswith("# 01 · The semantic query\n\n:::{admonition} Scale: smoke")
    assert "at commit `0123abc`" in book.cells[-1].source
    recent = books.shown(told._replace(scale="laptop", stale=False), lambda text: text)
    assert "admonition" not in recent


def test_what_lacks_is_told_a_line_a_command(told):
    made = told._replace(scale="laptop", stale=False)
    missing = [executed.Told(f"story/{n}", n, "rpgen", None, "laptop", False) for n in ("02_a", "03_b")]
    line = "not made yet: story/02_a, story/03_b; make it with: make reproduce METHOD=rpgen EPS=10 SEED=0"
    assert lacking([made, *missing]) == [line]


def test_no_page_shows_where_a_file_lies_on_the_machine_that_ran_it(tmp_path, told):
    book = nbformat.read(told.out, as_version=4)
    place = nbformat.v4.new_output("execute_result", {"text/plain": "PosixPath('/home/somebody/metrics.csv')"})
    book.cells.append(nbformat.v4.new_code_cell("run_files.write_metrics(run)", outputs=[place]))
    nbformat.write(book, out := tmp_path / "book.ipynb")
    assert "somebody" not in books.shown(told._replace(out=out), str)
