"""The table of networks: each has the weights that its paper prints, and what it costs is counted."""

import pytest
import torch
from torch import nn

from dpsynth import plainyaml
from dpsynth.methods import METHODS, options_of
from dpsynth.params import Params
from dpsynth.report import networks

PRINTED = [size for size in networks.sizes() if size.paper]


@pytest.mark.parametrize("size", PRINTED, ids=lambda size: f"{size.source} {size.images} {size.paper}")
def test_a_network_has_as_many_weights_as_its_paper_prints(size):
    digits = size.paper.removesuffix("M").partition(".")[2]
    assert f"{networks.weights(size.network) / 1e6:.{len(digits)}f}M" == size.paper


def test_the_sizes_that_the_papers_name_are_there():
    assert {size.paper for size in PRINTED} == {
        "1.75M", "1.80M", "2.00M", "4.0M", "6.1M", "15.7M", "27.9M", "4.2M", "6.3M", "16.2M", "28.7M", "4.3M", "6.5M",
        "17.9M", "31.8M", "6.99M", "62.7M", "112M", "251M", "1.485M", "3.87M", "9.42M", "2.37M", "11.3M", "19.6M",
    }  # fmt: skip


def test_what_the_table_says_to_write_is_what_parameters_take(tmp_path):
    for size in PRINTED:
        written = {}
        for part in size.written.split("`")[1::2]:
            (tmp_path / "part.yaml").write_text(part, encoding="utf-8")
            written |= plainyaml.read(tmp_path / "part.yaml")
        p = Params(method="dpgan" if "gan_network" in written else "dpdm", width=written.pop("width"), options=written)
        assert options_of(p).model_dump().items() >= written.items() and p.method in METHODS


def test_multiply_adds_are_those_of_products_and_convolutions():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 5, 7))
    assert networks.multiply_adds(layers, torch.zeros(1, 3, 6, 5)) == 6 * 5 * 9 * 3 * 4 + 4 * 6 * 5 * 7
