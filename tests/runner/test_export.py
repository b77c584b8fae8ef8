"""`dpsynth export`: the models of a parameter file's finished runs, and nothing else."""

import re

import pytest
import torch

from dpsynth import __main__ as command
from dpsynth import experiments, load_model, store
from dpsynth.pipeline import Run
from dpsynth.report import weight_files


@pytest.fixture
def export(monkeypatch):
    """The command; it makes nothing but plans."""
    make = store._make

    def only_plans(recipe, timed):
        assert recipe.kind in ("plan", "noise"), f"made {recipe.kind}"
        make(recipe, timed)

    def run(*arguments):
        monkeypatch.setattr(store, "_make", only_plans)
        return command.main(["export", *arguments])

    return run


def test_a_finished_run_is_exported_with_a_line_that_says_its_size(made, export, capsys):
    place = made("small")
    (p,) = experiments.load("small").points()
    assert export("small") == 0
    size = (place / "results/models" / p.run_name / "weights.npz").stat().st_size
    said = capsys.readouterr().out
    assert said == (
        f"models of at most 1,000,000 bytes of weights, into results/models:\n  {p.run_name}: {size:,} bytes, float32\n"
    )
    images, _ = load_model(place / "results/models" / p.run_name).sample(p.n_synthetic, seed=p.seed)
    assert torch.equal(images, Run(p).samples.images)


def test_runs_that_are_not_finished_are_refused_by_the_command_that_makes_them(made, export, capsys):
    place = made("small")
    assert export("small", "--epsilon", "10,1", "--seed", "3,4") == 2
    said = capsys.readouterr()
    assert len(list((place / "results/models").iterdir())) == said.out.count("float32") == 1
    assert re.fullmatch(
        r"error: 3 of 4 runs are not finished, the first is mnist5k-glyphs-dpdm-eps1-seed3-\w+: export trains "
        r"nothing, `dpsynth run small --epsilon 10,1 --seed 3,4` makes them\n",
        said.err,
    )


def test_what_is_too_large_is_refused_and_twins_are_left_out(made, export, monkeypatch, capsys):
    place = made("small")
    monkeypatch.setattr(weight_files, "LIMIT", 1000)
    assert export("small", "--epsilon", "10,inf") == 2
    said = capsys.readouterr().err
    assert re.search(r"error: the weights of mnist5k-\S+ take [\d,]+ bytes, in float16 .* at most 1,000: ", said)
    assert said.count("\n") == 1 and not (place / "results").exists()
    assert export("small", "--epsilon", "inf") == 2
    assert "names non-private twins alone here, which are not exported" in capsys.readouterr().err
