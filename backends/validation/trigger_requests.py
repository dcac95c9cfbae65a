"""Triggers on requests: error rate by exact binomial bounds, latency by distribution-free bounds of quantiles."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from backends.validation.compare import number, percent
from backends.validation.error_rule import LEAST_FOR_RATE, LEAST_REQUESTS, Call, ErrorRule, Looked, Rate
from backends.validation.measured import Measured, finite, gives_shares, span
from backends.validation.question import (
    ABSOLUTE,
    BASELINE,
    LEGACY_NOW,
    Question,
    TriggerResult,
    limit_of,
    waiting,
    worse_by,
)
from backends.validation.stats import quantile, quantile_interval, ratio_interval
from backends.validation.trigger_level import judge_level
from backends.validation.wording import figure
from backends.verdict import Verdict

LEAST_SHARES = 10  # where it tells shares
FAST_LATENCY = 4.0  # times the allowed slowdown, proven with 99.9 %
REMEMBERED = 1000  # of legacy's last requests, when it gets no more
BEYOND_QUANTILE = 10  # values that must lie beyond a quantile for it to be known at all


class _Counted:
    """One side's requests as the error rule counts them."""

    def __init__(self, q: Question, side: Measured) -> None:
        self._q, self._side = q, side

    def rate(self, seconds: float) -> Rate:
        return _rate(finite(self._q.window(self._side, seconds)))

    def parts(self, seconds: float, count: int, before: float = 0.0) -> list[Rate]:
        start, width = self._q.now - before - seconds, seconds / count
        edges = [max(self._q.since, start + i * width) for i in range(count + 1)]
        series = self._side.series
        return [_rate(finite(series.window(since, until))) for since, until in pairwise(edges)]


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
        return waiting(q, None, compared_with, _no_samples(q))
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


def _no_samples(q: Question) -> str:
    newest = q.target.series.newest()
    if newest is not None and abs(q.now - newest.time) > q.long:
        return f"fresh lines carry times {span(abs(q.now - newest.time))} away from ours: is that host's clock right?"
    return f"no requests in {span(q.long)}"


class Legacy(NamedTuple):
    """What latency is held against: samples of legacy, or one recorded figure."""

    values: list[float]
    figure: float | None
    compared_with: str


def judge_latency(q: Question) -> TriggerResult:
    """The chosen quantile against legacy's; a realtime workload's absolute limit beside it."""
    limit, unit = limit_of(q)
    long, short = _times(q, q.target, q.long), _times(q, q.target, q.short)
    legacy = _reference_times(q)
    relative = q.spec.above is None or q.spec.worse_by is not None
    absolute = q.spec.above if q.spec.above is not None else q.absolute
    fast = _fast_latency(q, short, legacy, absolute, relative)
    if fast is not None:
        return fast
    if len(long) < LEAST_REQUESTS or not short:
        return waiting(q, None, legacy.compared_with, _no_samples(q) if not long else f"{len(long)} requests so far")
    chosen = known_quantile(q.measure.quantile or 0.99, [long] + ([legacy.values] if legacy.values else []))
    value = _slowdown(long, legacy, chosen) if unit == "fraction" else quantile(long, chosen)
    if not q.filled:
        return waiting(q, value, legacy.compared_with)
    if absolute is not None and quantile_interval(long, chosen).low > absolute < quantile(short, chosen):
        return _above(q, quantile(long, chosen), absolute, legacy, chosen)
    if not relative or (not legacy.values and legacy.figure is None):
        if absolute is None:
            reason = "nothing to compare with: no legacy requests, no baseline, no absolute limit"
            return TriggerResult(Verdict.INCONCLUSIVE, value, limit, unit, reason, ABSOLUTE)
        reason = f"{named(chosen)} {figure(quantile(long, chosen), absolute)} ms, {number(absolute)} ms allowed"
        return TriggerResult(Verdict.PASS, quantile(long, chosen), absolute, "value", reason, ABSOLUTE)
    allowed = 1 + worse_by(q)
    proven = _ratio_low(long, legacy, chosen, 0.95) > allowed
    still = quantile(short, chosen) / _quantile_of(legacy, chosen) > allowed
    verdict = Verdict.BREACH if proven and still else Verdict.PASS
    return TriggerResult(verdict, value, limit, unit, _slower(long, legacy, chosen, q), legacy.compared_with)


def known_quantile(wanted: float, samples: list[list[float]]) -> float:
    """The wanted quantile, or the highest that so few samples know: ten values must lie beyond it."""
    fewest = min(len(s) for s in samples)
    return max(0.5, min(wanted, 1 - BEYOND_QUANTILE / fewest))


def named(q: float) -> str:
    """`p99`, `p99.9`."""
    return f"p{q * 100:.3g}"


def _times(q: Question, side: Measured, seconds: float) -> list[float]:
    return sorted(v for v in finite(q.window(side, seconds)) if v > 0)


def _reference_times(q: Question) -> Legacy:
    now = _times(q, q.legacy, q.long)
    if len(now) >= LEAST_REQUESTS:
        return Legacy(now, None, LEGACY_NOW)
    if q.baseline is not None and q.baseline > 0:
        return Legacy([], q.baseline, BASELINE)
    before = sorted(v for v in finite(q.legacy.series.last(REMEMBERED)) if v > 0)
    return Legacy(before, None, BASELINE) if len(before) >= LEAST_REQUESTS else Legacy([], None, ABSOLUTE)


def _quantile_of(legacy: Legacy, q: float) -> float:
    return legacy.figure if legacy.figure is not None else quantile(legacy.values, q)


def _slowdown(values: list[float], legacy: Legacy, q: float) -> float | None:
    if not legacy.values and legacy.figure is None:
        return None
    return quantile(values, q) / _quantile_of(legacy, q) - 1


def _ratio_low(values: list[float], legacy: Legacy, q: float, confidence: float) -> float:
    """The lower bound of target's quantile over legacy's."""
    if legacy.figure is not None:
        return quantile_interval(values, q, confidence).low / legacy.figure
    return ratio_interval(values, legacy.values, q, confidence).low if legacy.values else -math.inf


def _fast_latency(
    q: Question, short: list[float], legacy: Legacy, absolute: float | None, relative: bool
) -> TriggerResult | None:
    if len(short) < LEAST_REQUESTS:
        return None
    concurrent = _times(q, q.legacy, q.short)
    held = Legacy(concurrent, None, LEGACY_NOW) if len(concurrent) >= LEAST_REQUESTS else legacy
    chosen = known_quantile(q.measure.quantile or 0.99, [short] + ([held.values] if held.values else []))
    if relative and _ratio_low(short, held, chosen, 0.999) > 1 + FAST_LATENCY * worse_by(q):
        reason, value = _slower(short, held, chosen, q), _slowdown(short, held, chosen)
        return TriggerResult(Verdict.BREACH, value, worse_by(q), "fraction", reason, held.compared_with, True)
    if absolute is not None and quantile_interval(short, chosen, 0.999).low > 2 * absolute:
        return _as_fast(_above(q, quantile(short, chosen), absolute, held, chosen))
    return None


def _as_fast(result: TriggerResult) -> TriggerResult | None:
    """The same, by the fast path; a common cause is left to the slow one."""
    if result.verdict is not Verdict.BREACH:
        return None
    return TriggerResult(result.verdict, result.value, result.limit, result.unit, result.reason, result.compared_with, fast=True)


def _above(q: Question, value: float, absolute: float, legacy: Legacy, chosen: float) -> TriggerResult:
    reason = f"{named(chosen)} {figure(value, absolute)} ms, {number(absolute)} ms allowed"
    if legacy.compared_with == LEGACY_NOW and quantile(legacy.values, chosen) > absolute:
        reason = f"common cause: {reason}, legacy {figure(quantile(legacy.values, chosen), absolute)} ms too"
        return TriggerResult(Verdict.INCONCLUSIVE, value, absolute, "value", reason, ABSOLUTE)
    return TriggerResult(Verdict.BREACH, value, absolute, "value", reason, ABSOLUTE)


def _slower(values: list[float], legacy: Legacy, chosen: float, q: Question) -> str:
    ours, theirs = quantile(values, chosen), _quantile_of(legacy, chosen)
    change = percent(ours / theirs - 1, signed=True)
    words = f"{named(chosen)} {figure(ours, theirs)} ms, {legacy.compared_with} {figure(theirs, ours)} ms"
    return f"{words}: {change}, +{percent(worse_by(q))} allowed"
