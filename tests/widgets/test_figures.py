from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from widgets import figures

amounts = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.integers(0, 1 << 62)


@given(st.floats(0, 1e19))
def test_a_size_never_takes_more_than_eight_cells(value: float) -> None:
    assert len(figures.size(value)) <= 8


@given(amounts)
def test_every_figure_has_an_answer_to_every_value(value: float | None) -> None:
    for shown in (figures.size, figures.rate, figures.share, figures.change, figures.percent, figures.seconds):
        assert shown(value)
    assert figures.number(value)
    assert figures.duration(value)
    assert figures.brief(value)


def test_missing_is_a_dash_and_not_zero() -> None:
    assert {figures.size(None), figures.rate(None), figures.share(None), figures.count(None), figures.weight(None)} == {"-"}
    assert {figures.duration(None), figures.age(None), figures.change(None), figures.percent(None)} == {"-"}


@given(st.integers(-(10**15), 10**15), st.integers(0, 10**15))
def test_progress_stays_between_nothing_and_all(done: int, total: int) -> None:
    fraction = figures.progress(done, total)
    assert fraction is not None
    assert 0 <= fraction <= 1


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 2))
def test_a_share_short_of_the_whole_never_says_100(fraction: float, places: int) -> None:
    assert not figures.share(fraction, places).startswith("100")


@given(amounts, amounts, st.booleans())
def test_an_eta_is_never_negative_nor_nonsense(low: float | None, high: float | None, never: bool) -> None:
    words = figures.eta(low, high, never)
    assert "-" not in words.removesuffix(" -")
    assert "nan" not in words.lower()
    assert "inf" not in words


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (figures.size(512), "512 B"),
        (figures.size(1.2 * 2**20), "1.20 MiB"),
        (figures.size(1023.9999 * 2**20), "1.00 GiB"),
        (figures.size_of(11.17 * 2**40, 12 * 2**40), "11.2 of 12.0 TiB"),
        (figures.size_of(13 * 2**40, 12 * 2**40), "12.0 of 12.0 TiB"),
        (figures.rate(230e6), "1.84 Gbps"),
        (figures.share(0.931), "93.1 %"),
        (figures.share(0.99999), "99.9 %"),
        (figures.change(0.031), "+3.1 %"),
        (figures.change(-0.01), "-1.0 %"),
        (figures.change(0.001), "+0.10 %"),
        (figures.change(0), "0 %"),
        (figures.change(float("nan")), "NaN"),
        (figures.percent(0.0002), "0.02 %"),
        (figures.percent(0.001), "0.1 %"),
        (figures.percent(0.25), "25 %"),
        (figures.seconds(0.087), "87 ms"),
        (figures.duration(42), "42 s"),
        (figures.duration(15960), "4 h 26 min"),
        (figures.duration(7 * 86400), "7 d 0 h"),
        (figures.watch(370, 900), "6:10/15m"),
        (figures.watch(3, 6), "3s/6s"),
        (figures.eta(3120, 3840), "ETA 58 min ±6"),
        (figures.eta(7200, 32400), "ETA 2 h 00 min to 9 h 00 min"),
        (figures.eta(None, None, True), "ETA never at this rate"),
        (figures.eta(None, None), "ETA -"),
        (figures.eta(-90, -20), "ETA -"),
        (figures.place(10.0), "10"),
        (figures.place(0.5), "0.500"),
        (figures.power(2900, 3200), "2.9 of 3.2 kW"),
        (figures.power(360, 400), "360 of 400 W"),
    ],
)
def test_figures_read_as_people_write_them(shown: str, words: str) -> None:
    assert shown == words


def test_an_event_of_another_day_shows_its_date() -> None:
    now = datetime(2026, 3, 14, 0, 1, tzinfo=UTC)
    assert figures.stamp(now, now) == "00:01:00"
    assert len(figures.stamp(datetime(2026, 3, 9, 23, 59, tzinfo=UTC), now)) == 8
    assert "09Mar" in figures.stamp(datetime(2026, 3, 9, 23, 59, tzinfo=UTC), now)
