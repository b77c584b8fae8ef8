"""Runs the site's scripts: under node where there is node, else in a headless Chromium."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

STATIC = Path(__file__).parents[2] / "site" / "static"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


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
