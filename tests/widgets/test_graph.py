"""Graphs of samples: what is missing is a gap, and what is old does not move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.widgets.stage import ASCII_PALETTE, PALETTE
from widgets.graph import graph_rows, joined

SAMPLES = st.lists(st.none() | st.floats(0, 1), max_size=400)


def drawn(samples: list[float | None], width: int, height: int = 1, palette: object = PALETTE) -> list[str]:
    assert palette is PALETTE or palette is ASCII_PALETTE
    return [row.text() for row in graph_rows(samples, palette, width, height, PALETTE.text, low=0.0, high=1.0)]


def test_a_sample_that_is_missing_is_a_gap_and_zero_is_not() -> None:
    assert drawn([0.0, 0.0, None, None, 1.0, None], 3) == ["⣀ ⡇"]
    assert drawn([0.0, None, 1.0], 3, palette=ASCII_PALETTE) == ["_ #"]
    assert drawn([None] * 6, 3) == ["   "]


def test_a_higher_graph_is_filled_from_below() -> None:
    assert drawn([0.5, 0.5, 1.0, 1.0], 2, 2) == [" ⣿", "⣿⣿"]


@given(SAMPLES, st.integers(1, 120), st.integers(1, 5), st.sampled_from((PALETTE, ASCII_PALETTE)))
def test_a_graph_fills_its_place_exactly(samples: list[float | None], width: int, height: int, palette: object) -> None:
    lines = drawn(samples, width, height, palette)
    assert len(lines) == height
    assert all(len(line) == width for line in lines)


@given(SAMPLES, st.integers(1, 100))
def test_joined_samples_are_no_more_than_asked_and_lie_between_the_least_and_the_most(
    samples: list[float | None], most: int
) -> None:
    kept = joined(samples, most, len(samples))
    known = [s for s in samples if s is not None]
    assert len(kept) <= most
    assert all(min(known) - 1e-9 <= k <= max(known) + 1e-9 for k in kept if k is not None)


@given(st.integers(720, 760), st.integers(1, 96))
def test_with_a_new_sample_the_old_means_stay_as_they_were(count: int, beat: int) -> None:
    """A graph of an hour that flickers with every second cannot be read."""
    samples = [i * beat % 97 / 97 for i in range(count)]
    before = joined(samples[-721:-1], 150, len(samples) - 1)
    after = joined(samples[-720:], 150, len(samples))
    inner = set(before[1:-1])
    assert len(inner - set(after)) <= 1
