"""Seeded coins in whole runs: one seed is one noise, for every method and after every edit."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import dpsynth
from dpsynth import sources
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy import Private

PACKAGE = Path(dpsynth.__file__).parent
TINY = dict(steps=2, sample_rate=0.01, pretrain_steps=1, encoder_steps=1, width=8)
GAN = [
    ("methods/gans.py", "BETAS = (0.0, 0.99)", "BETAS = (0.5, 0.99)"),
    ("models/gan.py", "values: Tensor, real: bool) ->", "values: Tensor, real: bool, unused: int = 0) ->"),
]
LOSS = [("models/diffusion.py", "return weight * (denoised - x)", "return 2 * weight * (denoised - x)")]


@pytest.fixture
def edit(monkeypatch):
    """Read files of the package as if a line of each were another; the files themselves stay."""
    read = Path.read_text

    def edit(*changes):
        changed = {}
        for file, line, instead in changes:
            text = read(PACKAGE / file, encoding="utf-8")
            assert text.count(line) == 1, f"{file} has no line {line!r}"
            changed[PACKAGE / file] = text.replace(line, instead)
            ast.parse(changed[PACKAGE / file])
        monkeypatch.setattr(Path, "read_text", lambda path, *a, **k: changed.get(path) or read(path, *a, **k))
        sources._module.cache_clear()

    yield edit
    monkeypatch.undo()
    sources._module.cache_clear()


@pytest.fixture
def drawn(monkeypatch):
    """Of each question, by its mechanism's name: words of the stream that its noise and its Poisson draws come from."""
    seen = {}
    for verb in ("count", "gradient"):
        ask = getattr(Private, verb)

        def watched(self, *given, ask=ask, verb=verb, **named):
            charge, step = given[2], given[3] if verb == "gradient" else 0
            addresses = ("noise", step, *([0] if verb == "gradient" else [])), ("poisson", step)
            words = [charge.coins.words(address, 9) for address in addresses]
            seen.setdefault(charge.mechanism.name, []).append(np.concatenate(words))
            return ask(self, *given, **named)

        monkeypatch.setattr(Private, verb, watched)
    return seen


def taken(drawn):
    """What was drawn since, by name; and forget it."""
    noise = {name: np.concatenate(steps) for name, steps in drawn.items()}
    drawn.clear()
    return noise


def coins(run):
    """Fingerprints of the coins of each question of a run, by its mechanism's name."""
    lineage = run.synthesiser.artifact.lineage
    opened = [entry for entry in run.ledger.entries() if entry.get("open") in lineage]
    return {entry["mechanism"]["name"]: entry["coins"] for entry in opened}


def identities(run):
    return {kind: name.identity for kind, name in run.recipes().items()}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def run(method, **changes):
    return Run(Params(method=method, **{**TINY, **changes}))


def test_methods_at_one_seed_share_their_noise_and_at_another_none(tiny_root, drawn):
    rpgen, privimage = run("rpgen"), run("privimage_d", options={"votes": 4})  # else it would be the same release
    rpgen.synthesiser
    ours = taken(drawn)
    privimage.synthesiser
    theirs = taken(drawn)
    assert ours.keys() == {"semantic_histogram", "dp_sgd"} and same(ours, theirs)
    assert coins(rpgen) == coins(privimage) and len(set(coins(rpgen).values())) == 2
    assert rpgen.release.artifact.digest != privimage.release.artifact.digest
    assert rpgen.synthesiser.artifact.digest != privimage.synthesiser.artifact.digest
    elsewhere = run("rpgen", seed=1)
    elsewhere.synthesiser
    others = taken(drawn)
    assert not set(coins(elsewhere).values()) & set(coins(rpgen).values())
    assert not any(np.array_equal(ours[name], others[name]) for name in ours)


def test_the_methods_that_are_compared_share_the_release_and_the_learners_noise(tiny_root):
    rpgen, privimage = run("rpgen", seed=2), run("privimage_d", seed=2)
    assert coins(rpgen) == coins(privimage)
    assert rpgen.release.artifact.digest == privimage.release.artifact.digest


def test_an_edit_of_gans_changes_neither_the_names_nor_the_noise_of_rpgen(tiny_root, drawn, edit):
    before = run("rpgen", seed=3)
    names, names_of_gan = identities(before), identities(run("privimage_g", seed=3))
    weights, noise, fingerprints = before.synthesiser.weights, taken(drawn), coins(before)
    before.synthesiser.artifact.path.rename(tiny_root / "aside")
    edit(*GAN)
    after = run("rpgen", seed=3)
    assert identities(after) == names
    edited = identities(run("privimage_g", seed=3))
    assert {kind for kind, identity in edited.items() if identity != names_of_gan[kind]} == {"base", "synthesiser"}
    again = after.synthesiser.weights
    assert all(torch.equal(again[name], w) for name, w in weights.items())
    assert coins(after) == fingerprints
    redrawn = taken(drawn)
    assert np.array_equal(redrawn["dp_sgd"], noise["dp_sgd"]) and redrawn.keys() == {"dp_sgd"}


def test_an_edit_of_a_method_renames_what_it_makes_and_keeps_its_noise(tiny_root, drawn, edit):
    before = run("rpgen", seed=4)
    before.synthesiser
    noise, fingerprints = taken(drawn), coins(before)
    edit(*LOSS)
    after = run("rpgen", seed=4)
    renamed = {kind for kind, identity in identities(after).items() if identity != identities(before)[kind]}
    assert renamed == {"base", "synthesiser"}
    after.synthesiser
    assert coins(after) == fingerprints and np.array_equal(taken(drawn)["dp_sgd"], noise["dp_sgd"])
