"""Rounded numbers: the range of what is printed, and of what follows from it, held against all ends of the cells."""

import itertools

import pandas as pd
import pytest

from dpsynth.report.printed import change
from dpsynth.report.rounding import Rounded, mean


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("22.90", 22.895, 22.905), ("27.6", 27.55, 27.65), ("340", 339.5, 340.5), ("-6.5", -6.55, -6.45)],
)  # fmt: skip
def test_a_printed_number_is_within_half_a_unit_of_its_last_decimal(text, low, high):
    number = Rounded.read(text)
    assert number.value == float(text) and (number.low, number.high) == pytest.approx((low, high))


def test_text_that_is_no_number_is_an_error():
    with pytest.raises(ValueError):
        Rounded.read("-")


def test_sums_quotients_and_multiples_reach_as_far_as_their_numbers():
    a, b = Rounded(4.0, 3.0, 5.0), Rounded(2.0, 1.0, 4.0)
    for result, expected in (
        (a + b, (6, 4, 9)), (a - b, (2, -1, 4)), (a / b, (2, 0.75, 5)), (1 - a, (-3, -4, -2)), (-2 * a, (-8, -10, -6)),
        (a * 2 + 1, (9, 7, 11)), (mean(pd.Series([a, b])), (3, 2, 4.5)),
    ):  # fmt: skip
        assert (result.value, result.low, result.high) == expected


def test_a_change_of_rows_ranges_over_all_that_their_cells_can_be():
    ours, base = ["27.6", "19.1", "340"], ["26.5", "9.17", "0.8"]
    readings = change(*(pd.Series([*map(Rounded.read, row)]) for row in (ours, base)))
    ends = [(cell.low, cell.high) for cell in map(Rounded.read, [*ours, *base])]
    corners = [change(pd.Series(cells[:3]), pd.Series(cells[3:])) for cells in itertools.product(*ends)]
    for name, reading in readings.items():
        reached = [corner[name] for corner in corners]
        assert (reading.low, reading.high) == pytest.approx((min(reached), max(reached)))
        assert reading.low < reading.value < reading.high


def test_numbers_compare_by_what_is_printed():
    assert Rounded.read("68.8") == Rounded.read("68.80") != Rounded.read("68.3")
    assert max(Rounded.read("340"), Rounded.read("340.2")).value == 340.2
