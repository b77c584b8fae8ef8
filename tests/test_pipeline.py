"""A run as an object: what it makes, in which order, when it asks, and what its artifacts are named after."""

import dataclasses
import json
import math
import pickle

import pytest
import torch

from dpsynth import device, preflight, privacy, provenance, recipes, store
from dpsynth.budget import risk
from dpsynth.data import catalog, glyphs
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy import Private
from dpsynth.steps import STAGE_OF, STAGES, STEPS, private_steps

TINY = dict(
    steps=2, sample_rate=0.01, pretrain_steps=1, encoder_steps=1, extractor_steps=1, width=8, n_synthetic=20,
)  # fmt: skip
OWN = {"dp_mepf": {"matching_steps": 2}, "dpsda": {"iterations": 2, "candidates": 4, "lookahead": 1}}


def parameters(method="dpdm", *, options=None, **changes):
    return Params(method=method, **{**TINY, **changes, "options": OWN.get(method, {}) | (options or {})})


@pytest.fixture
def tiny(root, monkeypatch):
    """An empty root, with four glyphs a class."""
    monkeypatch.setattr(glyphs, "PER_CLASS", 4)
    return root


@pytest.fixture
def asked(monkeypatch):
    """How often the records were asked."""
    times = []
    for verb in ("count", "total", "gradient"):
        ask = getattr(Private, verb)
        monkeypatch.setattr(Private, verb, lambda *given, ask=ask, **named: (times.append(1), ask(*given, **named))[1])
    return times


def artifacts(root):
    """Kinds of the artifacts that stand."""
    return sorted(path.name.rpartition("-")[0] for path in (root / "build/artifacts").glob("*-*") if path.is_dir())


def identities(run):
    return {kind: name.identity for kind, name in run.recipes().items()}


def mechanisms(run):
    """Names of the mechanisms that the ledger says were asked, in order."""
    return [entry["mechanism"]["name"] for entry in run.ledger.entries() if "open" in entry]


def other_code(monkeypatch):
    """Every definition of the package is another."""
    monkeypatch.setattr(recipes, "work_digest", lambda function: f"{function.__qualname__}, edited")


def test_the_steps_are_in_order_and_each_is_made_of_earlier_ones():
    kinds = [step.kind for step in STEPS]
    assert kinds == [
        "encoder", "prior", "release", "corpus", "base", "probe", "synthesiser", "samples", "floor", "pretrained",
        "real", "extractor", "measurement",
    ]  # fmt: skip
    assert STAGES == ("query", "selection", "pretrain", "finetune", "evaluate")
    assert [STAGES.index(step.stage) for step in STEPS] == sorted(STAGES.index(step.stage) for step in STEPS)
    for number, step in enumerate(STEPS):
        before = {*step.inputs, *step.after, *({step.model} if step.model else ())}
        assert before - {"public", "private", "glyphs", "held_out"} <= set(kinds[:number])
        assert bool(step.column) != bool(step.work) and (step.private or not (step.after or step.twin))
    assert STAGE_OF["twin"] == "finetune"
    assert [step.column for step in STEPS if step.private] == ["prior", "release", "probe", "learn"]


@pytest.mark.parametrize("method", METHODS)
def test_artifacts_are_where_their_names_say_and_are_made_once(tiny_root, method, monkeypatch):
    run = Run(parameters(method))
    names = run.recipes()
    ordered = [step.kind for step in STEPS if step.kind in names]
    assert list(names) == ordered and ordered[-1] == "synthesiser"
    assert not names["synthesiser"].path.exists()
    made = {kind: run.artifact(kind) for kind in reversed(names)}  # asked for from the end, made from the start
    for kind, name in names.items():
        artifact = made[kind].artifact
        assert (artifact.path, artifact.digest, artifact.lineage) == (name.path, name.identity, name.lineage)
        assert name.path.name == f"{kind}-{name.identity[:16]}" and made[kind] is run.artifact(kind)
    assert all(run.artifact(step.kind) is None for step in STEPS if step.stage != "evaluate" and step.kind not in names)

    def refuse(*given):
        raise AssertionError("it was made already")

    monkeypatch.setattr(store, "_make", refuse)
    again = Run(parameters(method))
    assert {kind: again.artifact(kind).artifact.digest for kind in names} == identities(run)
    assert again.plan == run.plan and again.certificate == run.certificate


@pytest.mark.parametrize("method", ["rpgen", "dp_sapf", "dp_feta", "dpsda"])
def test_asking_for_names_asks_nothing_and_makes_nothing_but_the_plan(tiny, asked, method):
    run = Run(parameters(method, options={"prior": "noisy"}, noise="secret"))
    assert list(run.recipes())[-1] == "synthesiser" and run.recipe("samples") is not None
    run.check()
    assert set(artifacts(tiny)) <= {"plan", "noise"}
    assert not asked and run.ledger.entries() == [] and not run.ledger.path.exists()


def test_the_records_are_opened_once_or_are_those_that_were_given(tiny, monkeypatch):
    opened, private = [], catalog.private
    monkeypatch.setattr(catalog, "private", lambda *given, **named: (opened.append(given), private(*given, **named))[1])
    run = Run(parameters())
    run.samples
    assert opened == [("mnist5k", "train"), ("mnist5k", "test")]  # the second, to know that results can be measured
    given = Run(parameters(), run.private)
    given.recipes()
    assert given.private is run.private and len(opened) == 2


def test_a_run_is_checked_once_before_its_first_question_and_not_for_public_work(tiny, monkeypatch, asked):
    checked, check = [], Run.check
    monkeypatch.setattr(Run, "check", lambda run: (checked.append(len(asked)), check(run)))
    run = Run(parameters("privimage_d", options={"prior": "noisy"}))
    run.encoder
    assert checked == []
    run.synthesiser
    assert checked == [0] and len(asked) == 1 + 1 + 2
    assert mechanisms(run) == ["label_histogram", "semantic_histogram", "dp_sgd"]
    Run(run.params).synthesiser  # it stands: nothing is asked
    assert checked == [0]


def test_what_a_check_refuses_has_asked_nothing(tiny, monkeypatch, asked):
    monkeypatch.setattr(preflight, "ROOM", 2**62)
    run = Run(parameters())
    with pytest.raises(ValueError, match="MiB left"):
        run.synthesiser
    assert not asked and not run.ledger.path.exists()


def test_the_key_of_a_release_is_gone_when_it_stands(tiny):
    run = Run(parameters("privimage_d", noise="secret"))
    run.release
    assert mechanisms(run) == ["semantic_histogram"] and not list((tiny / "ledger/keys").iterdir())
    assert [("open" in entry, "close" in entry) for entry in run.ledger.entries()] == [(True, False), (False, True)]
    run.synthesiser
    assert not list((tiny / "ledger/keys").iterdir()) and len(run.ledger.entries()) == 4


def test_a_learner_waits_for_the_prior_and_names_it(tiny):
    run = Run(parameters(options={"prior": "noisy"}))
    synthesiser = run.synthesiser
    assert mechanisms(run) == ["label_histogram", "dp_sgd"]
    assert run.recipe("prior").identity in synthesiser.artifact.lineage
    assert "prior" not in run.recipe("synthesiser").inputs


def test_the_twin_asks_the_same_before_and_learns_without_noise(tiny, asked):
    run, private = (Run(parameters("privimage_d", epsilon=epsilon)) for epsilon in (math.inf, 10.0))
    names, other = run.recipes(), identities(private)
    assert [name.kind for name in names.values()] == ["encoder", "release", "corpus", "base", "twin"]
    assert [kind for kind, name in names.items() if "permit" in name.inputs] == ["release"]
    assert {kind for kind, identity in identities(run).items() if identity == other[kind]} == set(names) - {
        "synthesiser"
    }
    assert [m.name for m in run.plan.mechanisms] == ["semantic_histogram"] and not run.plan.is_private
    run.samples
    assert len(asked) == 1 and mechanisms(run) == ["semantic_histogram"] and run.row_name == "nonprivate"
    assert "twin" in artifacts(tiny) and "synthesiser" not in artifacts(tiny)


def test_a_twin_of_a_method_that_asks_before_it_learns_has_no_probe_and_no_prior(tiny):
    with pytest.raises(ValueError, match="no non-private twin"):
        Run(parameters("dp_sapf", epsilon=math.inf))
    assert list(Run(parameters("dp_ldm", epsilon=math.inf)).recipes()) == ["corpus", "base", "synthesiser"]


def test_a_certificate_prints(tiny):
    run = Run(parameters("privimage_d"))
    lines = str(run.certificate).splitlines()
    spent = run.certificate["epsilon"]
    assert lines[0].startswith(f"mnist5k: epsilon {spent} at delta 1e-05, by ") and 9.99 <= spent <= 10
    assert lines[1] == f"neighbours: {privacy.accounting.ADJACENCY}" and lines[3].startswith("a reproduction")
    assert (
        lines[4:] == risk.words(run.certificate)
        and len(lines) > 5
        and lines[2].count(":") == len(run.certificate["also"]) > 0
    )
    assert json.loads(json.dumps(run.certificate)) == run.certificate  # plain data
    twin = str(Run(parameters(epsilon=math.inf)).certificate)
    assert twin.startswith("mnist5k: epsilon none") and len(twin.splitlines()) == 4


def test_the_plan_holds_each_question_of_the_method_in_order(tiny):
    for method in METHODS:
        run = Run(parameters(method))
        assert [mechanism.name for mechanism in run.plan.mechanisms] == [m.name for m in run.questions]
        assert [m.name for m in run.questions] == [step.name for step in private_steps(run.row).values()]
        *before, learner = run.questions
        assert run.plan.mechanisms[:-1] == tuple(before)
        noise = run.plan.mechanisms[-1].noise_multiplier
        assert run.plan.mechanisms[-1] == dataclasses.replace(learner, noise_multiplier=noise)
        assert 9.9 <= run.plan.spent(run.plan.mechanisms[-1].steps) <= 10


def test_an_update_renames_nothing_under_secret_noise_and_what_stands_is_used_with_a_word(
    tiny, monkeypatch, asked, capfd
):
    run = Run(parameters("privimage_d", noise="secret"))
    weights, names, entries = run.synthesiser.weights, identities(run), run.ledger.entries()
    assert "other code" not in capfd.readouterr().err
    asked.clear()
    other_code(monkeypatch)
    later = Run(run.params)
    assert identities(later) == names
    assert all(torch.equal(weights[name], w) for name, w in later.synthesiser.weights.items())
    said = capfd.readouterr().err
    for kind in ("release", "synthesiser"):
        name = later.recipe(kind).path.name
        assert f"{name} was made by other code (commit {provenance.commit()}) and is used as it" in said
    assert "plan-" not in said and not asked and later.ledger.entries() == entries


def test_what_is_made_after_an_update_is_made_of_what_stood_before(tiny, monkeypatch, asked):
    run = Run(parameters("privimage_d", noise="secret"))
    run.release
    other_code(monkeypatch)
    later = Run(run.params)
    assert run.release.artifact.digest in later.synthesiser.artifact.lineage
    assert len(asked) == 1 + 2 and mechanisms(later) == ["semantic_histogram", "dp_sgd"]


def test_an_update_renames_all_that_it_makes_under_seeded_noise(tiny, monkeypatch):
    run = Run(parameters("privimage_d"))
    names, plan = identities(run), run.plan
    run.release
    other_code(monkeypatch)
    later = Run(run.params)
    assert all(identities(later)[kind] != identity for kind, identity in names.items())
    assert later.plan == plan and artifacts(tiny).count("plan") == 1  # which lasts, in either case
    later.release
    assert artifacts(tiny).count("release") == 2


def test_a_version_that_is_raised_renames_what_lasts_and_all_that_is_made_of_it(tiny, monkeypatch):
    run, work = Run(parameters("privimage_d", noise="secret")), METHODS["privimage_d"].release.release
    names = identities(run)
    monkeypatch.setattr(work, "version", work.version + 1)
    later = identities(Run(run.params))
    changed = {kind for kind in names if names[kind] != later[kind]}
    assert changed == {"release", "corpus", "base", "synthesiser"}


def test_the_machine_is_part_of_seeded_names_and_not_of_lasting_ones(tiny, monkeypatch):
    runs = [parameters("privimage_d", noise=noise) for noise in ("seeded", "secret")]
    here = [identities(Run(p)) for p in runs]
    for kind, precision in (("cuda", device.precision()), (device.kind(), torch.float64)):
        with monkeypatch.context() as patch:
            assert (device.kind(), device.precision()) != (kind, precision)
            patch.setattr(device, "kind", lambda kind=kind: kind)
            patch.setattr(device, "precision", lambda precision=precision: precision)
            seeded, secret = (identities(Run(p)) for p in runs)
        assert all(seeded[kind] != here[0][kind] for kind in here[0]) and secret == here[1]


def test_a_question_that_an_older_version_asked_is_asked_again_at_the_users_word_alone(tiny, monkeypatch, asked):
    p = parameters(noise="secret")
    with monkeypatch.context() as past:
        for module in (recipes, store):
            past.setattr(module, "FORMAT", 1)
        older = Run(p).synthesiser.artifact
    content = {file.name: file.read_bytes() for file in older.path.iterdir()}
    entries = Run(p).ledger.entries()
    asked.clear()
    run = Run(p)
    assert run.recipe("synthesiser").path != older.path
    for attempt in (run.check, lambda: run.synthesiser, lambda: run.samples):
        said = (
            r"has 1 releases of dp_sgd, asked for by other settings, another seed or an older dpsynth; and 1 more .* "
        )
        with pytest.raises(privacy.BudgetError, match=said + "raise it to 2 if that is what you want$"):
            attempt()
    assert not asked and Run(p).ledger.entries() == entries
    assert content == {file.name: file.read_bytes() for file in older.path.iterdir()}

    again = Run(p.replace(releases=2))
    assert identities(again) == identities(run)
    assert again.synthesiser.artifact.path != older.path and older.path.exists()
    assert len(asked) == 2 and mechanisms(again) == ["dp_sgd", "dp_sgd"]
    assert again.ledger.epsilon(1e-5) > 1.05 * again.certificate["epsilon"]
    Run(p).samples  # from now on it is known
    assert len(asked) == 2


def test_an_artifact_that_is_gone_is_not_asked_for_anew_unless_it_was_said(tiny, asked):
    """Under its own name: the ledger says that it was drawn, and a further draw would pass the run's budget."""
    run = Run(parameters(noise="secret"))
    run.synthesiser.artifact.path.rename(tiny / "elsewhere")
    with pytest.raises(privacy.BudgetError, match="it was drawn before, and its coins are gone"):
        Run(run.params).synthesiser
    assert len(asked) == 2


def test_the_same_question_of_another_run_is_asked_at_the_users_word_alone(tiny):
    first, second = (Run(parameters(noise="secret", seed=seed, releases=seed + 1)) for seed in (0, 1))
    first.synthesiser
    second.synthesiser
    assert mechanisms(second) == ["dp_sgd", "dp_sgd"]


def test_wherever_the_process_goes_a_run_has_its_projects_ledger(tiny, monkeypatch):
    monkeypatch.delenv("DPSYNTH_ROOT")
    for name in ("notebooks", "params"):
        (tiny / name).mkdir(exist_ok=True)
    (tiny / "notebooks" / "01_semantic_query.py").touch()
    (tiny / "params" / "scales").mkdir(exist_ok=True)
    monkeypatch.chdir(tiny)
    run = Run(parameters())
    run.check()
    monkeypatch.chdir("notebooks")
    run.synthesiser
    assert (tiny / "ledger" / "mnist5k.jsonl").exists() and not (tiny / "notebooks" / "ledger").exists()


def test_a_run_takes_no_records_of_another_set(tiny):
    other = Run(parameters(private="mnist5k_choosing")).private
    with pytest.raises(ValueError, match="the parameters name mnist5k, and the records are of mnist5k_choosing"):
        Run(parameters(), other)
    with pytest.raises(TypeError, match="are closed: they cannot be pickled"):
        pickle.dumps(Run(parameters(), Run(parameters()).private))


def on(patch, machine):
    """This machine is, by name, another one: "cuda torch.bfloat16"."""
    patch.setattr(device, "machine", lambda: machine)


HERE, THERE = "cpu torch.float32", "cuda torch.bfloat16"


def folders(run):
    """Of what a run makes, by kind."""
    return {kind: recipe.path.name for kind, recipe in (run.recipes() | {"samples": run.recipe("samples")}).items()}


def test_what_another_machine_made_is_used_and_what_is_made_of_it_is_named_by_it(tiny, monkeypatch, capsys):
    p = parameters()
    on(monkeypatch, THERE)
    run = Run(p)
    made = {kind: recipe.path.name for kind, recipe in run.recipes().items() if run.artifact(kind)}
    on(monkeypatch, HERE)
    (there, here), before = (Run(p) for _ in range(2)), set(artifacts(tiny))
    assert {kind: folders(there)[kind] for kind in made} == made
    capsys.readouterr()
    assert there.samples.artifact.lineage[-2] == run.synthesiser.artifact.digest
    said = capsys.readouterr().err
    assert f"{made['synthesiser']} was made on another machine ({THERE}) and is used as it is\n" in said
    assert set(artifacts(tiny)) - before == {"samples"} and here.recipe("samples").machine == HERE
    on(monkeypatch, THERE)
    assert folders(Run(p))["samples"] == here.recipe("samples").path.name


def test_a_run_is_taken_from_the_machine_that_has_its_synthesiser(tiny, monkeypatch):
    p = parameters()
    on(monkeypatch, HERE)
    here = Run(p).base.artifact.path.name
    alone = folders(Run(p))
    on(monkeypatch, THERE)
    monkeypatch.setattr(device, "machines", lambda: (THERE,))  # as if DPSYNTH_DEVICE and DPSYNTH_PRECISION were set
    there = Run(p)
    made = {kind: there.artifact(kind).artifact.path.name for kind in there.recipes()}
    monkeypatch.undo()
    monkeypatch.setenv("DPSYNTH_ROOT", str(tiny))
    on(monkeypatch, HERE)
    assert made["base"] != here and alone["base"] == here
    run = Run(p)
    assert {kind: folders(run)[kind] for kind in made} == made and run.base.artifact.path.name == made["base"]


def test_where_equal_bits_are_asked_for_another_machines_are_refused(tiny, monkeypatch):
    p = parameters()
    on(monkeypatch, THERE)
    path = Run(p).base.artifact.path
    on(monkeypatch, HERE)
    monkeypatch.setenv("DPSYNTH_EQUAL_BITS", "1")
    with pytest.raises(
        ValueError, match=r"was made on another kind of machine .cuda torch.bfloat16; this is cpu"
    ) as error:
        Run(p).check()
    assert str(path) in str(error.value) and "DPSYNTH_EQUAL_BITS=1" in str(error.value)
    path.rename(path.with_name("away"))
    assert Run(p).base.artifact.path != path
    path.with_name("away").rename(path)
    assert Run(p).recipe("base").machine == HERE


@pytest.mark.parametrize(("name", "value"), [("DPSYNTH_DEVICE", "cpu"), ("DPSYNTH_PRECISION", "float32")])
def test_a_machine_that_is_asked_for_by_name_is_the_one_that_is_used(tiny, monkeypatch, name, value):
    p = parameters()
    with monkeypatch.context() as patch:
        on(patch, THERE)
        base = Run(p).base
    monkeypatch.setenv(name, value)
    assert Run(p).recipe("base").path != base.artifact.path
    monkeypatch.delenv(name)
    assert Run(p).recipe("base").path == base.artifact.path


def test_what_another_machine_made_and_is_gone_is_not_made_here_under_its_name(tiny, monkeypatch):
    p = parameters()
    on(monkeypatch, THERE)
    path = Run(p).base.artifact.path
    on(monkeypatch, HERE)
    run = Run(p)
    assert run.recipe("base").path == path
    path.rename(path.with_name("gone"))
    with pytest.raises(
        ValueError, match=r"was made on another machine .cuda torch.bfloat16., and is gone; the same command"
    ):
        run.base
    assert Run(p).base.artifact.path != path


def test_a_lasting_name_is_the_same_on_every_machine_and_its_seal_is_not(tiny, monkeypatch):
    p, recipes_of = parameters(noise="secret"), []
    for machine in (HERE, THERE):
        on(monkeypatch, machine)
        recipes_of.append(Run(p).recipe("synthesiser"))
    here, there = recipes_of
    assert here.path == there.path and here.standing() == there.standing() == [] and here.made_by != there.made_by
