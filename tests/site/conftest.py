"""A site that was built, a headless Chromium for its pages, served from a thread, and what its scripts answer."""

import base64
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dpsynth.report import results
from dpsynth.site import executed

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "site" / "static"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PIXEL = base64.b64encode((ROOT / "results" / "hero.png").read_bytes()).decode()
CODE = '<style>pre { }</style><div class="highlight"><pre><span class="k">def</span> f(): ...\n</pre></div>'
FRAME = "<table border='1' class='dataframe'><thead><tr><th>a</th></tr></thead><tr><td>1</td></tr></table>"


def book() -> nbformat.NotebookNode:
    """A notebook as a run leaves it, small, from a source that has changed since."""
    figure = new_output("display_data", {"image/png": PIXEL}, metadata={"image/png": {"alt": "Digits in rows"}})
    untold = new_output("display_data", {"image/png": PIXEL})
    return new_notebook(
        cells=[
            new_markdown_cell("# 01 · The semantic query\n\nNoise of a noise multiplier $\\sigma_q \\sqrt k$."),
            new_code_cell("figures.grid()", outputs=[figure]),
            new_markdown_cell("## Asking\n\n$$\\tilde h = \\sum_{i} \\mathbb 1[c] + \\mathcal N(0, k\\,\\sigma_q^2)$$"),
            new_code_cell("untold()", outputs=[untold]),
            new_code_cell("source(f)", outputs=[new_output("execute_result", {"text/html": CODE}, execution_count=1)]),
            new_code_cell("frame", outputs=[new_output("execute_result", {"text/html": FRAME}, execution_count=2)]),
        ],
        metadata={
            "dpsynth": {"digest": "of another source", "commit": "0123abc"},
            "language_info": {"name": "python"},
        },
    )


@pytest.fixture(scope="session")
def told(tmp_path_factory) -> executed.Told:
    """A page of the story that has an executed notebook, at scale smoke."""
    out = tmp_path_factory.mktemp("run") / "01_semantic_query.ipynb"
    nbformat.write(book(), out)
    return executed.Told("story/01_semantic_query", "01_semantic_query", "rpgen", out, "smoke", stale=True)


@pytest.fixture(scope="session")
def built(tmp_path_factory, told) -> tuple[Path, str]:
    """The pages of a project in which one notebook was run, and what `make site` said."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPSYNTH_ROOT", str(root))
        patch.chdir(ROOT)
        out = results.run_folder(executed.run("rpgen", "smoke")) / told.out.name
    out.parent.mkdir(parents=True)
    shutil.copyfile(told.out, out)
    given = os.environ | {"DPSYNTH_ROOT": str(root), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "dpsynth.site"], cwd=ROOT, env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return root / "build" / "site" / "html", done.stdout


@pytest.fixture(scope="session")
def html(built) -> Path:
    """The folder of the built pages."""
    return built[0]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line a request."""

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture(scope="session")
def address(html):
    """Where the pages are served."""
    handler = functools.partial(Quiet, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window; skipped where it or its driver is missing."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    chrome.set_page_load_timeout(120)
    chrome.set_script_timeout(120)
    yield chrome
    chrome.quit()


@pytest.fixture(scope="session")
def look(browser):
    """Sets the window's width, height and colours, of a page that is open or of the next."""

    def set_to(size: tuple[int, int], scheme: str = "light", media: str = "screen") -> None:
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        preference = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": preference})

    return set_to


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """`asked(scripts, expression, data)`: what the site's scripts answer."""
    folder = tmp_path_factory.mktemp("javascript")
    return lambda scripts, expression, data=None: _answer(scripts, expression, data, folder)


def _answer(scripts: list[str | Path], expression: str, data: Any, folder: Path) -> Any:
    """The value of an expression after these scripts, in which `data` is what is given: plain data, both ways."""
    code = [(STATIC / name).read_text("utf-8") for name in scripts]
    code.append(f"const data = {json.dumps(data)};")
    if shutil.which("node"):
        program = folder / "asked.js"
        program.write_text("\n".join([*code, f"console.log(JSON.stringify({expression}));"]), "utf-8")
        return json.loads(_output("node", str(program)))
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert browser, "neither node nor chromium is installed: the site's scripts cannot be tested"
    code.append(f"document.body.textContent = JSON.stringify({expression});")
    page = folder / "asked.html"
    tags = "".join(f"<script>{each}</script>" for each in code)
    page.write_text(f"<!doctype html><meta charset=utf-8><title>asked</title><body>{tags}</body>", "utf-8")
    shown = _output(browser, "--headless", "--no-sandbox", "--dump-dom", page.as_uri())
    return json.loads(shown.split("<body>")[1].split("</body>")[0].replace("&amp;", "&"))


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout
