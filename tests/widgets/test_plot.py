from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.snapshot import ValidationView
from tests.fixtures.snapshots import loss
from tests.widgets.stage import ASCII_PALETTE, PALETTE, assert_drawable, texts
from widgets.delta import delta_band, delta_strip, deltas
from widgets.plot import overlaid

points = st.lists(st.tuples(st.floats(allow_nan=True), st.floats(allow_nan=True)), max_size=30)
sane = st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e6, 1e6)), max_size=30)


@settings(max_examples=60, deadline=None)
@given(points | sane, sane, st.integers(1, 120), st.integers(0, 20), st.sampled_from((PALETTE, ASCII_PALETTE)))
def test_any_two_curves_can_be_drawn(legacy, target, width, height, palette) -> None:  # type: ignore[no-untyped-def]
    assert_drawable(overlaid(legacy, target, palette, width, height), width, height, palette)


def test_curves_that_are_apart_are_drawn_in_both_colours() -> None:
    low, high = [(float(x), 1.0 + x / 100) for x in range(50)], [(float(x), 2.0 + x / 100) for x in range(50)]
    styles = {
        s.style for line in overlaid(low, high, PALETTE, 60, 10) for s in line if any(0x2800 < ord(c) < 0x2900 for c in s.text)
    }
    assert {PALETTE.legacy, PALETTE.target} <= styles


def test_a_steep_beginning_does_not_flatten_the_rest() -> None:
    curve = [(float(x), 2 + 100 * math.exp(-x / 8)) for x in range(100)]
    labels = texts(overlaid(curve, [], PALETTE, 60, 10))
    assert "↑" in labels[0]


def test_deltas_are_relative_to_legacy_at_the_targets_places() -> None:
    legacy = [(0.0, 2.0), (10.0, 4.0)]
    assert deltas(legacy, [(0.0, 2.0), (5.0, 3.3), (20.0, 9.0)]) == [(0.0, 0.0), (5.0, pytest.approx(0.1))]


def test_a_delta_beyond_what_is_allowed_shows_the_sign_of_a_breach() -> None:
    assert "✗" in delta_strip(loss(60, 1.016), PALETTE, 80).text
    assert "✗" not in delta_strip(loss(60, 1.001), PALETTE, 80).text


def test_without_curves_the_delta_is_a_dash() -> None:
    assert delta_strip(ValidationView(measure="m", workload="w", kind="loss"), PALETTE, 60).text.endswith("-")


@settings(max_examples=60, deadline=None)
@given(sane, st.floats(1e-6, 10), st.integers(1, 120), st.integers(0, 12), st.sampled_from((PALETTE, ASCII_PALETTE)))
def test_any_deltas_can_be_drawn_in_their_band(found, tolerance, width, height, palette) -> None:  # type: ignore[no-untyped-def]
    assert_drawable(delta_band(sorted(found), (0.0, 1e6), tolerance, palette, width, height), width, height, palette)


def test_the_band_has_its_bounds_and_what_lies_beyond_is_outside_of_them() -> None:
    found = [(float(x), 0.0) for x in range(40)] + [(float(x), 0.015) for x in range(60, 80)] + [(99.0, 5.0)]
    lines = texts(delta_band(found, (0.0, 99.0), 0.005, ASCII_PALETTE, 108, 5))
    assert [line[:6].strip() for line in lines] == ["", "+0.5 %", "0 %", "-0.5 %", ""]
    assert lines[2][8:48].count("o") == 40
    above = lines[0][8:]
    assert above[61:79] == "x" * 18
    assert above[-1] == ASCII_PALETTE.glyphs.breach
    assert lines[3][8:].strip("-") == lines[4][8:].strip() == ""
