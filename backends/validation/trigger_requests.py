"""The trigger on requests that fail: the rule is in error_rule.py. What latency has is in trigger_latency.py."""

from __future__ import annotations

import math

from backends.validation.compare import percent
from backends.validation.error_rule import LEAST_FOR_RATE, LEAST_REQUESTS, Call, ErrorRule, Looked, Rate
from backends.validation.measured import Measured, finite, gives_shares, span
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
)
from backends.validation.trigger_level import judge_level
from backends.verdict import Verdict

LEAST_SHARES = 10  # where it tells shares


class _Counted:
    """One side's requests as the error rule counts them."""

    def __init__(self, q: Question, side: Measured) -> None:
        self._q, self._side = q, side

    def rate(self, seconds: float) -> Rate:
        return _rate(finite(self._q.window(self._side, seconds)))

    def parts(self, seconds: float, count: int, before: float = 0.0) -> list[Rate]:
        series = self._side.series
        return [_rate(finite(series.window(*stretch))) for stretch in self._q.stretches(seconds, count, before)]


def _rate(values: list[float]) -> Rate:
    return Rate(sum(1 for v in values if v > 0), len(values))


def judge_error_rate(q: Question) -> TriggerResult:
    """Errors are 0 or 1 a request; the rule is in error_rule.py. Shares instead of requests are judged as a level."""
    limit, _ = limit_of(q)
    values = finite(q.window(q.target, q.long))
    if gives_shares(q.measure.target, q.target.series):
        return judge_level(q)
    looked, compared_with = _look(q, limit)
    call, rate, known = looked.call, looked.rate, looked.legacy
    if call in (Call.FAST, Call.SLOW):
        reason = _errors(rate, limit, known)
        return TriggerResult(Verdict.BREACH, rate.share, limit, "fraction", reason, compared_with, call is Call.FAST)
    if call is Call.COMMON:
        theirs = _share(known) or 0.0
        if theirs <= limit:
            return waiting(q, rate.share, compared_with, f"{_errors(rate, limit, known)}; not proven to be worse than legacy")
        reason = f"common cause: target {percent(rate.share)}, legacy {percent(theirs)} errors, {percent(limit)} allowed"
        return TriggerResult(Verdict.INCONCLUSIVE, rate.share, limit, "fraction", reason, compared_with)
    if not values and q.filled:
        return waiting(q, None, compared_with, no_samples(q))
    if not q.filled or rate.requests < LEAST_REQUESTS:
        few = f"{rate.requests} requests in {span(min(q.long, q.now - q.since))}" if q.filled else ""
        return waiting(q, rate.share if values else None, compared_with, few)
    if call is Call.ENDED:
        return waiting(q, rate.share, compared_with, f"{percent(rate.share)} errors in {span(q.long)}, but they ended")
    reason = f"{rate.errors} errors in {rate.requests} requests, {percent(limit)} allowed"
    if looked.spread > 1.0:
        why = f"{reason}: they come together, which may be one event (spread {looked.spread:.2g})"
        return waiting(q, rate.share, compared_with, why)
    more = "; more, but not proven" if rate.share > limit else ""
    return TriggerResult(Verdict.PASS, rate.share, limit, "fraction", reason + more, compared_with)


def _share(known: Rate | float | None) -> float | None:
    return known.share if isinstance(known, Rate) else known


def _errors(rate: Rate, limit: float, known: Rate | float | None) -> str:
    share = _share(known)
    theirs = f", legacy {percent(share)}" if share is not None else ""
    return f"{rate.errors} of {rate.requests} requests failed ({percent(rate.share)}), {percent(limit)} allowed{theirs}"


def _look(q: Question, limit: float) -> tuple[Looked, str]:
    """What the rule says, and what the target was held against."""
    rule, target = ErrorRule(q.short, q.long, limit), _Counted(q, q.target)
    if gives_shares(q.measure.legacy, q.legacy.series):
        share, compared_with = _reference_share(q)
        return rule.look(target, None, share, filled=q.filled)._replace(legacy=share), compared_with
    legacy, recorded = _Counted(q, q.legacy), _recorded_rate(q)
    looked = rule.look(target, legacy, recorded, filled=q.filled)
    known = looked.legacy
    if known is None:
        now = legacy.rate(q.long)
        known = now if now.requests >= LEAST_FOR_RATE else recorded
    compared_with = ABSOLUTE if known is None else BASELINE if known is recorded else LEGACY_NOW
    return looked._replace(legacy=known), compared_with


def _recorded_rate(q: Question) -> Rate | float | None:
    """What is known of legacy without its present requests."""
    if q.baseline is not None:
        return q.baseline
    before = _rate(finite(q.legacy.series.last(REMEMBERED)))
    return before if before.requests >= LEAST_FOR_RATE else None


def _reference_share(q: Question) -> tuple[float | None, str]:
    """Where legacy tells shares: their mean."""
    shares = finite(q.window(q.legacy, q.long))
    if len(shares) >= LEAST_SHARES:
        return math.fsum(shares) / len(shares), LEGACY_NOW
    return (q.baseline, BASELINE) if q.baseline is not None else (None, ABSOLUTE)
