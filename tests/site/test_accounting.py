"""The explorer's arithmetic, in JavaScript, against the package's accountants."""

import math

import pytest

from dpsynth.budget import certificate
from dpsynth.privacy import Counts, Gradients, accounting

ACCOUNTING = ["accounting.js", "renyi.js"]
EXPLORER = ["charts.js", "accounting.js", "renyi.js", "explorer.js"]
COST = "data.map(([s, delta, replace]) => accounting.epsilon(s, delta, replace))"
# noise, rate, steps, noise of the query (or none), votes, delta: over the field's range.
SETTINGS = [
    (noise, rate, steps, query, votes, delta)
    for noise, rate, steps in (
        (0.5, 0.001, 1), (0.5, 0.001, 1000), (0.5, 0.01, 100), (0.5, 0.1, 10), (0.5, 1.0, 1), (0.7, 0.001, 10_000),
        (1.0, 0.001, 50_000), (1.0, 0.01, 1000), (1.0, 0.1, 100), (1.0, 1.0, 5), (2.0, 0.01, 10_000), (2.0, 0.3, 150),
        (5.0, 0.05, 3000), (5.0, 1.0, 50), (16.0, 0.3, 150), (20.0, 1.0, 1000), (50.0, 0.1, 50_000), (100.0, 0.5, 2000),
        (500.0, 0.25, 200), (500.0, 1.0, 50_000),
    )
    for query, votes, delta in (
        ((None, 1, 1e-5), (4.0, 5, 1e-3)) if steps > 1000 else ((None, 1, 1e-9), (12.0, 1, 1e-5), (0.8, 3, 1e-6))
    )
]  # fmt: skip


def setting(noise, rate, steps, query, votes):
    return {"noise": noise, "rate": rate, "steps": steps, "queryNoise": query, "votes": votes}


def mechanisms(noise, rate, steps, query, votes):
    asked = [] if query is None else [Counts("query", votes, query)]
    return [*asked, Gradients("dp_sgd", rate, steps, noise, 1.0, 1, 1.0)]


def near(value):
    """Within 1 percent or 0.005, whichever is more."""
    return pytest.approx(value, rel=0.01, abs=0.005)


def test_there_are_forty_settings_over_the_range_of_the_field():
    noise, rate, steps, _, _, delta = zip(*SETTINGS, strict=True)
    assert len(SETTINGS) >= 40
    assert (min(noise), max(noise)) == (0.5, 500) and (min(rate), max(rate)) == (0.001, 1)
    assert (min(steps), max(steps)) == (1, 50_000) and (min(delta), max(delta)) == (1e-9, 1e-3)


def test_epsilon_is_the_packages_for_adding_or_removing_a_record(asked):
    ours = asked(ACCOUNTING, COST, [[setting(*where), delta, False] for *where, delta in SETTINGS])
    assert ours == [near(accounting.epsilon(mechanisms(*where), delta)) for *where, delta in SETTINGS]


def test_epsilon_is_the_packages_for_replacing_a_record(asked):
    some = SETTINGS[::4]
    ours = asked(ACCOUNTING, COST, [[setting(*where), delta, True] for *where, delta in some])
    assert ours == [near(accounting.epsilon(mechanisms(*where), delta, replace=True)) for *where, delta in some]


def test_renyi_gives_the_packages_epsilons_by_both_conversions(asked, monkeypatch):
    monkeypatch.setattr(certificate, "_prv", lambda *_: math.nan)  # which takes its time, and is not asked for
    some = SETTINGS[::2]
    ours = asked(ACCOUNTING, "data.map(([s, delta]) => renyi.epsilons(s, delta))",
                 [[setting(*where), delta] for *where, delta in some])  # fmt: skip
    packages = [certificate.cross_checks(mechanisms(*where), delta) for *where, delta in some]
    assert [each["modern"] for each in ours] == [near(each["RDP"]) for each in packages]
    assert [each["classic"] for each in ours] == [near(each["RDP, classic"]) for each in packages]


@pytest.mark.parametrize(
    ("noise", "printed", "replaced", "renyi"),
    [(13.821, "1.000", "2.134", "1.094"), (5.240, "3.000", "6.48", "3.261"), (2.001, "10.0", "21.1", "10.83")],
)
def test_the_published_examples_come_out_to_the_printed_digits(asked, noise, printed, replaced, renyi):
    """The same values as of `tests/budget/test_certificate.py`, as they print there."""
    of = setting(noise, 0.3, 150, None, 1)
    values = asked(ACCOUNTING, "[accounting.epsilon(data, 1e-5), accounting.epsilon(data, 1e-5, true), "
                   "renyi.epsilons(data, 1e-5).modern]", of)  # fmt: skip
    assert values == [pytest.approx(float(text), abs=0.51 * 10 ** -len(text.partition(".")[2]))
                      for text in (printed, replaced, renyi)]  # fmt: skip


def test_the_query_alone_costs_what_the_packages_example_says(asked):
    alone = {"noise": 1.0, "rate": 0.1, "steps": 0, "queryNoise": 4.0, "votes": 5}
    assert round(asked(ACCOUNTING, "accounting.epsilon(data, 1e-5)", alone), 2) == 0.93


def test_the_noise_that_is_found_spends_the_epsilon_that_was_given(asked):
    where = setting(1.0, 0.1, 100, 4.0, 5)
    noise = asked(ACCOUNTING, "accounting.calibrated(data, 10, 1e-5)", where)
    assert accounting.epsilon(mechanisms(noise, 0.1, 100, 4.0, 5), 1e-5) == pytest.approx(10, rel=1e-3)


def test_the_attackers_success_is_that_of_the_gaussian_where_it_has_a_closed_form(asked):
    """One release at rate 1: total variation 2 Phi(1 / (2 noise)) - 1."""
    for noise in (0.5, 1.0, 10.0):
        found = asked(ACCOUNTING, "accounting.attack(data)", setting(noise, 1.0, 1, None, 1))
        assert found == pytest.approx(0.5 + 0.5 * math.erf(1 / (2 * noise * math.sqrt(2))), abs=1e-4)


def test_adding_and_removing_are_equally_far_apart(asked):
    """Total variation knows no direction: what is laid out for the one checks the other, which costs less epsilon."""
    both = """data.map((s) => ["remove", "add"].map((neighbours) =>
        accounting.deltaAt(accounting.composed(s, neighbours), 0)))"""
    for one, other in asked(ACCOUNTING, both, [setting(*where) for *where, _ in SETTINGS[::3]]):
        assert one == pytest.approx(other, rel=5e-3, abs=1e-6)


def test_no_attack_beats_the_bound_of_epsilon_and_delta(asked):
    found = asked(EXPLORER, "data.map(([s, delta]) => explorer.answer(s, delta))",
                  [[setting(*where), delta] for *where, delta in SETTINGS])  # fmt: skip
    assert all(0.5 <= each["attack"] <= each["bound"] + 1e-9 <= 1 + 1e-9 for each in found)
    assert all(each["attackReplaced"] <= each["boundReplaced"] + 1e-9 for each in found)
    assert all(math.isfinite(value) for each in found for value in each.values())


@pytest.mark.parametrize("steps", [100, 100_000])
def test_an_answer_with_the_noise_it_needs_comes_within_a_blink(asked, steps):
    """A blink is 150 ms, in the processor's time: the machine may be busy."""
    timed = """(() => {
        const clock = () => typeof process === "undefined" ? performance.now() : process.cpuUsage().user / 1000;
        const once = () => explorer.answer({ ...data, noise: accounting.calibrated(data, 3, 1e-5) }, 1e-5);
        once();
        const start = clock();
        once();
        return clock() - start;
    })()"""
    assert asked(EXPLORER, timed, setting(1.0, 0.01, steps, 4.0, 5)) < 150


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("rate", "1.5", "is a probability: write at most 1"), ("rate", "", "is empty"), ("rate", "0", "taken between"),
        ("noise", "-1", "cannot be negative"), ("noise", "much", "not a number"), ("noise", "0x10", "not a number"),
        ("delta", "0", "must be above 0"), ("delta", "1", "taken between"), ("steps", "2.5", "a whole number"),
        ("steps", "1e9", "taken between"), ("votes", "0", "taken between"), ("epsilon", "Infinity", "not a number"),
        ("queryNoise", "NaN", "not a number"), ("queryNoise", "1e999", "not a number"),
    ],
)  # fmt: skip
def test_an_impossible_value_is_refused_in_words(asked, field, text, words):
    read = asked(EXPLORER, "explorer.read(data[0], data[1])", [field, text])
    assert words in read["error"] and "value" not in read


def test_what_can_be_read_is_the_number_that_was_typed(asked):
    texts = [["rate", " 0,1 "], ["steps", "1e3"], ["delta", "1E-5"], ["queryNoise", ""]]
    read = asked(EXPLORER, "data.map(([field, text]) => explorer.read(field, text))", texts)
    assert read == [{"value": 0.1}, {"value": 1000}, {"value": 1e-5}, {"value": None}]


def test_each_corner_of_what_the_fields_take_has_finite_answers(asked):
    corners = """["noise", "rate", "steps", "delta", "queryNoise", "votes"].reduce((all, name) => all.flatMap((one) =>
        ["least", "most"].map((end) => ({ ...one, [name]: explorer.FIELDS[name][end] }))), [{}])
        .map(({ delta, ...s }) => Object.values(explorer.answer(s, delta)))"""
    assert all(value is not None and value >= 0 for each in asked(EXPLORER, corners) for value in each)
