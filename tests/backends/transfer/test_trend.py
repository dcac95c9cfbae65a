"""Rates, lag and time to go: nothing is said that is not known, and what is said holds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.transfer.models import Progress, RoundResult
from backends.transfer.trend import FIRST_SECONDS, STALL_SECONDS, Trend, left_bytes

MIB = 1 << 20


def copying(objects: int, bytes_: int, *, began: float = 0.0) -> Progress:
    """A round whose listings have ended."""
    return Progress(
        status="copying", began_at=began, rounds=1, is_listed=True, objects_total=objects, bytes_total=bytes_,
        found_objects=objects, found_bytes=bytes_, to_copy_objects=objects, to_copy_bytes=bytes_, left_objects=objects,
    )  # fmt: skip


def advance(progress: Progress, bytes_: int, objects: int = 0) -> None:
    progress.copied_bytes += bytes_
    progress.copied_objects += objects
    progress.left_objects -= objects


def run(trend: Trend, progress: Progress, seconds: int, a_second: int, *, at: float = 0.0, objects: int = 0) -> float:
    """Sample once a second while so much is copied; the instant after."""
    trend.sample(at, progress)
    for second in range(1, seconds + 1):
        advance(progress, a_second, objects)
        trend.sample(at + second, progress)
    return at + seconds


def ended(found: int, *, seconds: float, left: int = 0, bytes_each: int = MIB, copied: bool = True) -> RoundResult:
    """A round that found so many objects and left some."""
    return RoundResult(
        "d", "forward", 1000, found - left if copied else 0, 1000 - found, 0, left, (found - left) * bytes_each, seconds, {}, (), (),
        left, left * bytes_each, 0.0, 1000, 1000 * bytes_each, found_objects=found, found_bytes=found * bytes_each,
        listing_seconds=seconds / 2,
    )  # fmt: skip


def test_nothing_is_said_while_a_side_is_listed() -> None:
    trend, progress = Trend(), Progress(status="listing", listed=12_000)
    trend.sample(0.0, progress)
    assert trend.outlook(0.0, progress).state == "listing"
    assert trend.outlook(0.0, progress).seconds is None
    assert trend.rate() is None


def test_the_first_seconds_are_measuring() -> None:
    trend, progress = Trend(), copying(100, 100 * MIB)
    run(trend, progress, 2, MIB)
    assert trend.outlook(2.0, progress).state == "measuring"


def test_the_rate_is_of_the_last_minute_and_the_eta_is_what_is_left_by_it() -> None:
    trend, progress = Trend(), copying(1, 10_000 * MIB)
    at = run(trend, progress, 100, MIB)
    at = run(trend, progress, 70, 10 * MIB, at=at)
    rate = trend.rate()
    assert rate is not None
    assert rate.bytes == pytest.approx(10 * MIB)
    outlook = trend.outlook(at, progress)
    assert outlook.state == "eta"
    assert outlook.low is not None
    assert outlook.seconds is not None
    assert outlook.high is not None
    assert outlook.seconds == pytest.approx(left_bytes(progress) / (10 * MIB), rel=0.01)
    assert outlook.low < outlook.seconds < outlook.high
    assert outlook.high > 2 * outlook.seconds, "the slow spell of before is in the range"


def test_small_objects_count_by_their_number_and_not_by_their_bytes() -> None:
    trend, progress = Trend(), copying(10_000, 0)
    at = run(trend, progress, 50, 0, objects=100)
    outlook = trend.outlook(at, progress)
    assert outlook.seconds == pytest.approx(50, rel=0.05)


def test_a_standstill_is_named_by_its_seconds_and_has_no_eta() -> None:
    trend, progress = Trend(), copying(100, 1000 * MIB)
    at = run(trend, progress, 30, MIB)
    for second in range(1, 41):
        trend.sample(at + second, progress)
    outlook = trend.outlook(at + 40, progress)
    assert (outlook.state, outlook.seconds, outlook.high) == ("stalled", None, None)
    assert outlook.stalled == pytest.approx(40)
    advance(progress, MIB)
    trend.sample(at + 41, progress)
    assert trend.outlook(at + 41, progress).state == "eta"


def test_parts_that_come_seldom_are_no_standstill() -> None:
    trend, progress = Trend(), copying(1, 1000 * MIB)
    trend.sample(0.0, progress)
    for second in range(1, 300):
        if second % 30 == 0:
            advance(progress, 8 * MIB)
        trend.sample(float(second), progress)
        assert trend.outlook(float(second), progress).state != "stalled"
    assert STALL_SECONDS < 29


def test_a_first_part_that_never_comes_is_a_standstill() -> None:
    trend, progress = Trend(), copying(1, 1000 * MIB)
    for second in range(int(FIRST_SECONDS) + 2):
        trend.sample(float(second), progress)
    assert trend.outlook(FIRST_SECONDS + 1, progress).stalled == pytest.approx(FIRST_SECONDS + 1)


def test_what_comes_in_is_what_a_listing_has_more_than_the_one_before_left() -> None:
    trend = Trend(follows=True)
    trend.ended(100.0, ended(1000, seconds=100.0, left=10))  # began at 0, ten failed
    assert trend.ingest() is None
    trend.ended(160.0, ended(130, seconds=10.0, left=10))  # began at 150: 120 are new, 10 are those that failed
    rate = trend.ingest()
    assert rate is not None
    assert rate.objects == pytest.approx(120 / 150)
    assert rate.bytes == pytest.approx(120 / 150 * MIB)


def followed(copy: float, coming: float) -> tuple[Trend, Progress, float]:
    """Two rounds, then one in progress: MiB a second copied and coming in, in objects of 1 MiB."""
    trend = Trend(follows=True)
    trend.ended(100.0, ended(1000, seconds=100.0))
    trend.ended(210.0, ended(int(coming * 200), seconds=10.0))
    progress = copying(10_000, 10_000 * MIB, began=300.0)
    progress.found_objects = int(coming * 100)
    progress.found_bytes = progress.found_objects * MIB
    at = run(trend, progress, 70, int(copy * MIB), at=310.0, objects=int(copy))
    return trend, progress, at


def test_never_where_as_much_comes_in_as_is_copied() -> None:
    trend, progress, at = followed(10, 12)
    outlook = trend.outlook(at, progress)
    assert (outlook.state, outlook.seconds, outlook.low, outlook.high) == ("never", None, None, None)


def test_what_comes_in_meanwhile_is_in_the_eta_of_who_follows_and_not_of_one_round() -> None:
    trend, progress, at = followed(10, 5)
    followed_eta = trend.outlook(at, progress).seconds
    trend.follows = False
    once = trend.outlook(at, progress).seconds
    assert followed_eta is not None
    assert once is not None
    assert followed_eta == pytest.approx(2 * once, rel=0.02)


def test_the_trend_of_the_lag_is_that_of_the_last_rounds() -> None:
    def trend_of(*found: int) -> str | None:
        trend = Trend(follows=True)
        for i, count in enumerate(found, 1):
            trend.ended(100.0 * i, ended(count, seconds=10.0))
        return trend.lag_trend()

    assert trend_of(50) is None
    assert trend_of(1000, 20) == "shrinking"
    assert trend_of(20, 21, 40) == "growing"
    assert trend_of(20, 21, 20) == "steady"
    assert trend_of(0, 0) == "steady"
    assert trend_of(0, 1) == "growing"


def test_a_round_that_broke_off_measures_what_comes_in_anew() -> None:
    trend = Trend(follows=True)
    trend.ended(100.0, ended(1000, seconds=100.0))
    trend.broke_off()
    trend.ended(200.0, ended(5, seconds=10.0))
    assert trend.ingest() is None


def test_the_slowest_are_those_longest_under_way() -> None:
    trend, progress = Trend(), copying(9, 90)
    for second, key in enumerate("abcdefg"):
        progress.active[key] = (0, 10)
        trend.sample(float(second), progress)
    progress.active["a"] = (7, 10)
    del progress.active["b"]
    slowest = trend.slowest(10.0, progress, 3)
    assert [(s.key, s.done, s.seconds) for s in slowest] == [("a", 7, 10.0), ("c", 0, 8.0), ("d", 0, 7.0)]


def test_a_short_round_between_two_samples_leaves_its_lag_and_rate() -> None:
    trend = Trend(follows=True)
    trend.ended(1.0, ended(8, seconds=0.5))
    assert [point.objects for point in trend.lags] == [8]
    rate = trend.rate()
    assert rate is not None
    assert rate.bytes == pytest.approx(8 * MIB / 0.25)


steps = st.lists(
    st.tuples(
        st.floats(0.01, 90.0), st.sampled_from(["copy", "idle", "finish", "fail", "list", "end", "break"]), st.integers(0, 64)
    ),
    max_size=80,
)


@given(steps, st.booleans())
def test_whatever_happens_no_figure_is_negative_or_said_without_being_known(
    what: list[tuple[float, str, int]], follows: bool
) -> None:
    trend, now = Trend(follows=follows), 0.0
    progress = copying(50, 50 * MIB)
    for seconds, event, amount in what:
        now += seconds
        if event == "copy":
            advance(progress, min(amount * MIB, progress.to_copy_bytes - progress.copied_bytes))
        elif event == "finish" and progress.left_objects:
            advance(progress, 0, 1)
        elif event == "fail" and progress.left_objects:
            progress.left_objects -= 1
            progress.failed_bytes += amount * MIB
        elif event == "list":
            progress = Progress(status="listing", began_at=now, rounds=progress.rounds)
        elif event == "end":
            trend.ended(now, ended(amount, seconds=seconds))
            progress = copying(amount, amount * MIB, began=now)
        elif event == "break":
            trend.broke_off()
        trend.sample(now, progress)
        outlook = trend.outlook(now, progress)
        figures = (outlook.low, outlook.seconds, outlook.high)
        assert (outlook.state == "eta") == (None not in figures)
        if outlook.state == "eta":
            low, middle, high = figures
            assert low is not None
            assert middle is not None
            assert high is not None
            assert 0 <= low <= middle <= high < math.inf
            assert progress.status == "copying"
        else:
            assert figures == (None, None, None)
        assert (outlook.stalled is not None) == (outlook.state == "stalled")
        for rate in (trend.rate(), trend.ingest()):
            assert rate is None or (rate.bytes >= 0 and rate.objects >= 0)
