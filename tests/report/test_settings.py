"""Hyper-parameters are compared with the papers' as numbers."""

import pandas as pd
import pytest

from dpsynth import experiments
from dpsynth.report import claims, itempages, items, results, settings
from dpsynth.report.verdicts import AGREES, DISAGREES, NOT_COMPARABLE

NO_RESULTS = pd.DataFrame(columns=results.COLUMNS)
# Of each table at scale `paper`: what is equal, however it is printed.
EQUAL = {
    "Table 5": {
        "pre-training: learning rate", "pre-training: images a step", "pre-training: steps (M is a slip for K)",
        "fine-tuning: learning rate", "denoiser: weights",
    },
    "Table 6": {
        "GAN: images a step in pre-training", "GAN: private steps of D for each of G", "GAN: weights of the generator",
        "GAN: weights of the discriminator",
    },
    "Table 7": {"query function: learning rate", "query function: images a step", "query function: steps"},
}  # fmt: skip


@pytest.fixture
def at_paper_scale() -> experiments.Experiment:
    return experiments.load("privimage_table5_6_7", "paper")


@pytest.mark.parametrize("table", EQUAL)
def test_what_is_the_same_number_is_equal_however_it_is_printed(table):
    rows = settings.of("PrivImage", table, "paper")
    assert EQUAL[table] <= {*rows.loc[rows["equal"] == "yes", "item"]}


def test_another_number_is_not_equal():
    rows = settings.of("PrivImage", "Table 5", "paper").set_index("item")
    assert rows.loc["fine-tuning: steps", ["paper", "ours", "equal"]].tolist() == ["152", "200", "no"]


def test_the_gans_steps_are_counted_of_the_network_that_the_table_counts():
    ours = settings.of("PrivImage", "Table 6", "paper").set_index("item")["ours"]
    assert ours["GAN: private steps of D for each of G"] == "5"
    assert ours["GAN: steps of G beside them"] == "40"  # 200 of D


@pytest.mark.parametrize(("scale", "expected"), [("paper", ("0.001", "yes")), ("laptop", ("0.002", "no"))])
def test_rates_near_one_are_compared_by_what_they_leave(scale, expected):
    rows = settings.of("PrivImage", "configuration files", scale).set_index("item")
    row = rows.loc["pre-training: newest step's share of the moving average"]
    assert (row["ours"], row["equal"]) == expected


def test_each_paper_has_its_own_number_and_its_own_method():
    rows = settings.table("paper")
    batch = rows[rows["item"] == "pre-training: images a step"].set_index("source")["paper"]
    assert batch.to_dict() == {"RPGen, Setup": "512", "PrivImage, Table 5": "2048"}
    methods = pd.read_csv(settings.PACKAGE / "settings.csv").groupby(["paper", "table"])["method"].unique().map(list)
    assert methods["RPGen", "Setup"] == ["rpgen"] and methods["PrivImage", "Table 6"] == ["privimage_g"]
    assert methods["PrivImage", "Table 5"] == methods["PrivImage", "Table 7"] == ["privimage_d"]


@pytest.mark.parametrize(("factor", "equal", "verdict"), [(1, 3, AGREES), (1.009, 3, AGREES), (1.02, 2, DISAGREES)])
def test_the_rule_agrees_where_all_are_equal(factor, equal, verdict, at_paper_scale, tmp_path, monkeypatch):
    rows = pd.read_csv(settings.PACKAGE / "settings.csv", dtype={"printed": str})
    rows["value"] = rows["value"].where(rows["setting"] != "encoder_steps", factor * rows["value"])
    rows.to_csv(tmp_path / "settings.csv", index=False)
    monkeypatch.setattr(settings, "PACKAGE", tmp_path)
    *_, query = claims.judge(at_paper_scale, NO_RESULTS)
    assert (query.item, query.paper, query.ours) == ("PrivImage Table 7", "3 settings", f"{equal} equal")
    assert query.verdict == verdict


def test_at_another_scale_nothing_is_judged():
    told = claims.judge(experiments.load("privimage_table5_6_7", "laptop"), NO_RESULTS)
    assert {one.verdict for one in told} == {NOT_COMPARABLE}


@pytest.mark.parametrize(("paper", "table"), [("PrivImage", "Table 55"), ("RPGen", "Table 5"), ("PrivImage", "Table")])
def test_a_table_that_there_is_not_is_refused_by_name(at_paper_scale, paper, table):
    rule = at_paper_scale.compare[0].model_copy(update={"paper": paper, "table": table})
    with pytest.raises(ValueError, match=f"settings.csv has no '{table}' of {paper}; it has .*PrivImage, Table 5"):
        claims.judge(at_paper_scale.model_copy(update={"compare": [rule]}), NO_RESULTS)


@pytest.mark.parametrize("scale", experiments.scales.names())
def test_every_setting_is_a_number_at_every_scale(scale):
    assert {*settings.table(scale)["equal"]} <= {"yes", "no"}


def test_the_page_has_the_hyper_parameters_themselves(at_paper_scale):
    judged = claims.judge(at_paper_scale, NO_RESULTS)
    page = itempages.page(items.Item(at_paper_scale, NO_RESULTS, judged, "privimage_table5_6_7_paper"), [])
    assert "| denoiser: weights | PrivImage, Table 5 | 1.75M | 1,754,499 | yes |" in page
    assert "| query function: steps | PrivImage, Table 7 | 9.4K | 9,400 | yes |" in page and settings.NOTE in page
