"""Bars of private work show tenths of the steps, and nothing between them."""

from dpsynth.stages import progress


def test_a_bar_that_ends_early_tells_the_last_tenth_and_not_the_step_that_it_ended_at(capfd):
    bar = progress.silent(100, "DP-SGD")
    for step in range(37):
        bar(step + 1)
    del bar  # tqdm draws once more, as it is left
    shown = capfd.readouterr().err
    assert "step 30/100" in shown and not any(f"step {n}/100" in shown for n in range(31, 38))
