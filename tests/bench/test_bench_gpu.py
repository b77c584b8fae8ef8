"""The bench of a GPU: its arguments, its rows, and the ratios that it sets beside their goals."""

import math

import pandas as pd
import pytest

from dpsynth.bench import gpu


def row(step, views, per_second, gib=10.0, busy=0.95, **changes):
    given = {"width": 80, "size": 32, "views": views, "step": step, "seconds": 1.0}
    return given | {"images_per_second": per_second, "GiB": gib, "busy": busy} | changes


def test_the_ratios_are_of_the_first_setting_and_of_opacus_at_its_best_batch():
    table = pd.DataFrame(
        [
            row("ordinary, compiled", 1, 1000), row("ours", 1, 600, gib=15.0), row("opacus hooks", 1, 90, batch=128),
            row("opacus ghost", 1, 100, batch=256), row("opacus hooks", 1, float("nan"), seconds=float("nan")),
            row("ordinary, compiled", 8, 1000), row("ours", 8, 700, busy=0.8), row("ours", 1, 9999, width=128),
        ]
    )  # fmt: skip
    found = gpu.ratios(table).set_index("ratio")
    assert found["measured"].tolist() == [0.6, 1.5, 0.95, 0.7, 1.0, 0.8, 6.0]
    assert found["goal"].tolist() == [0.5, 2.0, 0.9, 0.75, 2.0, 0.9, 5.0]


@pytest.mark.parametrize("only", ["abc", "8,16", "8,16,0", "8,16,1,2"])
def test_a_setting_that_is_none_is_refused_in_a_sentence(only, capsys):
    with pytest.raises(SystemExit, match="2"):
        gpu.main(["--only", only])
    assert f"expected WIDTH,SIZE,VIEWS, as 80,32,8; got {only}" in capsys.readouterr().err


def test_settings_take_about_the_memory_of_the_first():
    rows = {setting: gpu.setting_of(*setting, tiny=False) for setting in gpu.SETTINGS}
    assert rows[80, 32, 1].batch == rows[80, 32, 8].batch * 8 == gpu.ROWS == rows[80, 32, 8].rows
    for (width, size, _), setting in rows.items():
        assert 0.8 < setting.rows * size**2 * width / (gpu.ROWS * 32**2 * 80) <= 1


def test_steps_on_the_processor_are_timed_without_memory_of_a_gpu(monkeypatch):
    monkeypatch.setenv("DPSYNTH_DEVICE", "cpu")
    setting = gpu.setting_of(8, 16, 2, tiny=True)
    (found,) = gpu.rows_of(setting, {"ours": gpu.OnGpu(setting).steps()["ours"]}, 0.0)
    assert found["images_per_second"] > 0 and math.isnan(found["GiB"]) and found["card"] == "processor"
