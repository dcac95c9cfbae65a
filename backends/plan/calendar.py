"""No-change periods: the spans of the wall clock in which nothing moves forward, with their time zone's own midnight and summer time.

A weekly span (`Fri 16:00` to `Mon 08:00`) comes back each week, a dated one once. A wall time that a zone skips in spring counts from the
moment at which the clocks have gone forward; one that comes twice in autumn begins a span at its first and ends it at its second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from backends.plan.models import NoChanges

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEKLY = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch without changes, in UTC; its end is the first moment after it."""

    start: datetime
    end: datetime
    text: str


def no_changes_now(periods: tuple[NoChanges, ...], now: datetime) -> Span | None:
    """The span that holds at `now` (UTC), of several the one that ends last; None where changes may be made."""
    held = [s for p in periods for s in _spans(p, now) if s.start <= now < s.end]
    return max(held, key=lambda s: s.end, default=None)


def next_no_changes(periods: tuple[NoChanges, ...], now: datetime) -> Span | None:
    """The span that begins next after `now`; None where none does."""
    return min((s for p in periods for s in _spans(p, now) if s.start > now), key=lambda s: s.start, default=None)


def is_free(periods: tuple[NoChanges, ...], day: date) -> bool:
    """May anything be changed on that day (UTC), if only for an hour?"""
    now = datetime.combine(day, time(), UTC)
    ends = now + timedelta(days=1)
    while now < ends:
        span = no_changes_now(periods, now)
        if span is None:
            return True
        now = span.end
    return False


def weekly(text: str) -> tuple[int, time] | None:
    """`Fri 16:00` as day of the week (0: Monday) and time; None where it is not of this form."""
    match = _WEEKLY.fullmatch(text)
    return (DAYS.index(match[1]), time(int(match[2]), int(match[3]))) if match else None


def _spans(period: NoChanges, now: datetime) -> list[Span]:
    """The spans of a period around `now`: of a weekly one those of the week before, this week and the next."""
    zone = ZoneInfo(period.zone)
    text = f"{period.from_} to {period.to} {period.zone}"
    start, end = weekly(period.from_), weekly(period.to)
    if start is None or end is None:
        return [Span(_instant(_dated(period.from_), zone, fold=0), _instant(_dated(period.to), zone, fold=1), text)]
    here = now.astimezone(zone).date()
    monday = here - timedelta(days=here.weekday())
    length = (end[0] - start[0]) % 7
    if length == 0 and end[1] <= start[1]:
        length = 7
    out = []
    for week in (-2, -1, 0, 1):
        first = monday + timedelta(weeks=week, days=start[0])
        last = first + timedelta(days=length)
        begin = _instant(datetime.combine(first, start[1]), zone, fold=0)
        out.append(Span(begin, _instant(datetime.combine(last, end[1]), zone, fold=1), text))
    return out


def _dated(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _instant(wall: datetime, zone: ZoneInfo, *, fold: int) -> datetime:
    """A wall time of a zone in UTC. One that is skipped is the moment of the change: the first that is not before it on the clock."""
    found = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    back = found.astimezone(zone).replace(tzinfo=None, fold=0)
    if back == wall.replace(fold=0):
        return found
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    late = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    low, high = min(early, late), max(early, late)
    before, after = 0, int((high - low).total_seconds())  # the change, on a whole second, lies between
    while after - before > 1:
        middle = (before + after) // 2
        if (low + timedelta(seconds=middle)).astimezone(zone).replace(tzinfo=None, fold=0) < wall.replace(fold=0):
            before = middle
        else:
            after = middle
    return low + timedelta(seconds=after)
