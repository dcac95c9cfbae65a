"""How a dataset's rounds move, from what is seen of them now and then: the rate, the lag from round to round, when nothing will be
missing.

Pure: instants are given by the caller, seconds of `time.monotonic()`. One `Trend` watches one dataset in one direction over all its
rounds, `sample` about once a second, `ended` after each round.

Time to go is reckoned in work: bytes, and `OBJECT_COST` more for each object, since small objects cost their requests (facts,
section 1: 5,000 small objects take as long as 1.6 GB). What comes in on the source meanwhile is work too: lag reaches zero after
left / (copied a second - coming in a second), and never where as much comes in as is copied. Nothing is said where it is not known:
while a side is still being listed, in the first seconds, and when nothing moves.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

from backends.transfer.models import Progress, RoundResult
from backends.transfer.standing import Standing

OBJECT_COST = 256 << 10  # bytes
RATE_SECONDS = 60.0  # a rate is over the last minute of copying
MEASURE_SECONDS = 3.0  # shorter measures no rate
STALL_SECONDS = 15.0
STALL_GAPS = 3.0  # so many times the longest pause between two steps of late is a stall: large parts on slow lines come seldom
FIRST_SECONDS = 60.0  # until the first step is seen nobody knows how long one takes
_WINDOWS = (15.0, RATE_SECONDS, 600.0)
_SAMPLE_SECONDS = 1.0
_EARLY_SECONDS = 30.0
_ROUNDS = 5  # that an ingest rate is taken over
_KEPT_LAGS = 60
_STEADY = 0.1

EtaState = Literal["none", "listing", "measuring", "stalled", "never", "eta"]
LagTrend = Literal["shrinking", "steady", "growing"]


class Rate(NamedTuple):
    """A second's worth. `work` is bytes and what the objects cost besides."""

    bytes: float
    objects: float

    @property
    def work(self) -> float:
        return self.bytes + self.objects * OBJECT_COST


class LagPoint(NamedTuple):
    """What the other side lacked when a round's listings had ended; the round began at `at`."""

    at: float
    objects: int
    bytes: int
    seconds: float  # age of the oldest


class Slow(NamedTuple):
    """An object under way for `seconds`."""

    key: str
    done: int
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """When nothing of the listed will be missing, with what comes in meanwhile where that is known. Seconds."""

    state: EtaState
    low: float | None = None
    seconds: float | None = None
    high: float | None = None
    stalled: float | None = None  # since when nothing has moved


class _Step(NamedTuple):
    """What was done so far, `at` seconds of copying."""

    at: float
    bytes: int
    objects: int


class _Found(NamedTuple):
    """One round's lag, and what of it was still there at its end: the next round finds that again."""

    point: LagPoint
    left_objects: int
    left_bytes: int


class Trend:
    """Watches one dataset. With `follows`, rounds go on and what comes in meanwhile counts; else each round is for itself.

    `is_complete`: all of it was there before this process.
    """

    def __init__(self, *, follows: bool = False, is_complete: bool = False) -> None:
        self.follows = follows
        self.standing = Standing(is_complete=is_complete)
        self._steps: deque[_Step] = deque()
        self._clock = 0.0  # seconds of copying
        self._total = _Step(0.0, 0, 0)
        self._seen: tuple[int, int, int] | None = None  # round, bytes, objects at the last sample of it
        self._seen_at = 0.0
        self._moved_at: float | None = None  # when something moved last in this round; None before
        self._copying_since: float | None = None
        self._gaps: deque[float] = deque(maxlen=16)
        self._begun: dict[str, float] = {}
        self._lags: deque[LagPoint] = deque(maxlen=_KEPT_LAGS)
        self._open: LagPoint | None = None  # of the round in progress, once its listings have ended
        self._ended: deque[_Found] = deque(maxlen=_ROUNDS + 1)
        self._round_rate: Rate | None = None  # of the last round that copied

    # what is seen

    def sample(self, now: float, progress: Progress) -> None:
        """Look at a round in progress."""
        self.standing.look(progress)
        begun = self._begun
        self._begun = {key: begun.get(key, now) for key in progress.active}
        if progress.status != "copying" or not progress.is_listed:
            self._copying_since = None
            return
        if self._open is None and not progress.only_failed:
            found = progress.found_objects, progress.found_bytes, progress.found_seconds
            self._take_lag(LagPoint(progress.began_at, *found))
        done = (progress.rounds, progress.copied_bytes, progress.to_copy_objects + progress.to_compare - progress.left_objects)
        if self._seen is None or self._copying_since is None or done[0] != self._seen[0] or done[1] < self._seen[1]:
            self._seen, self._seen_at, self._copying_since, self._moved_at = done, now, now, None
            self._note(_Step(self._clock, self._total.bytes, self._total.objects))
            return
        self._clock += max(0.0, now - self._seen_at)
        bytes_, objects = done[1] - self._seen[1], max(0, done[2] - self._seen[2])
        if bytes_ or objects:
            self._gaps.append(now - (self._moved_at if self._moved_at is not None else self._copying_since))
            self._moved_at = now
        self._seen, self._seen_at = done, now
        self._note(_Step(self._clock, self._total.bytes + bytes_, self._total.objects + objects))

    def _note(self, total: _Step) -> None:
        self._total = total
        if not self._steps or total.at - self._steps[-1].at >= _SAMPLE_SECONDS:
            self._steps.append(total)
        while total.at - self._steps[0].at > _WINDOWS[-1]:
            self._steps.popleft()

    def _take_lag(self, point: LagPoint) -> None:
        self._open = point
        self._lags.append(point)

    def ended(self, now: float, result: RoundResult) -> None:
        """A round has ended, sampled or not."""
        self.standing.ended(result)
        if result.only_failed:
            self._close()
            return
        if self._open is None:
            began = now - result.seconds
            self._take_lag(LagPoint(began, result.found_objects, result.found_bytes, result.found_seconds))
        assert self._open is not None
        self._ended.append(_Found(self._open, result.lag_objects, result.lag_bytes))
        self._close()
        seconds = result.seconds - result.listing_seconds
        if result.copied and seconds > 0 and not result.dry_run:
            self._round_rate = Rate(result.bytes / seconds, result.copied / seconds)

    def broke_off(self) -> None:
        """A round has ended without a result: how much of it was copied is not known, so what comes in is measured anew."""
        self._ended.clear()
        self.standing.broke_off()
        self._close()

    def _close(self) -> None:
        self._open = self._copying_since = self._moved_at = None
        self._begun = {}

    # what follows from it

    def rate(self) -> Rate | None:
        """Over the last minute of copying; None while that is not known."""
        return self._rate_over(RATE_SECONDS)

    def _rate_over(self, seconds: float) -> Rate | None:
        first = next((step for step in self._steps if self._total.at - step.at <= seconds), None)
        if first is None or self._total.at - first.at < MEASURE_SECONDS:
            return self._round_rate
        passed = self._total.at - first.at
        return Rate((self._total.bytes - first.bytes) / passed, (self._total.objects - first.objects) / passed)

    def ingest(self) -> Rate | None:
        """What comes in on the source: new in a round's listing against the one before. None before the second listing."""
        rounds = [*self._ended]
        points = [found.point for found in rounds] + ([self._open] if self._open is not None else [])
        if len(points) < 2 or points[-1].at <= points[0].at:
            return None
        new_objects = new_bytes = 0
        for before, point in zip(rounds, points[1:], strict=False):
            new_objects += max(0, point.objects - before.left_objects)
            new_bytes += max(0, point.bytes - before.left_bytes)
        passed = points[-1].at - points[0].at
        return Rate(new_bytes / passed, new_objects / passed)

    def left(self) -> tuple[int, int] | None:
        """Objects and bytes that the last round left missing; None before one has ended."""
        return (self._ended[-1].left_objects, self._ended[-1].left_bytes) if self._ended else None

    def is_outrun(self) -> bool:
        """As much comes in as is copied: at these rates the lag is never zero."""
        rate, coming = self.rate(), self.ingest()
        return rate is not None and coming is not None and 0 < rate.work <= coming.work

    @property
    def lags(self) -> tuple[LagPoint, ...]:
        """What each of the last rounds found missing, the oldest first."""
        return tuple(self._lags)

    def lag_trend(self) -> LagTrend | None:
        """The last round's lag against those shortly before it; None before the second round."""
        if len(self._lags) < 2:
            return None
        lags = [point.bytes + point.objects * OBJECT_COST for point in self._lags]
        last, before = lags[-1], sum(lags[-4:-1]) / len(lags[-4:-1])
        if abs(last - before) <= _STEADY * before:
            return "steady"
        return "growing" if last > before else "shrinking"

    def slowest(self, now: float, progress: Progress, count: int = 5) -> list[Slow]:
        """The objects that are longest under way."""
        found = [
            Slow(key, min(done, size), size, now - self._begun.get(key, now)) for key, (done, size) in progress.active.items()
        ]
        return sorted(found, key=lambda slow: -slow.seconds)[:count]

    def stalled(self, now: float) -> float | None:
        """Seconds since anything moved, where that is longer than it may be."""
        if self._copying_since is None:
            return None
        idle = now - (self._copying_since if self._moved_at is None else self._moved_at)
        if not self._gaps:
            return idle if idle > FIRST_SECONDS else None
        return idle if idle > max(STALL_SECONDS, STALL_GAPS * max(self._gaps)) else None

    def outlook(self, now: float, progress: Progress) -> Outlook:
        """When nothing will be missing."""
        if progress.status in ("listing", "verifying") or (progress.status == "copying" and not progress.is_listed):
            return Outlook("listing")
        if progress.status != "copying" or progress.left_objects <= 0:
            return Outlook("none")
        if (idle := self.stalled(now)) is not None:
            return Outlook("stalled", stalled=idle)
        rate, coming = self.rate(), self.ingest() if self.follows else None
        if rate is None or rate.work <= 0:
            return Outlook("measuring")
        coming_in = coming.work if coming is not None else 0.0
        if coming_in >= rate.work:
            return Outlook("never")
        left = left_bytes(progress) + progress.left_objects * OBJECT_COST
        net = rate.work - coming_in
        slow, fast = self._extremes(rate)
        # A slow spell below what comes in is no "never" by itself: its end is put at four times the middle.
        low, high = left / (fast - coming_in), left / max(slow - coming_in, net / 4)
        return Outlook("eta", low, left / net, high)

    def _extremes(self, rate: Rate) -> tuple[float, float]:
        """Work a second, the slowest and fastest of the last 15 seconds, the last minute and the last ten minutes, and a margin."""
        seen = [r.work for seconds in _WINDOWS if (r := self._rate_over(seconds)) is not None and r.work > 0] or [rate.work]
        margin = 1.1 if self._clock >= _EARLY_SECONDS else 1.3
        return min(*seen, rate.work) / margin, max(*seen, rate.work) * margin


def left_bytes(progress: Progress) -> int:
    """What this round has still to send."""
    return max(0, progress.to_copy_bytes - progress.copied_bytes - progress.failed_bytes)
