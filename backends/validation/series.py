"""One metric of one run: values at places on an axis, each with its own time. NaN and infinities are kept as they are.

Two views of the same samples: the *log*, in order of time and bounded (triggers look at its windows), and the *places*
(epoch, step, samples) with the last value of each, since a restart from a checkpoint rewrites steps. A place is exact: 10
and 10.0 are one, 12256 and 12288 are two. On the axis `time` there are only samples, and equal times are not duplicates:
two requests may end in the same millisecond.
"""

from __future__ import annotations

import heapq
import math
import statistics
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from backends.plan.models import Axis

KEPT_LOG = 200_000
KEPT_PLACES = 200_000
_GAPS = 64  # the newest gaps that the period is learnt from


class Sample(NamedTuple):
    """`x` is the place on the axis (for `time`: the same as `time`), `time` unix seconds."""

    x: float
    time: float
    value: float


class Series:
    """Samples of one metric of one run. Memory is bounded, but for epochs: those are kept whole.

    `pinned` are places that are never forgotten (the points of gates). `newest_arrival` is when the newest sample came in,
    by our clock; `continuous_since` the time from which on there was no gap longer than `gap_limit`; `changes` grows with each change.
    """

    def __init__(self, by: Axis = "time", *, keep: int = KEPT_LOG, pinned: Iterable[float] = ()) -> None:
        self.by: Axis = by
        self.keep = keep
        self.pinned = frozenset(float(p) for p in pinned)
        self.shift: float | None = None  # added to each place; None: nobody has said how this side counts
        self.out_of_memory = ""  # a line of its log that says that memory ran out
        self.out_of_memory_at: float | None = None  # when it came in
        self.duplicates = 0
        self.changes = 0
        self.is_binary = True  # no value but 0 and 1 so far
        self.forgotten = 0  # samples that left the log because it is bounded
        self.newest_arrival: float | None = None
        self.continuous_since: float | None = None
        self._times = array("d")
        self._values = array("d")
        self._places: dict[float, float] = {}
        self._top: float | None = None
        self._gaps: array[float] = array("d")
        self._learnt = 0
        self._period: float | None = None
        self._long_gap: float | None = None

    def __len__(self) -> int:
        return len(self._times)

    @property
    def series(self) -> Series:
        """Itself: so that a series and a feed can be judged alike."""
        return self

    @property
    def error(self) -> str | None:
        """A series by itself has nothing that can fail."""
        return None

    def add(self, sample: Sample, *, arrived: float | None = None) -> None:
        """Take one more sample; `arrived` by our clock, default its own time."""
        self.changes += 1
        if self.is_binary and sample.value not in (0.0, 1.0):
            self.is_binary = not math.isfinite(sample.value)
        self._log(sample.time, sample.value)
        came = sample.time if arrived is None else arrived
        if self.newest_arrival is None or came > self.newest_arrival:
            self.newest_arrival = came
        if self.by == "time":
            return
        x = sample.x + (self.shift or 0.0)
        if x in self._places:
            self.duplicates += 1
        self._places[x] = sample.value
        if self._top is None or x > self._top:
            self._top = x
        if self.by != "epoch" and len(self._places) > KEPT_PLACES * 1.1:
            self._forget_places()

    def extend(self, samples: Iterable[Sample], *, arrived: float | None = None) -> None:
        """Take samples in their order in the source."""
        for sample in samples:
            self.add(sample, arrived=arrived)

    def clear(self) -> None:
        """Forget all: the source was cut or written anew from its beginning."""
        self.changes += 1
        self.is_binary = True
        self._times, self._values, self._gaps = array("d"), array("d"), array("d")
        self._places, self._top = {}, None
        self.continuous_since = None
        self._learnt, self._period, self._long_gap = 0, None, None

    def _log(self, time: float, value: float) -> None:
        times = self._times
        if not times:
            self.continuous_since = time
        elif time >= times[-1]:
            self._learn(time - times[-1], time)
        if not times or time >= times[-1]:
            times.append(time)
            self._values.append(value)
        else:
            place = bisect_right(times, time)
            times.insert(place, time)
            self._values.insert(place, value)
        if len(times) > self.keep * 1.1:
            cut = len(times) - self.keep
            self.forgotten += cut
            del times[:cut], self._values[:cut]

    def _learn(self, gap: float, time: float) -> None:
        if gap > self.gap_limit:
            self.continuous_since = time
        if gap <= 0:
            return
        self._gaps.append(gap)
        self._learnt += 1
        if self._learnt <= _GAPS // 4 or self._learnt % _GAPS == 0:
            del self._gaps[:-_GAPS]
            recent = sorted(self._gaps)
            self._period = statistics.median(recent)
            self._long_gap = recent[math.ceil(0.95 * len(recent)) - 1]

    def _forget_places(self) -> None:
        kept = sorted(self._places)[-KEPT_PLACES:]
        pinned = {p: self._places[p] for p in self.pinned if p in self._places}
        self._places = pinned | {x: self._places[x] for x in kept}

    @property
    def gap_limit(self) -> float:
        """A longer silence between two samples breaks a run of data, seconds."""
        period = self.period
        return max(60.0, 20 * period) if period is not None else math.inf

    @property
    def period(self) -> float | None:
        """The median gap between samples of late, seconds; None before two samples."""
        return self._period

    @property
    def long_gap(self) -> float | None:
        """The gap that one in twenty exceeds: requests come irregularly."""
        return self._long_gap

    def age(self, now: float) -> float | None:
        """Seconds since the newest sample came; None without any."""
        return None if self.newest_arrival is None else max(0.0, now - self.newest_arrival)

    def silent_after(self, floor: float) -> float:
        """The age from which on this series is silent: twice its period, for irregular ones more, never below `floor`."""
        return max(floor, 2 * (self.period or 0.0), 2 * (self.long_gap or 0.0))

    def newest(self) -> Sample | None:
        """The sample of the latest time."""
        if not self._times:
            return None
        x = self._times[-1] if self._top is None else self._top
        return Sample(x, self._times[-1], self._values[-1])

    @property
    def oldest_time(self) -> float | None:
        """The time of the oldest sample still in the log."""
        return self._times[0] if self._times else None

    def window(self, start: float, end: float) -> list[float]:
        """Values of the log with start < time <= end, in order of time."""
        return list(self._values[bisect_right(self._times, start) : bisect_right(self._times, end)])

    def last(self, count: int, *, since: float = -math.inf, until: float = math.inf) -> list[float]:
        """The last `count` values of the log with since < time <= until."""
        first, end = bisect_right(self._times, since), bisect_right(self._times, until)
        return list(self._values[max(first, end - count) : end])

    def at(self, x: float) -> float | None:
        """The value at exactly this place, the last one written; None where there is none."""
        if self.by != "time":
            return self._places.get(x)
        place = bisect_right(self._times, x)
        return self._values[place - 1] if place and self._times[place - 1] == x else None

    @property
    def top(self) -> float | None:
        """How far this side has come on the axis."""
        if self.by == "time":
            return self._times[-1] if self._times else None
        return self._top

    def points(self) -> list[tuple[float, float]]:
        """(place, value) in order of place, one a place."""
        places = dict(zip(self._times, self._values, strict=True)) if self.by == "time" else self._places
        return sorted(places.items())

    def newest_points(self, count: int) -> list[tuple[float, float]]:
        """The last `count` (place, value) in order of place; by time every sample counts."""
        if self.by == "time":
            return list(zip(self._times[-count:], self._values[-count:], strict=True))
        return sorted(self._places.items())[-count:]

    def latest_common(self, other: Series, count: int) -> list[float]:
        """The highest places, at most `count`, that the other series has too; rising."""
        found: list[float] = []
        for x in reversed(self._rising()):
            if len(found) == count:
                break
            if other.at(x) is not None:
                found.append(x)
        return found[::-1]

    def _rising(self) -> Sequence[float]:
        return self._times if self.by == "time" else sorted(self._places)

    def places(self) -> set[float]:
        """Every place that has a value."""
        return set(self._times) if self.by == "time" else set(self._places)

    def bad_places(self) -> list[float]:
        """Places whose (last) value is NaN or infinite."""
        if self.by == "time":
            return [x for x, value in self.points() if not math.isfinite(value)]
        return sorted(x for x, value in self._places.items() if not math.isfinite(value))

    def first_places(self, count: int) -> list[float]:
        """The lowest places, in order."""
        return heapq.nsmallest(count, set(self._times) if self.by == "time" else self._places)

    def extremes(self) -> tuple[float, float]:
        """(lowest, highest) of the finite values; (inf, -inf) where there are none."""
        values = self._values if self.by == "time" else self._places.values()
        finite = [v for v in values if math.isfinite(v)]
        return min(finite, default=math.inf), max(finite, default=-math.inf)

    def nearest(self, x: float) -> tuple[float | None, float | None]:
        """The places just below and just above `x`."""
        xs = [p for p, _ in self.points()]
        left, right = bisect_left(xs, x), bisect_right(xs, x)
        return (xs[left - 1] if left else None, xs[right] if right < len(xs) else None)


def thinned(points: list[tuple[float, float]], count: int = 200) -> tuple[tuple[float, float], ...]:
    """At most `count` of the points for drawing: of each stretch the lowest and the highest, so that no spike is lost."""
    if len(points) <= count:
        return tuple(points)
    out: list[tuple[float, float]] = []
    stretches = count // 2
    for i in range(stretches):
        part = points[i * len(points) // stretches : (i + 1) * len(points) // stretches]
        odd = [p for p in part if not math.isfinite(p[1])]
        low, high = min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])
        out.extend(sorted({odd[0], high} if odd else {low, high}))
    return tuple(out)
