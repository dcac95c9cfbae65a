from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tests.widgets.stage import ASCII_PALETTE, PALETTE
from widgets.bars import bar, sparkline, split_bar

fractions = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@given(fractions, st.integers(-3, 80), st.sampled_from((PALETTE, ASCII_PALETTE)))
def test_a_bar_has_exactly_its_width(fraction: float | None, width: int, palette: object) -> None:
    for drawn in (bar(palette, fraction, width, PALETTE.good), split_bar(palette, None, width)):  # type: ignore[arg-type]
        assert drawn.used == max(0, width)
        assert len(drawn.text()) == max(0, width)


def test_a_bar_fills_cell_by_cell_and_then_by_eighths() -> None:
    assert bar(PALETTE, 0, 4, PALETTE.good).text() == "▁▁▁▁"
    assert bar(PALETTE, 0.71, 8, PALETTE.good).text() == "▇▇▇▇▇▅▁▁"
    assert bar(PALETTE, 1, 4, PALETTE.good).text() == "▇▇▇▇"
    assert bar(PALETTE, 7, 4, PALETTE.good).text() == "▇▇▇▇"


def test_what_is_not_known_is_no_empty_bar() -> None:
    assert bar(PALETTE, None, 4, PALETTE.good).text() == "    "


@given(st.floats(0, 1), st.integers(2, 60))
def test_neither_side_vanishes_while_it_serves(target: float, width: int) -> None:
    drawn = split_bar(PALETTE, target, width).text()
    assert len(drawn) == width
    assert ("▄" in drawn) is (target > 0)
    assert ("▇" in drawn) is (target < 1)


def test_a_missing_sample_is_a_gap_and_not_a_flat_line() -> None:
    drawn = sparkline(PALETTE, [0.0, None, 0.5, 1.0], 6, PALETTE.good, top=1.0).text()
    assert drawn == "  ▁ ▄▇"


def test_a_nan_among_samples_shows_as_a_breach() -> None:
    assert sparkline(PALETTE, [0.1, math.nan], 2, PALETTE.good, top=1.0).text() == "▁✗"


@given(st.lists(fractions, max_size=90), st.integers(-2, 60))
def test_a_sparkline_keeps_to_its_width(samples: list[float | None], width: int) -> None:
    assert sparkline(PALETTE, samples, width, PALETTE.good).used == max(0, width)


def test_without_unicode_bars_are_ascii() -> None:
    for row in (
        bar(ASCII_PALETTE, 0.71, 8, PALETTE.good),
        split_bar(ASCII_PALETTE, 0.25, 8),
        sparkline(ASCII_PALETTE, [0, None, 1], 5, PALETTE.good),
    ):
        assert row.text().isascii()
