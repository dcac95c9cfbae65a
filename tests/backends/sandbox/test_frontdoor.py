"""The front door's shares, as a promise over any hundred requests in a row."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.sandbox.frontdoor import SmoothRoundRobin


@settings(max_examples=60, deadline=None)
@given(weight=st.integers(0, 100), before=st.integers(0, 100), skipped=st.integers(0, 130))
def test_any_hundred_requests_in_a_row_are_shared_exactly(weight: int, before: int, skipped: int) -> None:
    robin = SmoothRoundRobin()
    for _ in range(skipped):
        robin.pick(before)
    robin.restart()
    for _ in range(skipped):
        robin.pick(weight)
    picked = [robin.pick(weight) for _ in range(100)]
    assert picked.count("target") == weight


def test_a_quarter_is_every_fourth_and_not_a_burst() -> None:
    robin = SmoothRoundRobin()
    picked = [robin.pick(25) for _ in range(16)]
    gaps = [i for i, side in enumerate(picked) if side == "target"]
    assert [b - a for a, b in itertools.pairwise(gaps)] == [4, 4, 4]
