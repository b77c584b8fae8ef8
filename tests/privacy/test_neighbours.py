"""Neighbours of whole stages: each question that a method of the table asks is asked again, as the stage put it to the
verb, of small sets with one record more or one replaced, all in one micro-batch."""

import dataclasses
import inspect
import itertools
import typing

import pytest
import torch
import worlds

from dpsynth.methods import METHODS, row_of
from dpsynth.pipeline import Run
from dpsynth.privacy import Charge, Coins, Counts, Ledger, Plan, Private, mechanisms, private
from dpsynth.steps import private_steps

VERBS = {"count": Private.count, "total": Private.total, "gradient": Private.gradient}
ALIKE = 4  # records of each label; of each label one more, unlike all others, comes beside them
ROWS = 16  # of a micro-batch: more than all of them


# What the settings say of each mechanism, by its name in a plan: all but the noise, which is calibrated.
STATED = {
    "dp_sgd": lambda s: {
        "sample_rate": s["sample_rate"], "steps": s["steps"], "max_grad_norm": s["max_grad_norm"],
        "noise_multiplicity": s["noise_multiplicity"], "divisor": s["sample_rate"] * s["n_records"],
    },
    "mean_embedding": lambda s: {
        "bound": s["moments"] ** 0.5, "divisor": s["n_records"], "steps": 1, "sample_rate": 1.0,
    },
    "nearest_votes": lambda s: {"votes": 1, "steps": s["iterations"]},
    "semantic_histogram": lambda s: {"votes": s["votes"], "steps": 1},
    "label_histogram": lambda s: {"votes": 1, "steps": 1},
    "central_images": lambda s: {
        "mode": {"votes": 3 * 8 * 8, "steps": 1}, "mean": {"bound": (3 * 8 * 8) ** 0.5, "divisor": s["n_records"] / 2},
    }[s["centre"]],
    "saliency": lambda s: {
        "votes": {"votes": s["saliency_votes"]},
        "sq_norm": {"bound": 1.0, "divisor": s["n_records"], "sample_rate": 1.0},
    }[s["score"]],
}  # fmt: skip


# Whether a record's answer goes to the row of its own label, or to the one row.
BY_LABEL = {
    "mean_embedding": lambda s: True, "nearest_votes": lambda s: True, "label_histogram": lambda s: True,
    "central_images": lambda s: True, "saliency": lambda s: False, "dp_sgd": lambda s: None,
    "semantic_histogram": lambda s: s["mode"] == "per_class",
}  # fmt: skip


class OwnDraws(Coins):
    """Coins in which each of the chosen records keeps its own draws, wherever it stands among how many others."""

    def __init__(self, chosen):
        super().__init__(bytes(range(32)))
        self._chosen = chosen

    def words(self, address, n):
        own = (*address[:-1], self._chosen[address[-1]]) if address[0] == "draw" else address
        return super().words(own, n)


def records():
    """Four of each label, and last of each label one that is as unlike them as can be."""
    draws, n = torch.Generator().manual_seed(0), len(worlds.CLASSES)
    images = torch.randint(90, 110, ((ALIKE + 1) * n, 3, worlds.SIZE, worlds.SIZE), generator=draws, dtype=torch.uint8)
    images[-2, :, ::2], images[-2, :, 1::2] = 255, 0
    images[-1], images[0] = 255, 0
    return images, torch.arange(len(images)) % n


IMAGES, LABELS = records()
ALL = list(range(len(LABELS)))
USUAL, STRANGE = ALL[: -len(worlds.CLASSES)], ALL[-len(worlds.CLASSES) :]


def answers(verb, mechanism, arguments):
    """A function of indices of records: what the verb answers of these, all but without noise, times its divisor."""
    quiet = {"noise_multiplier": 1e-3 if isinstance(mechanism, Counts) else 1e-12}
    rate = {"sample_rate": 1.0} if "sample_rate" in vars(mechanism) else {}
    quieted = dataclasses.replace(mechanism, **quiet, **rate)
    divisor = getattr(mechanism, "divisor", 1.0)

    def answer(chosen):
        private, coins = worlds.of(IMAGES[chosen], LABELS[chosen]), OwnDraws(chosen)
        plan = Plan("folder:nowhere", worlds.N, 3.0, 1e-3, (quieted,))
        charge = Charge(quieted, plan, "neighbours", coins, private.seal(coins).hex())
        found = VERBS[verb](private, **{**arguments, "charge": charge})
        if verb == "gradient":
            model, bound = arguments["model"], mechanism.max_grad_norm
            found = torch.cat([parameter.grad.double().flatten() for parameter in model.parameters])[None] * bound
        return found.double() * divisor

    return answer


def check(verb, mechanism, arguments):
    """One record more or another one moves the answer by at most the mechanism's sensitivity, in its own row; and the
    answer of all is the sum of each one's own."""
    answer = answers(verb, mechanism, arguments)
    # The same public fakes are in each answer, and its float32 weighs as much as they do.
    nobody, slack = answer([]), 1e-5 * mechanism.sensitivity * len(ALL)
    alone = [answer([record]) - nobody for record in ALL]
    for record, said in zip(ALL, alone, strict=True):
        assert said.norm() <= mechanism.sensitivity * (1 + 1e-6), f"record {record} alone"
        if isinstance(mechanism, Counts):
            assert said.abs().sum() == mechanism.votes and said.max() == 1
        if len(said) > 1:
            assert said.any(1).nonzero().flatten().tolist() in ([], [int(LABELS[record])])
    assert sum(one.norm() for one in alone) > 0
    usual = answer(USUAL)
    torch.testing.assert_close(answer(ALL) - nobody, sum(alone), rtol=1e-4, atol=slack)
    for record in STRANGE:  # one of each label
        more, swapped = answer([*USUAL, record]), answer([record, *USUAL[1:]])
        assert (more - usual).norm() <= mechanism.sensitivity + slack
        torch.testing.assert_close(more - usual, alone[record], rtol=1e-4, atol=slack)
        assert (swapped - usual).norm() <= mechanism.sensitivity_replace + slack


@pytest.fixture
def asked(monkeypatch):
    """Every question that is put to a verb is put to neighbours first; a list of (charge, step, whether by label)."""
    seen = []

    def watched(verb):
        def ask(self, *args, **named):
            given = inspect.signature(VERBS[verb]).bind(self, *args, **named)
            given.apply_defaults()
            arguments = {name: value for name, value in given.arguments.items() if name != "self"}
            if self.name == "folder:nowhere":  # no toy set, on which a stage takes times
                charge = arguments["charge"]
                seen.append((charge, arguments["step"], arguments.get("by_label")))
                wide = {"microbatch": ROWS * charge.mechanism.noise_multiplicity} if verb == "gradient" else {}
                check(verb, charge.mechanism, arguments | wide)
            return VERBS[verb](self, *args, **named)

        return ask

    monkeypatch.setattr(private, "AT_ONCE", ROWS)
    for verb in VERBS:
        monkeypatch.setattr(Private, verb, watched(verb))
    return seen


@pytest.fixture
def charged(monkeypatch):
    """What was charged, in order: (release, lineage)."""
    seen, charge = [], Ledger.charge

    def noted(self, plan, name, release, lineage, *others, **more):
        seen.append((release, tuple(lineage)))
        return charge(self, plan, name, release, lineage, *others, **more)

    monkeypatch.setattr(Ledger, "charge", noted)
    return seen


@pytest.mark.parametrize(("method", "options"), worlds.CASES, ids=worlds.NAMES)
def test_one_record_more_or_another_moves_each_question_of_a_method_by_at_most_what_its_mechanism_states(
    method, options, asked, charged, rendered, tmp_path, monkeypatch
):
    worlds.enter(tmp_path / "root", worlds.more(0), rendered, monkeypatch)
    run = Run(worlds.parameters(method, options, sample_rate=1.0))
    run.synthesiser
    # What was stated is what was used: each step once, under the mechanism and the coins of its ledger entry.
    plan, entries = run.plan, run.ledger.entries()
    opened = {(e["open"], e["coins"]): e["mechanism"] for e in entries if "open" in e}
    assert len(opened) == len(plan.mechanisms) == len({release for release, _ in opened})
    uses = [(charge.release, charge.coins.fingerprint, step) for charge, step, _ in asked]
    assert len(set(uses)) == len(uses) == sum(mechanism.steps for mechanism in plan.mechanisms)
    for charge, _, by_label in asked:
        assert by_label == BY_LABEL[charge.mechanism.name](run.settings)
        assert opened[charge.release, charge.coins.fingerprint] == mechanisms.statement(charge.mechanism)
        assert charge.mechanism in plan.mechanisms and charge.plan.mechanisms == plan.mechanisms
    for mechanism in plan.mechanisms:
        stated = STATED[mechanism.name](run.settings)
        assert {name: getattr(mechanism, name) for name in stated} == pytest.approx(stated)
        assert mechanism.noise_multiplier > 0.3  # a rule or a calibration, and no default that was passed on
    *before, (_, lineage) = charged  # the last is the learner's: all that was released before counts with it
    assert {release for release, _ in before} <= set(lineage)


def choices(model):
    """Options of every combination of the choices that a method's model names: flags and lists of words."""
    types = {name: field.annotation for name, field in model.model_fields.items()}
    named = {name: (True, False) if of is bool else typing.get_args(of) for name, of in types.items()}
    named = {name: values for name, values in named.items() if values and {*map(type, values)} <= {bool, str}}
    for values in itertools.product(*named.values()):
        yield model(**dict(zip(named, values, strict=True)))


def releases(rows):
    """What the private steps of these rows ask."""
    return {step.release for row in rows for step in private_steps(row).values()}


def test_every_private_step_of_the_table_and_of_its_variants_is_asked_in_a_case():
    table = releases(row.having(options) for row in METHODS.values() for options in choices(row.options))
    cases = releases(row_of(worlds.parameters(method, options)) for method, options in worlds.CASES)
    assert table == cases and len(table) >= 9
    assert {method for method, _ in worlds.CASES} == set(METHODS)


@pytest.mark.parametrize(
    ("method", "option", "name"),
    [
        ("rpgen", "query_noise", "semantic_histogram"),
        ("dp_feta", "central_noise", "central_images"),
        ("dp_sapf", "saliency_noise", "saliency"),
    ],
)
def test_the_noise_that_an_option_names_is_the_plans_and_without_it_the_rules(
    method, option, name, rendered, tmp_path, monkeypatch
):
    worlds.enter(tmp_path / "root", worlds.more(0), rendered, monkeypatch)
    for noise in (None, 9.0, 25.0):
        p = worlds.parameters(method, {option: noise}, sample_rate=1.0)
        found = Run(p).plan.mechanism(name).noise_multiplier
        assert found == noise if noise else found >= 4
