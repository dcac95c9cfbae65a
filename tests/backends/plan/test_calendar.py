"""No-change periods: weekly and dated, over summer time, and what they refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.cutover.forward import Move, next_move
from backends.cutover.migration import RunFold
from backends.cutover.rules import Refusal, refusal_of
from backends.cutover.steps.weight import SetWeight
from backends.plan.calendar import DAYS, next_no_changes, no_changes_now
from backends.plan.models import NoChanges
from backends.snapshot import Phase, SoakView, State
from tests.backends.cutover.model_world import ModelWorld, plan_of

WEEKEND = {"from": "Fri 16:00", "to": "Mon 08:00", "zone": "Europe/Berlin"}
SOAKED = {name: SoakView(elapsed=100.0, at_least=5.0) for name in ("chat", "jobs")}
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo"])
WALL = st.tuples(st.sampled_from(DAYS), st.integers(0, 23), st.integers(0, 59)).map(lambda t: f"{t[0]} {t[1]:02}:{t[2]:02}")
NOW = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


def period(from_: str, to: str, zone: str = "UTC") -> tuple[NoChanges, ...]:
    return (NoChanges.model_validate({"from": from_, "to": to, "zone": zone}),)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-12-04 14:59", None),
        ("2026-12-04 15:00", "2026-12-07 07:00"),
        ("2026-12-07 06:59", "2026-12-07 07:00"),
        ("2026-12-07 07:00", None),
        ("2026-07-03 14:00", "2026-07-06 06:00"),  # in summer the zone is two hours ahead
        ("2026-03-29 12:00", "2026-03-30 06:00"),  # the clocks went forward in the night before
        ("2026-10-25 12:00", "2026-10-26 07:00"),  # and back
    ],
)
def test_a_weekend_in_berlin_begins_and_ends_by_berlins_clock(now: str, end: str | None) -> None:
    span = no_changes_now(period(**{"from_": "Fri 16:00", "to": "Mon 08:00", "zone": "Europe/Berlin"}), utc(now))
    assert (span.end if span else None) == (utc(end) if end else None)


def test_a_wall_time_that_is_skipped_is_the_moment_of_the_change() -> None:
    span = no_changes_now(period("2026-03-29 02:30", "2026-03-29 05:00", "Europe/Berlin"), utc("2026-03-29 01:00"))
    assert span is not None
    assert span.start == utc("2026-03-29 01:00")


def test_a_wall_time_that_comes_twice_begins_at_its_first_and_ends_at_its_second() -> None:
    begins = no_changes_now(period("2026-10-25 02:30", "2026-10-25 06:00", "Europe/Berlin"), utc("2026-10-25 00:30"))
    ends = no_changes_now(period("2026-10-24 02:30", "2026-10-25 02:30", "Europe/Berlin"), utc("2026-10-25 01:29"))
    assert begins is not None
    assert ends is not None
    assert begins.start == utc("2026-10-25 00:30")
    assert ends.end == utc("2026-10-25 01:30")


def test_of_several_that_hold_the_one_that_ends_last_is_told() -> None:
    several = (*period("2026-12-24 00:00", "2026-12-27 00:00"), *period("2026-12-25 00:00", "2027-01-02 00:00"))
    span = no_changes_now(several, utc("2026-12-25 12:00"))
    assert span is not None
    assert span.end == utc("2027-01-02 00:00")
    assert no_changes_now(several, utc("2027-01-02 00:00")) is None


def test_a_span_that_ends_at_its_own_beginning_is_the_whole_week() -> None:
    whole = period("Wed 12:00", "Wed 12:00")
    assert no_changes_now(whole, utc("2026-12-02 12:00")) is not None
    assert no_changes_now(whole, utc("2026-12-02 11:59")) is not None


@given(WALL, WALL, ZONES, NOW)
def test_whoever_is_inside_by_the_walls_own_clock_is_inside(start: str, end: str, zone: str, now: datetime) -> None:
    """An oracle of another kind: minutes of the wall's week, away from the hours in which clocks change."""
    here = now.astimezone(ZoneInfo(zone))
    steady = all((now + timedelta(days=d)).astimezone(ZoneInfo(zone)).utcoffset() == here.utcoffset() for d in (-8, 8))
    minute = here.weekday() * 1440 + here.hour * 60 + here.minute

    def of(text: str) -> int:
        return DAYS.index(text[:3]) * 1440 + int(text[4:6]) * 60 + int(text[7:9])

    begin, length = of(start), (of(end) - of(start)) % 10080 or 10080
    if steady:
        inside = (minute - begin) % 10080 < length
        assert (no_changes_now(period(start, end, zone), now) is not None) == inside


@given(WALL, WALL, ZONES, NOW)
def test_a_span_ends_after_it_begins_and_at_its_end_it_is_over(start: str, end: str, zone: str, now: datetime) -> None:
    spans = period(start, end, zone)
    span = no_changes_now(spans, now) or next_no_changes(spans, now)
    assert span is not None
    assert span.start < span.end <= span.start + timedelta(days=7, hours=2)
    assert no_changes_now(spans, span.start) is not None
    after = no_changes_now(spans, span.end)
    assert after is None or after.start >= span.end - timedelta(hours=2)  # the next one may follow at once
    wall = span.end.astimezone(ZoneInfo(zone)).strftime("%a %H:%M")
    assert wall == end or span.end.astimezone(ZoneInfo(zone)).strftime("%H:%M") > end[4:]


def frozen(state: State, **weights: int) -> ModelWorld:
    made = ModelWorld(plan_of(windows={"dual": "20s", "retire": "20s", "spacing": "2s", "no_changes": WEEKEND}))
    made.migration.state, made.migration.phase = state, Phase.CUTOVER
    for name, weight in weights.items():
        held = made.migration.route(name)
        held.confirmed = held.desired = weight
    made.wall = utc("2026-12-05 12:00")
    return made


def said(made: ModelWorld) -> Move | Refusal:
    return next_move(made, (), SOAKED)


@pytest.mark.parametrize("state", [State.ARMED, State.SOAKING, State.DUAL, State.COMMITTED, State.RETIRING])
def test_in_it_nothing_moves_forward_and_it_is_said_when_it_ends(state: State) -> None:
    refused = said(frozen(state, chat=50))
    assert isinstance(refused, Refusal)
    assert refused.rule == "NO_CHANGES"
    assert refused.reason == "no changes: Fri 16:00 to Mon 08:00 Europe/Berlin"
    assert refused.would_allow == "its end, 2026-12-07 07:00 UTC"


def test_in_it_a_rollback_goes_and_preparing_goes_on() -> None:
    made = frozen(State.SOAKING, chat=50)
    assert refusal_of(SetWeight("chat", 0, direction="backward"), made) is None
    assert refusal_of(SetWeight("chat", 100, direction="safety"), made) is None
    forward = refusal_of(SetWeight("chat", 100), made)
    assert forward is not None
    assert forward.rule == "NO_CHANGES"
    made = frozen(State.PREPARING)
    made.migration.phase = Phase.TESTING
    assert isinstance(said(made), Move)


def test_a_run_that_began_before_it_is_not_cut_in_two() -> None:
    made = frozen(State.SHIFTING, chat=50)
    began: Any = {"started_at": utc("2026-12-04 14:59")}
    made.migration.run = RunFold("r", "advance", "", "", "test", steps=[], status=[], detail=[], took=[], **began)
    assert refusal_of(SetWeight("chat", 100), made) is None
    made.migration.run.started_at = utc("2026-12-04 15:01")
    late = refusal_of(SetWeight("chat", 100), made)
    assert late is not None
    assert late.rule == "NO_CHANGES"


def test_outside_of_it_all_is_as_without_it() -> None:
    made = frozen(State.ARMED)
    made.wall = utc("2026-12-08 12:00")
    assert isinstance(said(made), Move)
