"""`dpsynth verify`: the file that checks certificates alone, against dp-accounting; and edited certificates."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dpsynth import __main__ as command
from dpsynth import verify
from dpsynth.budget.certificate import certificate, certificate_of_set
from dpsynth.privacy import Counts, Gradients, Ledger, Plan, Sums, accounting
from dpsynth.privacy.mechanisms import statement

DELTA = 1e-5


BOUNDS, KNOWN = verify.bounds, {}


def known(releases, delta, replace):
    """`verify.bounds`, each composition computed once in all tests."""
    key = json.dumps([releases, delta, replace])
    KNOWN[key] = KNOWN.get(key) or BOUNDS(releases, delta, replace)
    return KNOWN[key]


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setattr(verify, "bounds", known)


def sgd(noise, rate=0.1, steps=100):
    return Gradients("dp_sgd", rate, steps, noise, 0.3, 2, 400.0)


def stated_by(tmp_path, mechanisms, epsilon=1000.0, delta=DELTA):
    """The certificate of a run that asked these, as plain data."""
    plan = Plan("mnist5k", 4000, epsilon, delta, tuple(mechanisms))
    ledger = Ledger(tmp_path, "mnist5k", "seeded", 0)
    for m in mechanisms:
        ledger.charge(plan, m.name, f"release of {m.name}", [])
    return json.loads(json.dumps(certificate(plan, ledger, tuple(f"release of {m.name}" for m in mechanisms))))


@pytest.fixture(scope="module")
def stated(tmp_path_factory):
    return stated_by(tmp_path_factory.mktemp("ledger"), [Counts("query", 5, 4.0), sgd(0.9)], 10.0)


GRID = [
    ([sgd(0.84)], 1e-5),
    ([sgd(0.5, 0.01, 1000)], 1e-9),
    ([sgd(2.51, 1 / 15, 4500)], 1e-5),
    ([sgd(8.0, 0.05, 20_000)], 1e-7),
    ([sgd(1.0, 1e-4, 50)], 1e-5),
    ([sgd(0.1)], 1e-5),
    ([sgd(0.02)], 1e-5),  # losses of a thousand: masses underflow
    ([sgd(10.0, 1.0, 20)], 1e-6),
    ([Sums("embedding", 1.0, 0.5, 4000.0)], 1e-5),
    ([Sums("saliency", 2.0, 3.0, 400.0, 0.2, 7)], 1e-3),
    ([Counts("votes", 1, 1.22, 6)], 1e-5),
    ([Counts("votes", 1, 0.4)], 1e-5),  # so little noise that the continuous Gaussian's epsilon is another
    ([Counts("query", 5, 5300.0)], 1e-5),
    ([Counts("query", 5, 4.0), Counts("labels", 1, 8.0), Sums("central", 14.0, 4.0, 400.0), sgd(0.84)], 1e-5),
]


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize(("mechanisms", "delta"), GRID, ids=str)
def test_the_accountant_of_record_lies_between_the_bounds_or_on_the_safe_side_close_above(mechanisms, delta, replace):
    low, high, advantage = verify.bounds([statement(m) for m in mechanisms], delta, replace)
    of_record = accounting.epsilon(mechanisms, delta, replace=replace)
    assert low <= of_record <= high * (1 + verify.ABOVE) + 1e-4
    assert high - low <= 0.015 * high + 1e-4 and 0 <= advantage <= 1.001


@pytest.mark.parametrize(("noise", "n"), [(0.5, 1), (2.0, 4), (30.0, 10)])
def test_a_gaussian_sum_has_the_epsilon_of_its_closed_form(noise, n):
    """Balle and Wang 2018, Theorem 8: an oracle that no grid is in."""
    from scipy.stats import norm

    shift = np.sqrt(n) / noise
    low, high, advantage = verify.bounds([statement(Sums("sum", 1.0, noise, 1.0, 1.0, n))], DELTA, False)

    def delta(epsilon):
        return norm.cdf(shift / 2 - epsilon / shift) - np.exp(epsilon) * norm.cdf(-shift / 2 - epsilon / shift)

    assert delta(high) <= DELTA <= delta(low) and high - low < 1e-3
    assert delta(0) <= advantage <= delta(0) + 1e-3


def test_what_agrees_is_said_in_sentences(stated):
    lines, wrong = verify.verified(json.dumps(stated))
    text = "\n".join(lines)
    assert wrong == [] and verify.verdict(wrong).startswith("AGREES")
    for said in (
        f"Claimed of mnist5k: epsilon {stated['epsilon']:.6g} to add or remove one record",
        "query alone: at most 0.926", "dp_sgd alone: at most ", "Budget: epsilon 10, and it was kept.",
        "guesses right, whether a given record", "protects nobody", "What the file cannot tell",
    ):  # fmt: skip
        assert said in text


def test_secret_noise_is_not_called_a_reproduction(tmp_path):
    plan, ledger = (
        Plan("mnist5k", 4000, 3.0, DELTA, (Counts("query", 5, 4.0),)),
        Ledger(tmp_path, "mnist5k", "secret", 0),
    )
    for release in ("one", "two"):
        ledger.charge(plan, "query", release, [])
    lines, wrong = verify.verified(json.dumps(certificate(plan, ledger, ("one",))))
    assert wrong == [] and not any("protects nobody" in line for line in lines)
    of_set = certificate_of_set(ledger, DELTA)
    lines, wrong = verify.verified(json.dumps(of_set | {"ledger": "somewhere"}))
    assert (
        wrong == [] and f"epsilon {of_set['epsilon']:.6g}" in lines[0] and not any("Budget" in line for line in lines)
    )


def test_the_twin_claims_nothing(tmp_path):
    plan = Plan("mnist5k", 4000, float("inf"), DELTA, ())
    lines, wrong = verify.verified(json.dumps(certificate(plan, Ledger(tmp_path, "mnist5k", "seeded", 0), ())))
    assert wrong == [] and "claims no privacy at all" in lines[0]


def test_an_epsilon_that_was_struck_out_contradicts_its_budget(stated):
    _, wrong = verify.verified(json.dumps(stated | {"epsilon": "none", "releases": []}))
    assert wrong == ["epsilon is none, and its budget 10.0"]


def test_a_total_that_could_not_be_computed_is_said_in_words_and_agrees(stated):
    for words in ("none that is finite", "delta=1e-05 is finer than floating point can certify"):
        _, wrong = verify.verified(json.dumps(changed(stated, ("set_total", "epsilon"), words)))
        assert wrong == []


def test_a_delta_that_lets_a_record_be_published_is_named(tmp_path):
    mechanisms, delta = [Counts("query", 5, 4.0)], 1e-3
    lines, wrong = verify.verified(json.dumps(stated_by(tmp_path, mechanisms, delta=delta)))
    assert wrong == [] and verify.VACUOUS.format(n_records=4000) in lines


@pytest.mark.parametrize("hidden", ["\x1b[8m", "\rAGREES", "\nAGREES", "\ud800"], ids=ascii)
def test_no_text_of_the_file_reaches_the_terminal_as_more_than_text(stated, hidden, tmp_path, capsys):
    file = tmp_path / "certificate.json"
    file.write_text(json.dumps(stated | {"private": f"mnist5k{hidden}", "epsilon": 1.0}))
    assert verify.main([str(file)]) == 1
    out = capsys.readouterr().out
    assert hidden not in out and f"Claimed of mnist5k{ascii(hidden)[1:-1]}: " in out


def changed(stated, path, value):
    """A copy in which what stands at `path` is `value`, or is `value` times itself, or is gone."""
    edited = copy.deepcopy(stated)
    *way, last = path
    place = edited
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value(place[last]) if callable(value) else value
    return edited


RELEASED = ("releases", 1, "mechanism")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("epsilon",), lambda e: 0.99 * e, "epsilon is stated as .* at least: it costs more than that"),
        (("epsilon",), lambda e: 1.01 * e, "epsilon is stated as .* at most: it was computed of other releases"),
        (("epsilon_target",), 8.0, "above the budget of 8: it was not kept"),
        (("also", verify.REPLACE), lambda e: 0.99 * e, "PLD, replace one record is stated as .* at least"),
        (("also", "RDP"), 5.0, "RDP is stated as 5, and is .* at least"),
        (("set_total", "epsilon"), 5.0, "epsilon of all releases of the set is stated as 5"),
        ((*RELEASED, "scale"), 9.0, "scale of dp_sgd is 9, and by its other numbers 0.27"),
        ((*RELEASED, "noise_multiplier"), lambda n: 1.01 * n, "it was computed of other releases"),
        ((*RELEASED, "steps"), 101, "the plan has dp_sgd as it was not released"),
        ((*RELEASED, "sample_rate"), 0.11, "epsilon is stated as .* it costs more than that"),
        (("releases", 0, "mechanism", "sample_rate"), 0.5, "query counts at rate 0.5"),
        (("releases", 0, "noise"), "secret", "the noise is seeded, and another in the releases"),
        (("status",), "a release: coins of the operating system", "the noise is seeded, and the status says: a"),
        (("mechanisms",), [], "query was released as the plan does not have it"),
        (("set_total", "delta"), 0.5, "delta is 1e-05, and 0.5 of all releases of the set"),
        (("set_total", "releases"), 1, "of the set there are 1 releases in all, and 2 are listed"),
        (("releases",), [], "epsilon is stated as .*, and is 0 at most"),
    ],
)  # fmt: skip
def test_an_edited_certificate_does_not_agree(stated, path, value, said, tmp_path, capsys):
    file = tmp_path / "certificate.json"
    file.write_text(json.dumps(changed(stated, path, value)))
    assert verify.main([str(file)]) == 1
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("DOES NOT AGREE: ")
    assert re.search(said, last)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("releases",), None, "it has no list of releases"),
        (("epsilon",), None, "it has no epsilon"),
        (("delta",), 2.0, "it states delta 2.0, where a number above 0"),
        (("also",), None, "its also is missing"),
        (("mechanisms",), None, "its mechanisms is missing"),
        (("epsilon_target",), None, "it has no epsilon_target"),
        (("adjacency",), "replace one record", "this check knows 'add or remove one record' alone"),
        (("epsilon",), float("nan"), "states epsilon nan"),
        (("epsilon",), "ten", "states epsilon 'ten'"),
        ((*RELEASED, "kind"), ["Laplace"], "no kind that is known here"),
        ((*RELEASED, "steps"), 1.5, "states steps 1.5, where a whole number above 0"),
        ((*RELEASED, "steps"), 10**400, "states steps 1000"),
        ((*RELEASED, "sample_rate"), 1.5, "states sample_rate 1.5, where a number above 0 and at most 1 belongs"),
        ((*RELEASED, "noise_multiplier"), -1.0, "states noise_multiplier -1.0"),
        ((*RELEASED, "noise_multiplier"), 1e-9, "hides nothing"),
        ((*RELEASED, "divisor"), 0, "states divisor 0"),
        ((*RELEASED, "max_grad_norm"), True, "states max_grad_norm True"),
        ((*RELEASED, "scale"), None, "has no scale"),
        (("releases", 0), 7, "no kind that is known here"),
        (("delta",), 1e-18, "finer than floating point can tell"),
        (("also", verify.REPLACE), "5.0", "states PLD, replace one record '5.0', where a number from 0"),
        (("also", verify.REPLACE), 10**400, "states PLD, replace one record 1000"),
        (("also", "RDP"), float("inf"), "states RDP inf, where a number from 0"),
        (("also", "PLD, replace one record "), 10.0, "an accountant that this check does not know"),
        (("set_total",), {}, "its set_total has not delta, epsilon"),
        (("set_total", "epsilon"), "3", "its set_total states epsilon '3'"),
        (("set_total", "epsilon"), float("nan"), "its set_total states epsilon nan"),
        (("set_total", "releases"), True, "its set_total states releases True"),
        (("n_records",), True, "states n_records True"),
        (("ledger",), "somewhere", "it states epsilon_target, which this check knows nothing of"),
        (("epsilon, replace one record",), 1.0, "which this check knows nothing of"),
        ((*RELEASED, "kept secret"), True, "states kept secret, which this check knows nothing of"),
        (("mechanisms", 0, "steps"), True, "states steps True"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence_and_exit_2(stated, path, value, said, tmp_path, capsys):
    file = tmp_path / "certificate.json"
    file.write_text(json.dumps(changed(stated, path, value)))
    assert verify.main([str(file)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and said in printed.err


def test_files_that_are_no_certificate_are_one_sentence_and_exit_2(stated, tmp_path, capsys):
    text = json.dumps(stated)
    file = tmp_path / "certificate.json"
    twice = text.replace('"delta": 1e-05', '"delta": 1e-05, "delta": 1e-05', 1)
    for content, said in (
        (b"", "not JSON, or was cut short"), (text[: len(text) // 2].encode(), "not JSON, or was cut short"),
        (b"\xff\xfe\x00", "it is not text"), (b"[1]", "no list of releases"), (b"[" * 100_000, "not JSON"),
        (twice.encode(), "it states delta twice"),
    ):  # fmt: skip
        file.write_bytes(content)
        for run in (verify.main, lambda paths: command.main(["verify", *paths])):
            assert run([str(file)]) == 2
            printed = capsys.readouterr()
            assert printed.out == "" and printed.err.count("\n") == 1 and said in printed.err
    assert verify.main([str(tmp_path / "nowhere.json")]) == 2 and command.main(["verify", str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder: name the certificate.json in it" in capsys.readouterr().err


def test_the_command_says_what_the_file_says(stated, tmp_path, capsys):
    file = tmp_path / "certificate.json"
    for content, code in ((stated, 0), (changed(stated, ("epsilon",), 1.0), 1)):
        file.write_text(json.dumps(content))
        assert verify.main([str(file)]) == code
        alone = capsys.readouterr()
        assert command.main(["verify", str(file)]) == code
        ours = capsys.readouterr()
        assert alone.err == "" and ours.out + ours.err == alone.out


def test_the_file_works_where_nothing_but_numpy_can_be_imported(stated, tmp_path):
    (tmp_path / "copied.py").write_text(Path(verify.__file__).read_text())
    (tmp_path / "certificate.json").write_text(json.dumps(stated))
    site = str(Path(np.__file__).parents[1])
    code = (
        f"import sys, numpy; sys.path.remove({site!r})\n"
        "import runpy; sys.argv = ['copied.py', 'certificate.json']; sys.modules['dpsynth'] = None\n"
        "try: runpy.run_path('copied.py', run_name='__main__')\n"
        "finally: print({'torch', 'scipy', 'pandas', 'dp_accounting'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 0 and "AGREES" in done.stdout and done.stdout.endswith("set()\n"), done.stderr
