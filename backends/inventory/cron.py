"""How often a schedule of cron comes round: five fields (minute, hour, day, month, weekday), or one of the names such as @daily.

As cron does it a day counts where the day of the month or the weekday fits, if both are restricted (crontab(5)).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

_NAMED = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
          "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *"}  # fmt: skip
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_PART = re.compile(r"(?:\*|([a-z0-9]{1,3})(?:-([a-z0-9]{1,3}))?)(?:/(\d{1,3}))?")
_FROM = date(2025, 1, 1)  # the days that are looked at: three years, a leap day in them
_LOOKED_AT = 3 * 366


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds between two runs: the least and the most."""

    least: float
    most: float


def rhythm_of(schedule: str) -> Rhythm | None:
    """None for what is no schedule, and for one that comes round less than twice in three years."""
    fields = _NAMED.get(schedule.strip().lower(), schedule).lower().split()
    if len(fields) != 5:
        return None
    sets = [_values(text, i) for i, text in enumerate(fields)]
    if any(not found for found in sets):
        return None
    minutes, hours, days, months, weekdays = (found or set() for found in sets)
    weekdays = {day % 7 for day in weekdays}
    times = sorted(hour * 3600 + minute * 60 for hour in hours for minute in minutes)
    either = fields[2] != "*" and fields[4] != "*"
    gaps = {b - a for a, b in itertools.pairwise(times)}
    last: int | None = None
    for at in _days(days, months, weekdays, either):
        if last is not None:
            gaps.add((at - last) * 86400 - times[-1] + times[0])
        last = at
    return Rhythm(float(min(gaps)), float(max(gaps))) if last is not None and gaps else None


def _days(days: set[int], months: set[int], weekdays: set[int], either: bool) -> Iterator[int]:
    for number in range(_LOOKED_AT):
        day = _FROM + timedelta(days=number)
        by_day, by_weekday = day.day in days, day.isoweekday() % 7 in weekdays
        if day.month in months and ((by_day or by_weekday) if either else (by_day and by_weekday)):
            yield number


def _values(text: str, field: int) -> set[int] | None:
    """The numbers that a field names; None where it is no field."""
    low, high = _BOUNDS[field]
    out: set[int] = set()
    for part in text.split(","):
        found = _PART.fullmatch("*" + part[1:] if part[:1] == "?" else part)
        if found is None:
            return None
        step = int(found[3] or 1)
        first, last = _number(found[1], field, low), _number(found[2] or found[1], field, high)
        if first is None or last is None or not (low <= first <= high and low <= last <= high) or not step or first > last:
            return None
        out |= set(range(first, (high if found[3] and not found[2] else last) + 1, step))
    return out


def _number(text: str | None, field: int, other: int) -> int | None:
    if text is None:
        return other
    if text.isdigit():
        return int(text)
    names, first = {3: (_MONTHS, 1), 4: (_DAYS, 0)}.get(field, ((), 0))
    return names.index(text) + first if text in names else None
