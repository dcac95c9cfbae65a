"""A schedule of cron is a rhythm, or is told to be none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.inventory.cron import rhythm_of

DAY = 86400.0


@pytest.mark.parametrize(
    ("schedule", "least", "most"),
    [
        ("*/15 * * * *", 900, 900),
        ("7 * * * *", 3600, 3600),
        ("0 2 * * *", DAY, DAY),
        ("@daily", DAY, DAY),
        ("0 2 * * 1-5", DAY, 3 * DAY),
        ("0 2 * * MON", 7 * DAY, 7 * DAY),
        ("0 6,18 * * *", DAY / 2, DAY / 2),
        ("0 0 1 * *", 28 * DAY, 31 * DAY),
        ("30 4 1,15 * 5", DAY, 7 * DAY),  # the first, the fifteenth, and every Friday
        ("0 0 29 2 *", None, None),  # once in three years
        ("0 0 31 2 *", None, None),
        ("5/20 * * * 7", 1200, 6 * DAY + 1200),
        ("61 * * * *", None, None),
        ("* * * *", None, None),
        ("*/0 * * * *", None, None),
        ("@reboot", None, None),
        ("0 0 * * x", None, None),
    ],
)
def test_how_often_a_schedule_comes_round(schedule: str, least: float | None, most: float | None) -> None:
    found = rhythm_of(schedule)
    if least is None:
        assert found is None
        return
    assert found is not None
    assert (found.least, found.most) == (least, most)


@given(st.lists(st.text("0123456789*/,-?a", min_size=1, max_size=6), min_size=5, max_size=5))
def test_no_schedule_ends_in_an_exception(fields: list[str]) -> None:
    found = rhythm_of(" ".join(fields))
    assert found is None or 60 <= found.least <= found.most
