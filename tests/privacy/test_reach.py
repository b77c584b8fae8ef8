"""A release is finished only by what it was begun by: its seal covers all that an answer follows from."""

import functools
import sys
import threading

import pytest
import torch
import worlds
from safetensors.torch import load_file, save_file

from dpsynth import sources, store
from dpsynth.pipeline import Run

# Code of the core that every answer runs through, and no digest holds: it belongs to the plan, which is in the name.
PLAN = ("dpsynth.privacy.mechanisms",)


@pytest.fixture
def ran(monkeypatch):
    """Of each work that asks the records: itself, and the definitions of ours that ran while it was at it."""
    works, build = {}, store.build

    def traced(recipe, **how):
        if "permit" not in recipe.inputs:
            return build(recipe, **how)
        work, called = recipe.function, set()

        def note(frame, event, _):
            module = frame.f_globals.get("__name__", "")
            if event == "call" and module.startswith("dpsynth"):
                called.add((module, frame.f_code.co_qualname))

        @functools.wraps(work)
        def at_it(*args, **settings):
            threading.setprofile(note)
            sys.setprofile(note)
            try:
                return work(*args, **settings)
            finally:
                sys.setprofile(None)
                threading.setprofile(None)

        works[work.__qualname__] = (work, called)
        object.__setattr__(recipe, "function", at_it)
        return build(recipe, **how)

    monkeypatch.setattr(store, "build", traced)
    return works


def unseen(work, called):
    """Definitions that ran, and that the digest of the work does not hold."""
    seen = {}
    sources._visit(work.__module__, work.__qualname__, seen)
    for module, name in sorted(called):
        top, _, method = name.partition(".")
        if top == "Private" and module == "dpsynth.privacy.private":
            top = f"Private.{method.partition('.')[0]}"  # followed verb by verb
        ours = not name.startswith(("<", "__create_fn__"))  # code at a module's top, and what dataclasses write
        if ours and module not in {*sources.NOT_WORK, *PLAN} and f"{module}:{top}" not in seen:
            yield f"{module}:{name}"


@pytest.mark.parametrize(("method", "options"), worlds.CASES, ids=worlds.NAMES)
def test_all_code_that_an_answer_runs_through_is_in_its_digest(tmp_path, rendered, monkeypatch, ran, method, options):
    worlds.enter(tmp_path, worlds.more(0), rendered, monkeypatch)
    Run(worlds.parameters(method, options)).synthesiser
    assert ran and not [definition for traced in ran.values() for definition in unseen(*traced)]


def test_a_killed_release_is_not_finished_through_an_encoder_that_was_made_anew(tmp_path, rendered, monkeypatch):
    worlds.enter(tmp_path, private := worlds.more(0), rendered, monkeypatch)
    run = Run(worlds.parameters("privimage_d", {}))
    count = type(private).count

    def killed(self, *question, **how):
        count(self, *question, **how)
        raise KeyboardInterrupt  # the answer is known, and kept nowhere

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(private), "count", killed)
        run.release
    path = run.encoder.artifact.path / "tensors.safetensors"
    tensors = load_file(path)
    save_file({name: values + torch.ones_like(values) for name, values in tensors.items()}, path)
    with pytest.raises(ValueError, match="from other inputs or on another machine, and killed"):
        Run(run.params).release
    save_file(tensors, path)
    assert Run(run.params).release.artifact.digest in run.ledger.entries()[0]["open"]
