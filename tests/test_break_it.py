"""`make exercise`: red for the right reason as planted, green with its answer; package and reader's edits stay."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "exercises"
PAGES = sorted(FOLDER.glob("[0-9]-*.md"))
# What the replay must have seen of each bug, in words.
SEEN = {
    1: "0.0% of it further out than twice", 2: "the sum moved by 7.99 C", 3: "moved the step by 0.40 C",
    4: "two different secret keys", 5: "the sum moved by 8.99 C", 6: "between 30 and 30 of 100 records",
}  # fmt: skip


def exercise(*arguments):
    command = [sys.executable, str(FOLDER), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", SEEN)
def test_an_exercise_is_red_as_planted_and_green_with_its_answer(number, tmp_path):
    before = {path: path.read_bytes() for path in (ROOT / "dpsynth" / "privacy").rglob("*.py")}
    red = exercise(number, "--folder", tmp_path)
    assert red.returncode == 1 and SEEN[number] in red.stdout and ": failed" in red.stdout and "RED" in red.stdout, red
    answer = exercise(number, "--answer").stdout
    file = tmp_path / str(number) / "dpsynth" / re.search(r"^--- planted/(.+)$", answer, re.M)[1].strip()
    subprocess.run(["git", "apply", "-p1", f"--directory={number}/dpsynth", "-"], cwd=tmp_path, input=answer, text=True,
                   check=True)  # fmt: skip
    assert file.read_bytes() == (ROOT / "dpsynth" / file.relative_to(tmp_path / str(number) / "dpsynth")).read_bytes()
    green = exercise(number, "--folder", tmp_path)
    assert green.returncode == 0 and ": passed" in green.stdout and "GREEN" in green.stdout, green
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize(
    "number, planted, mended, said",
    [
        (1, '(charge.coins.uniforms(("noise", step), histogram.size) * mechanism.scale)',
         "np.random.default_rng(0).normal(0, mechanism.scale, histogram.size).round()",
         "it is not of the charge's coins"),
        (4, "default_rng(0)", "default_rng()", "The same key did not give the same noise again"),
    ],
    ids=["a fixed seed", "no seed"],
)  # fmt: skip
def test_noise_of_the_right_shape_that_is_not_of_the_secret_coins_is_red(number, planted, mended, said, tmp_path):
    exercise(number, "--folder", tmp_path)
    file = tmp_path / str(number) / "dpsynth" / "privacy" / "private.py"
    assert file.read_text().count(planted) == 1
    file.write_text(file.read_text().replace(planted, mended))
    red = exercise(number, "--folder", tmp_path)
    assert red.returncode == 1 and said in red.stdout and ": passed" in red.stdout, red


def test_an_edit_that_does_not_run_is_red_and_said_in_words(tmp_path):
    (tmp_path / "2" / "dpsynth").mkdir(parents=True)
    (tmp_path / "2" / "dpsynth" / "__init__.py").write_text("def (")
    red = exercise(2, "--folder", tmp_path)
    assert red.returncode == 1 and "The replay ended with an error: SyntaxError" in red.stdout and "RED" in red.stdout


def test_without_a_number_all_are_listed():
    listed = exercise()
    assert listed.returncode == 2 and all(f"make exercise N={n} " in listed.stdout for n in SEEN)


@pytest.mark.parametrize("number", ["0", "7", "abc"])
def test_a_number_that_is_none_is_said_and_all_are_listed(number):
    listed = exercise(number)
    assert listed.returncode == 2 and f"There is no exercise {number}. Which exercise?" in listed.stdout
    assert "make exercise N=6 " in listed.stdout and not listed.stderr


def test_the_page_of_the_list_names_each_exercise_by_its_title():
    listed = (FOLDER / "README.md").read_text()
    assert [int(page.name[0]) for page in PAGES] == [*SEEN]
    for page in PAGES:
        title = re.search(r"^# \d · (.+)$", page.read_text(), re.M)[1]
        assert f"| {page.name[0]} | [{title}]({page.name}) |" in listed
