"""What a trigger is asked and what it answers: the same for every kind of measure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from backends.plan.models import Measure, Trigger
from backends.validation.measured import Measured, span
from backends.verdict import Verdict

Unit = Literal["fraction", "seconds", "count", "value"]
LEGACY_NOW, BASELINE, ABSOLUTE = "legacy now", "baseline", "absolute limit"
SILENCE_FLOOR = 5.0  # seconds; a younger sample is never silence
DEFAULT_WORSE_BY = {"loss": 0.01, "step_time": 0.10, "throughput": 0.10, "latency": 0.25, "memory": 0.10, "value": 0.10}
DEFAULT_ERROR_RATE = 0.001
REMEMBERED = 1000  # of legacy's last requests, when it gets no more


@dataclass(frozen=True, slots=True)
class TriggerResult:
    """What a trigger says. `value` and `limit` in `unit`; `waiting`: too young, data flow; `silent`: no data come."""

    verdict: Verdict
    value: float | None
    limit: float | None
    unit: Unit
    reason: str
    compared_with: str = ""
    fast: bool = False
    age: float | None = None
    waiting: bool = False
    silent: bool = False
    too_good: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """All that a trigger is judged by. `baseline` is legacy's recorded figure, `absolute` the limit of realtime latency
    in the measure's own unit; `legacy_exposed` says whether legacy should be sending figures (None: not known)."""

    spec: Trigger
    measure: Measure
    legacy: Measured
    target: Measured
    short: float
    long: float
    since: float
    now: float
    baseline: float | None = None
    absolute: float | None = None
    legacy_exposed: bool | None = None

    @property
    def filled(self) -> bool:
        """Has the long window been seen whole since this weight began?"""
        return self.now - self.since >= self.long

    @property
    def floor(self) -> float:
        """No younger sample counts as silence."""
        return max(SILENCE_FLOOR, self.short)

    def stretches(self, seconds: float, count: int, before: float = 0.0) -> list[tuple[float, float]]:
        """The `seconds` that ended `before` seconds ago, cut into `count` equal ones, the oldest first; none from before `since`."""
        start, width = self.now - before - seconds, seconds / count
        return list(pairwise(max(self.since, start + i * width) for i in range(count + 1)))

    def window(self, side: Measured, seconds: float) -> list[float]:
        """A side's values of the last `seconds`, none from before `since`."""
        return side.series.window(max(self.since, self.now - seconds), float("inf"))


def limit_of(q: Question) -> tuple[float, Unit]:
    """The limit that is shown, and its unit: `above` is in the unit of the log, all else a fraction."""
    if q.measure.kind == "error_rate":
        return (q.spec.above if q.spec.above is not None else DEFAULT_ERROR_RATE), "fraction"
    if q.spec.above is not None and q.spec.worse_by is None:
        return q.spec.above, "value"
    return worse_by(q), "fraction"


def worse_by(q: Question) -> float:
    """By how much the target may be worse than legacy, a fraction."""
    return q.spec.worse_by if q.spec.worse_by is not None else DEFAULT_WORSE_BY[q.measure.kind]


def waiting(q: Question, value: float | None, compared_with: str, why: str = "") -> TriggerResult:
    """Too young to say: data flow, the windows are not full."""
    limit, unit = limit_of(q)
    seen = max(0.0, q.now - q.since)
    reason = why or f"window {span(seen)} of {span(q.long)}"
    return TriggerResult(Verdict.INCONCLUSIVE, value, limit, unit, reason, compared_with, waiting=True)


def no_samples(q: Question) -> str:
    """Why the long window of a side that is fresh is empty."""
    newest = q.target.series.newest()
    if newest is not None and abs(q.now - newest.time) > q.long:
        return f"fresh lines carry times {span(abs(q.now - newest.time))} away from ours: is that host's clock right?"
    return f"no requests in {span(q.long)}"
