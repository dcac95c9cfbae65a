"""The trigger on latency: the chosen quantile against legacy's, and against an absolute limit. The rule is in latency_rule.py."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

from backends.validation.compare import number, percent
from backends.validation.error_rule import HISTORY, LEAST_REQUESTS, Call, Rate
from backends.validation.latency_rule import Called, LatencyRule, Times
from backends.validation.measured import Measured, finite
from backends.validation.question import (
    ABSOLUTE,
    BASELINE,
    LEGACY_NOW,
    REMEMBERED,
    Question,
    TriggerResult,
    limit_of,
    no_samples,
    waiting,
    worse_by,
)
from backends.validation.stats import quantile
from backends.validation.wording import figure
from backends.verdict import Verdict

FAST_LATENCY = 4.0  # times the allowed slowdown
REMEMBERED_HOUR = 20_000  # requests of the last hour, where that has more than `REMEMBERED`
BEYOND_QUANTILE = 10  # values that must lie beyond a quantile for it to be known at all


class _Now:
    """One side's times at this weight, as the rule asks for them."""

    def __init__(self, q: Question, side: Measured) -> None:
        self._q, self._side = q, side
        self._sorted: dict[float, list[float]] = {}

    def ordered(self, seconds: float) -> list[float]:
        """The times of the last `seconds`, rising."""
        if seconds not in self._sorted:
            self._sorted[seconds] = _times(self._q.window(self._side, seconds))
        return self._sorted[seconds]

    def count(self, seconds: float) -> int:
        return len(self.ordered(seconds))

    def quantile(self, q: float, seconds: float) -> float:
        return quantile(self.ordered(seconds), q)

    def above(self, time: float, seconds: float) -> Rate:
        return _beyond(self.ordered(seconds), time)

    def parts(self, time: float, seconds: float, count: int, before: float = 0.0) -> list[Rate]:
        series = self._side.series
        return [_counted(series.window(*stretch), time) for stretch in self._q.stretches(seconds, count, before)]


class _Remembered:
    """Legacy's last times, from when it still had requests: they have no window, whichever is asked for."""

    def __init__(self, values: list[float]) -> None:
        self._values = values
        self._ordered = sorted(values)

    def count(self, seconds: float) -> int:
        return len(self._values)

    def quantile(self, q: float, seconds: float) -> float:
        return quantile(self._ordered, q)

    def above(self, time: float, seconds: float) -> Rate:
        return _beyond(self._ordered, time)

    def parts(self, time: float, seconds: float, count: int, before: float = 0.0) -> list[Rate]:
        width = max(1, len(self._values) // count)
        return [_counted(self._values[i : i + width], time) for i in range(0, len(self._values), width)]


class _Held(NamedTuple):
    """What the target is held against: times of legacy, a recorded figure, or nothing."""

    legacy: Times | float | None
    compared_with: str

    def quantile(self, q: float, seconds: float) -> float:
        """Legacy's, where there is anything."""
        if self.legacy is None or isinstance(self.legacy, float):
            return self.legacy or 0.0
        return self.legacy.quantile(q, seconds)


class _Latency:
    """One look."""

    def __init__(self, q: Question) -> None:
        self.q = q
        self.target, self.now = _Now(q, q.target), _Now(q, q.legacy)
        self.rule = LatencyRule(q.short, q.long, q.measure.quantile or 0.99)
        self.absolute = q.spec.above if q.spec.above is not None else q.absolute
        self.held = self._held(q.long)

    def _held(self, seconds: float) -> _Held:
        """Legacy as it is now where it had requests enough in the last `seconds`: one that has just given the last of them away is
        remembered."""
        if self.now.count(seconds) >= LEAST_REQUESTS:
            return _Held(self.now, LEGACY_NOW)
        if self.q.baseline is not None and self.q.baseline > 0:
            return _Held(float(self.q.baseline), BASELINE)
        before = remembered(self.q.legacy)
        return _Held(_Remembered(before), BASELINE) if len(before) >= LEAST_REQUESTS else _Held(None, ABSOLUTE)

    def judged(self) -> TriggerResult:
        """The fast path first; before the long window is whole nothing else breaches."""
        q = self.q
        relative = q.spec.above is None or q.spec.worse_by is not None
        fast = self._fast(relative)
        if fast is not None:
            return fast
        limit, unit = limit_of(q)
        if self.target.count(q.long) < LEAST_REQUESTS or not self.target.count(q.short):
            few = f"{self.target.count(q.long)} requests so far" if self.target.count(q.long) else no_samples(q)
            return waiting(q, None, self.held.compared_with, few)
        chosen = self._shown(self.held, q.long)
        value = self._slowdown(self.held, chosen, q.long) if unit == "fraction" else self.target.quantile(chosen, q.long)
        if not q.filled:
            return waiting(q, value, self.held.compared_with)
        if self.absolute is not None:
            found = self.rule.above_limit(self.target, self.now, self.absolute, fast=False)
            if found.call in (Call.SLOW, Call.COMMON):
                return self._above(found, self.absolute, q.long)
        if not relative or self.held.legacy is None:
            if self.absolute is None:
                reason = "nothing to compare with: no legacy requests, no baseline, no absolute limit"
                return TriggerResult(Verdict.INCONCLUSIVE, value, limit, unit, reason, ABSOLUTE)
            shown = self.target.quantile(chosen, q.long)
            reason = f"{named(chosen)} {figure(shown, self.absolute)} ms, {number(self.absolute)} ms allowed"
            return TriggerResult(Verdict.PASS, shown, self.absolute, "value", reason, ABSOLUTE)
        found = self._slower(self.held, 1 + worse_by(q), fast=False)
        chosen = found.quantile if found.call is Call.SLOW else chosen
        verdict = Verdict.BREACH if found.call is Call.SLOW else Verdict.PASS
        return TriggerResult(verdict, value, limit, unit, self._words(self.held, chosen, q.long), self.held.compared_with)

    def _fast(self, relative: bool) -> TriggerResult | None:
        q = self.q
        if self.target.count(q.short) < LEAST_REQUESTS:
            return None
        held = self._held(q.short)
        if relative and held.legacy is not None:
            found = self._slower(held, 1 + FAST_LATENCY * worse_by(q), fast=True)
            if found.call is Call.FAST:
                reason = self._words(held, found.quantile, q.short)
                value = self._slowdown(held, found.quantile, q.short)
                return TriggerResult(Verdict.BREACH, value, worse_by(q), "fraction", reason, held.compared_with, fast=True)
        if self.absolute is not None:
            found = self.rule.above_limit(self.target, self.now, self.absolute, fast=True)
            if found.call is Call.FAST:
                return self._above(found, self.absolute, q.short)
        return None

    def _slower(self, held: _Held, ratio: float, *, fast: bool) -> Called:
        assert held.legacy is not None
        return self.rule.slower(self.target, held.legacy, ratio, fast=fast, of_now=held.compared_with == LEGACY_NOW)

    def _above(self, found: Called, absolute: float, seconds: float) -> TriggerResult:
        value, chosen = self.target.quantile(found.quantile, seconds), found.quantile
        reason = f"{named(chosen)} {figure(value, absolute)} ms, {number(absolute)} ms allowed"
        if found.call is Call.COMMON:
            theirs = self.now.quantile(chosen, seconds) if self.now.count(seconds) else 0.0
            if theirs <= absolute:
                return waiting(self.q, value, ABSOLUTE, f"{reason}; not proven to be worse than legacy")
            reason = f"common cause: {reason}, legacy {figure(theirs, absolute)} ms too"
            return TriggerResult(Verdict.INCONCLUSIVE, value, absolute, "value", reason, ABSOLUTE)
        return TriggerResult(Verdict.BREACH, value, absolute, "value", reason, ABSOLUTE, fast=found.call is Call.FAST)

    def _shown(self, held: _Held, seconds: float) -> float:
        """The quantile that is shown where nothing is called."""
        counts = [self.target.count(seconds)]
        if held.legacy is not None and not isinstance(held.legacy, float):
            counts.append(held.legacy.count(seconds))
        return self.rule.known(*counts)

    def _slowdown(self, held: _Held, chosen: float, seconds: float) -> float | None:
        theirs = held.quantile(chosen, seconds)
        return self.target.quantile(chosen, seconds) / theirs - 1 if theirs > 0 else None

    def _words(self, held: _Held, chosen: float, seconds: float) -> str:
        ours, theirs = self.target.quantile(chosen, seconds), held.quantile(chosen, seconds)
        change = percent(ours / theirs - 1, signed=True)
        words = f"{named(chosen)} {figure(ours, theirs)} ms, {held.compared_with} {figure(theirs, ours)} ms"
        return f"{words}: {change}, +{percent(worse_by(self.q))} allowed"


def remembered(side: Measured) -> list[float]:
    """A side's last times as they came: of its last hour, evenly thinned, or its last ones where these are more."""
    series, newest = side.series, side.series.newest()
    if newest is None:
        return []
    hour = series.window(newest.time - HISTORY, math.inf)
    values = hour[:: max(1, -(-len(hour) // REMEMBERED_HOUR))] if len(hour) > REMEMBERED else series.last(REMEMBERED)
    return _positive(values)


def judge_latency(q: Question) -> TriggerResult:
    """The chosen quantile against legacy's; a realtime workload's absolute limit beside it."""
    return _Latency(q).judged()


def known_quantile(wanted: float, samples: list[list[float]]) -> float:
    """The wanted quantile, or the highest that so few samples know: ten values must lie beyond it."""
    fewest = min(len(s) for s in samples)
    return max(0.5, min(wanted, 1 - BEYOND_QUANTILE / fewest))


def named(q: float) -> str:
    """`p99`, `p99.9`."""
    return f"p{q * 100:.3g}"


def _times(values: list[float]) -> list[float]:
    return sorted(_positive(values))


def _positive(values: list[float]) -> list[float]:
    """The times among them: a latency is finite and more than nothing."""
    return [v for v in finite(values) if v > 0]


def _beyond(ordered: list[float], time: float) -> Rate:
    return Rate(len(ordered) - bisect_right(ordered, time), len(ordered))


def _counted(values: list[float], time: float) -> Rate:
    kept = _positive(values)
    return Rate(sum(v > time for v in kept), len(kept))
