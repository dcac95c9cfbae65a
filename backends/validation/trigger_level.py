"""Triggers on a level: step time, throughput, memory, any value. Medians (memory: peaks) of windows by samples.

A training step may take minutes: a window holds at least so many samples that it can say something, none from before
`since`. Faster than legacy by more than the limit is said (`too_good`) and does not hold: other GPUs are why people move.
For a plain value it holds.
"""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

from backends.validation.compare import number, percent, relative
from backends.validation.error_rule import HISTORY, spent
from backends.validation.measured import Measured, direction_of, finite, gives_shares
from backends.validation.question import (
    ABSOLUTE,
    BASELINE,
    LEGACY_NOW,
    Question,
    TriggerResult,
    Unit,
    limit_of,
    waiting,
    worse_by,
)
from backends.validation.stats import (
    Interval,
    lag_one,
    mean_and_variance,
    normal_quantile,
    quantile,
    quantile_interval,
    ratio_interval,
    worth_less,
)
from backends.validation.wording import figure
from backends.verdict import Verdict

LEAST_LONG = 10
LEAST_SHORT = 3
REMEMBERED = 200  # of legacy's last samples, when no more come
FAST = 5.0  # times the limit, proven with 99.9 %, and more than the levels wander
MEDIAN_COST = math.pi / 2  # how much wider a median's variance is than a mean's
LEAST_NOISE = 8  # values, to know how they vary


class Level(NamedTuple):
    """The middle of some samples, and its bounds (95 % each side)."""

    value: float
    low: float
    high: float


def judge_level(q: Question) -> TriggerResult:
    """Against legacy in the same windows, else the baseline, else legacy's last samples, else the absolute limit."""
    limit, unit = limit_of(q)
    if q.measure.kind == "error_rate":  # shares, not requests: an absolute limit
        unit = "fraction"
    long, short = _samples(q, q.target, q.long, LEAST_LONG), _samples(q, q.target, q.short, LEAST_SHORT)
    reference, compared_with = _reference(q)
    peak = q.measure.kind == "memory"
    if len(long) < LEAST_LONG or len(short) < LEAST_SHORT:
        return waiting(q, None, compared_with, f"{len(long)} of {LEAST_LONG} samples")
    above = limit if q.measure.kind == "error_rate" else q.spec.above if q.spec.above is not None else q.absolute
    if above is not None:
        over = _over(q, long, short, above, peak)
        if over is not None:
            return _unless_common(q, over, above, reference, compared_with)
        if q.spec.worse_by is None and (q.spec.above is not None or q.measure.kind == "error_rate"):
            value = _middle(long, peak)
            reason = f"{figure(value, above)}, {number(above)} allowed"
            mean = math.fsum(long) / len(long)
            if q.measure.kind == "error_rate" and q.filled and value <= above < mean:
                bursts = f"{reason}; but {percent(mean)} in the mean: they come in bursts, and of how many requests is not known"
                return TriggerResult(Verdict.INCONCLUSIVE, mean, above, unit, bursts, ABSOLUTE)
            verdict = Verdict.PASS if q.filled else Verdict.INCONCLUSIVE
            return TriggerResult(verdict, value, above, unit, reason, ABSOLUTE, waiting=not q.filled)
    if not reference:
        reason = "nothing to compare with: no legacy samples, no baseline, no absolute limit"
        return TriggerResult(Verdict.INCONCLUSIVE, None, limit, unit, reason, ABSOLUTE)
    return _against(q, long, short, reference, compared_with, peak)


def _samples(q: Question, side: Measured, seconds: float, least: int) -> list[float]:
    values = finite(q.window(side, seconds))
    return values if len(values) >= least else finite(side.series.last(least, since=q.since))


def _reference(q: Question) -> tuple[list[float], str]:
    now = _samples(q, q.legacy, q.long, LEAST_LONG)
    if len(now) >= LEAST_LONG:
        # What legacy ever needed, it may need again.
        return finite(q.legacy.series.window(-math.inf, math.inf)) if q.measure.kind == "memory" else now, LEGACY_NOW
    if q.baseline is not None:
        return [q.baseline], BASELINE
    before = finite(q.legacy.series.last(REMEMBERED))
    return (before, BASELINE) if len(before) >= LEAST_LONG else ([], ABSOLUTE)


def _middle(values: list[float], peak: bool) -> float:
    """The median; of memory the peak that three samples reach: a single odd reading is none."""
    return heapq.nlargest(LEAST_SHORT, values)[-1] if peak else quantile(sorted(values), 0.5)


def _over(q: Question, long: list[float], short: list[float], above: float, peak: bool) -> TriggerResult | None:
    value = _middle(long, peak)
    low = value if peak else quantile_interval(sorted(long), 0.5).low
    if not (q.filled and low > above and _middle(short, peak) > above):
        return None
    if not peak and above > 0 and not _stands_out(q, long, [above], 0.0):
        return None
    reason = f"{figure(value, above)}, {number(above)} allowed"
    unit: Unit = "fraction" if q.measure.kind == "error_rate" else "value"
    return TriggerResult(Verdict.BREACH, value, above, unit, reason, ABSOLUTE)


def _unless_common(q: Question, over: TriggerResult, above: float, reference: list[float], compared_with: str) -> TriggerResult:
    """Legacy past the same limit is a common cause: going back would not help."""
    errors = q.measure.kind == "error_rate"
    if compared_with != LEGACY_NOW or (errors and not gives_shares(q.measure.legacy, q.legacy.series)):
        return over
    theirs, ours = _middle(reference, q.measure.kind == "memory"), over.value or 0.0
    if theirs <= above or theirs < ours / 2:
        return over
    reason = f"common cause: target {figure(ours, above)}, legacy {figure(theirs, above)}, {number(above)} allowed"
    if errors:
        reason = f"common cause: target {percent(ours)}, legacy {percent(theirs)} errors, {percent(above)} allowed"
    return TriggerResult(Verdict.INCONCLUSIVE, over.value, above, over.unit, reason, compared_with)


def _against(
    q: Question, long: list[float], short: list[float], reference: list[float], compared_with: str, peak: bool
) -> TriggerResult:
    limit, higher = worse_by(q), direction_of(q.measure)
    theirs, ours = _middle(reference, peak), _middle(long, peak)
    delta = relative(theirs, ours)
    change = Interval(delta, delta) if peak else _change(long, reference, 0.95)
    still = relative(theirs, _middle(short, peak))
    words = (
        f"{figure(ours, theirs)}, {compared_with} {figure(theirs, ours)}: {percent(delta, signed=True)}, {percent(limit)} allowed"
    )
    extreme = Interval(still, still) if peak else _change(short, reference, 0.999)
    is_extreme = len(short) >= LEAST_LONG and _worse(extreme, higher) > FAST * limit
    if is_extreme and (peak or _stands_out(q, short, reference, FAST * limit, fast=True)):
        return TriggerResult(Verdict.BREACH, still, limit, "fraction", words, compared_with, fast=True)
    if not q.filled:
        return waiting(q, delta, compared_with)
    proven = _worse(change, higher) > limit and _worse(Interval(still, still), higher) > limit
    if proven and (peak or _stands_out(q, long, reference, limit)):
        return TriggerResult(Verdict.BREACH, delta, limit, "fraction", words, compared_with)
    if higher is not None and _worse(Interval(-change.high, -change.low), higher) > limit:
        verdict = Verdict.INCONCLUSIVE if q.measure.kind == "value" else Verdict.PASS
        words = f"better than legacy by more than the limit: {words}"
        return TriggerResult(verdict, delta, limit, "fraction", words, compared_with, too_good=True)
    return TriggerResult(Verdict.PASS, delta, limit, "fraction", words, compared_with)


def _change(values: list[float], reference: list[float], confidence: float) -> Interval:
    """Bounds of the relative change of the median."""
    ours, theirs = sorted(values), sorted(reference)
    if len(theirs) == 1:
        low, high = quantile_interval(ours, 0.5, confidence)
        return Interval(relative(theirs[0], low), relative(theirs[0], high))
    if ours[0] > 0 and theirs[0] > 0:
        low, high = ratio_interval(ours, theirs, 0.5, confidence)
        return Interval(low - 1, high - 1)
    (low, high), theirs_bounds = quantile_interval(ours, 0.5, confidence), quantile_interval(theirs, 0.5, confidence)
    middle = abs(quantile(theirs, 0.5))
    if middle == 0:
        return Interval(-math.inf, math.inf)
    return Interval((low - theirs_bounds.high) / middle, (high - theirs_bounds.low) / middle)


def _stands_out(q: Question, window: list[float], reference: list[float], limit: float, *, fast: bool = False) -> bool:
    """Is the change more than the levels wander by themselves, at a look's share of a week's budget?

    In the window, else (but not on the fast path) in the hour that ends now: neighbours are alike, so that few samples tell little. The logarithms of the two medians
    differ by chance by sqrt(pi / 2 * (s_T^2 f_T / n_T + s_L^2 f_L / n_L)), f = (1 + r) / (1 - r) with the correlation r of
    neighbours (Bayley and Hammersley 1946).
    """
    hour = _samples(q, q.target, HISTORY, LEAST_LONG)
    their_hour = _samples(q, q.legacy, HISTORY, LEAST_LONG) if len(reference) > 1 else reference
    if len(their_hour) < LEAST_LONG:
        their_hour = reference  # legacy has stopped since: as it was
    if min(*hour, *window, *reference, *their_hour) <= 0:
        return True
    z = normal_quantile(1.0 - spent(q.short))
    steady = _noise(their_hour)
    for ours, theirs in ((window, reference),) if fast else ((window, reference), (hour, their_hour)):
        change = abs(math.log(quantile(sorted(ours), 0.5) / quantile(sorted(theirs), 0.5)))
        varies = max(_noise(ours), steady) / len(ours) + (max(_noise(theirs), steady) / len(theirs) if len(theirs) > 1 else 0.0)
        if change - math.log1p(limit) > z * math.sqrt(MEDIAN_COST * varies):
            return True
    return False


def _noise(values: list[float]) -> float:
    """The variance of the logarithms, as many times as neighbours are alike; 0 for too few."""
    if len(values) < LEAST_NOISE:
        return 0.0
    logs = [math.log(v) for v in values]
    mean, variance = mean_and_variance(logs)
    if variance == 0.0:
        return 0.0
    return variance * worth_less(min(0.95, max(0.0, lag_one(logs, mean, variance))))


def _worse(change: Interval, higher: bool | None) -> float:
    """By how much, at least, the target is worse."""
    if higher is None:
        return max(change.low, -change.high)
    return -change.high if higher else change.low
