"""The verbs ask as always, every check is made, but they answer with noise alone. What still differs between two sets
that share no record has left by another way than through the noise: a closure that kept what it saw, a figure, a
fact, a curve, a snapshot, an average, fakes or candidates made of records."""

import ast
import dataclasses
import logging
from pathlib import Path

import pandas as pd
import pytest
import torch
import worlds
from IPython.display import Code
from torch import Tensor

import dpsynth
from dpsynth import figures
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy import Private
from dpsynth.report import audit
from dpsynth.runner import pages

COUNT, TOTAL, GRADIENT = Private.count, Private.total, Private.gradient
NOTEBOOKS = Path(dpsynth.__file__).parents[1] / "notebooks"
# Options that change neither what the records are asked nor what is kept: numbers of public work, of what is asked how
# often, or how loud the noise is; a file of weights, which `tests/methods/test_learners.py` makes; and networks that
# these images are too small for, whose gradients `tests/models/test_biggan.py` holds.
NUMBERS = {
    "max_grad_norm", "average", "attention", "saliency_votes", "saliency_noise", "share", "central_noise", "votes",
    "kept", "query_noise", "amp_gamma", "amp_eta", "amp_normalise", "discriminator_rate",
    "generator_rate", "public_rate", "vgg19", "matching_steps", "matching_rate", "iterations",
    "candidates", "gan_network",
}  # fmt: skip


def count(self, votes, bins, charge, step=0, *, by_label=True):
    asked = COUNT(self, votes, bins, charge, step, by_label=by_label)
    noise = charge.coins.discrete_gaussians(("noise", step), asked.numel(), charge.mechanism.scale)
    return torch.from_numpy(noise.reshape(asked.shape))


def total(self, vectors, dim, charge, step=0, *, by_label=False):
    asked = TOTAL(self, vectors, dim, charge, step, by_label=by_label)
    noise = charge.coins.normals(("noise", step), asked.numel())
    return torch.from_numpy(charge.mechanism.scale * noise.reshape(asked.shape)) / charge.mechanism.divisor


def gradient(self, model, loss, charge, step, microbatch, fakes=None):
    GRADIENT(self, model, loss, charge, step, microbatch, fakes)
    for number, parameter in enumerate(model.parameters):
        noise = charge.coins.normals(("noise", step, number), parameter.numel())
        parameter.grad = 0.01 * torch.from_numpy(noise).view_as(parameter).float()


def plain(value):
    """Anything that a notebook shows, as something that can be compared."""
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    if isinstance(value, pd.DataFrame):
        return value.to_csv(), str(value.columns.name), str(value.index.name)
    if isinstance(value, Path):
        return value.name  # each world has a folder of its own
    if isinstance(value, Code):
        return value.data
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.name != "artifact"}
        return type(value).__name__, plain(fields)
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return repr(value)


def shown(path, figure):
    """Run a notebook's cells; what each of its lone expressions shows."""
    names, values = {"__name__": "__main__"}, []
    for statement in ast.parse(path.read_text()).body:
        before = len(figure)
        if isinstance(statement, ast.Expr):
            values.append(eval(compile(ast.Expression(statement.value), path.name, "eval"), names))
        else:
            exec(compile(ast.Module([statement], []), path.name, "exec"), names)
        values += figure[before:]
    return values


def files(root):
    """All that stands below `root` but for the cache of public images."""
    found = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in found if "cache" not in path.parts}


@pytest.mark.parametrize(("method", "options"), worlds.CASES, ids=worlds.NAMES)
def test_nothing_that_is_kept_or_shown_depends_on_a_record_but_through_the_noise(
    method, options, rendered, tmp_path, monkeypatch, capfd, caplog
):
    for name, answer in (("count", count), ("total", total), ("gradient", gradient)):
        monkeypatch.setattr(Private, name, answer)
    figure = []
    for name in figures.__all__:
        monkeypatch.setattr(figures, name, lambda *args, name=name, **said: figure.append((name, args, said)))
    monkeypatch.setattr(audit, "run", lambda noise: audit.Audit(1.0, noise, 2, 0, 0, 0.0))  # on records made for it
    monkeypatch.setattr(Run, "expected_minutes", lambda run: None)  # a time, of blank images
    p, both = worlds.parameters(method, options, sample_rate=1.0), []
    monkeypatch.setattr(Params, "at", lambda scale, **changes: p)  # what a page makes of its parameters cell
    pages_of_method = [NOTEBOOKS / f"{name}.py" for name in pages.pages(method)]
    for extra in (0, 1):
        root = tmp_path / str(extra)
        worlds.enter(root, worlds.replaced(extra), rendered, monkeypatch)
        capfd.readouterr()
        caplog.clear()
        caplog.set_level(logging.DEBUG)
        values = plain([shown(path, figure) for path in pages_of_method])
        said = capfd.readouterr()
        text = worlds.without_times(said.out + said.err + caplog.text).replace(str(root), "ROOT")
        both.append((values, text, files(root)))
    (values, text, written), (values_of_other, text_of_other, written_of_other) = both
    assert any(name.startswith("build/artifacts/synthesiser") for name in written)
    assert {name for name in written if written[name] != written_of_other.get(name)} == set()
    assert written.keys() == written_of_other.keys() and text == text_of_other
    assert min(map(len, values)) >= 4 and sum(map(len, values)) > 10 and values == values_of_other


def test_each_option_that_changes_what_is_asked_has_a_case():
    turned = {name for _, options in worlds.CASES for name in options}
    assert {option for row in METHODS.values() for option in row.options.model_fields} <= turned | NUMBERS
    assert not turned & NUMBERS
