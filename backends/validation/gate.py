"""Gates on a measure: may the phase be left? The rules are in docs/judging.md. Gates on datasets are the engine's.

At points: the comparison of `compare.py`. Over a time (`for`): non-inferiority, the upper bound of the slowdown is within
the margin. Too little data is INCONCLUSIVE and says how much there is of what is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from backends.plan.models import Gate, Measure
from backends.validation.baseline import Baseline
from backends.validation.compare import compare_points, percent, relative
from backends.validation.error_gate import LEAST_SAMPLES, GateResult, judge_counts, judge_shares
from backends.validation.error_rule import LEAST_REQUESTS
from backends.validation.measured import Measured, direction_of, finite, gives_shares, silence_of, span
from backends.validation.memory import HEADROOM, Use, judge_room, use_of
from backends.validation.question import DEFAULT_ERROR_RATE
from backends.validation.series import Sample, Series
from backends.validation.stats import Interval, quantile, quantile_interval, ratio_interval
from backends.validation.trigger_latency import known_quantile, named
from backends.validation.warmup import warm_up
from backends.validation.wording import figure
from backends.verdict import Verdict

SILENCE_FLOOR = 30.0  # seconds
DEFAULT_WITHIN = {
    "loss": 0.005,
    "throughput": 0.05,
    "step_time": 0.05,
    "latency": 0.05,
    "error_rate": DEFAULT_ERROR_RATE,
    "memory": 0.05,
    "value": 0.005,
}


BATCH_WITHIN = 0.2  # of a batch workload's throughput and step time


def within_of(spec: Gate, measure: Measure) -> float:
    """The gate's margin, a fraction: as the plan says, else by kind."""
    return spec.within if spec.within is not None else DEFAULT_WITHIN[measure.kind]


def judge_gate(
    spec: Gate,
    measure: Measure,
    legacy: Measured,
    target: Measured,
    *,
    now: float,
    baseline: Baseline | None = None,
    capacities: tuple[float | None, float | None] = (None, None),
) -> GateResult:
    """Judge one gate on a measure at `now` (unix seconds). Where legacy cannot be asked any more, its recorded `baseline` stands for it.
    `capacities`: what a card of legacy and of the target has, bytes."""
    if baseline is not None and (stead := _by_baseline(spec, measure, legacy, target, baseline, now)) is not None:
        return stead
    by_points = bool(spec.at) or (measure.kind in ("loss", "value") and legacy.series.by != "time")
    for name, side in (("legacy", legacy), ("target", target)):
        if side.error is not None and not len(side.series):
            reason = f"{name} could not be read: {side.error}"
            return GateResult(Verdict.ERROR, None, within_of(spec, measure), reason)
    if by_points:
        return _at_points(spec, measure, legacy, target)
    ran_out = _ran_out(legacy, target, within_of(spec, measure)) if measure.kind == "memory" else None
    if ran_out is not None:
        return ran_out
    for name, side in (("legacy", legacy), ("target", target)):
        quiet = silence_of(name, side, now, SILENCE_FLOOR)
        if quiet is not None:
            return GateResult(quiet[0], None, within_of(spec, measure), quiet[1])
    if measure.kind == "error_rate":
        return _error_rate(spec, measure, legacy, target, now)
    return _over_time(spec, measure, legacy, target, now, capacities)


def _by_baseline(
    spec: Gate, measure: Measure, legacy: Measured, target: Measured, baseline: Baseline, now: float
) -> GateResult | None:
    """Held against legacy's recorded figures; None where legacy itself can be asked, or was not recorded for this."""
    limit = within_of(spec, measure)
    if baseline.points and baseline.by == target.series.by != "time":
        if len(legacy.series):
            return None
        recorded = Series(target.series.by, pinned=spec.at)
        recorded.extend(Sample(x, baseline.until or 0.0, value) for x, value in baseline.points)
        found = _at_points(spec, measure, recorded, target)
        return replace(found, reason=f"{found.reason}; against the baseline")
    known = baseline.figure(measure)
    if known is None or known <= 0 or measure.kind in ("error_rate", "memory") or spec.at:
        return None
    if silence_of("legacy", legacy, now, SILENCE_FLOOR) is None:
        return None
    quiet = silence_of("target", target, now, SILENCE_FLOOR)
    if quiet is not None:
        return GateResult(quiet[0], None, limit, quiet[1])
    start, missing = _seen(spec, (target,), now)
    ours = sorted(finite(target.series.window(start, math.inf)))
    wanted = measure.quantile or 0.99 if measure.kind == "latency" else 0.5
    least = LEAST_REQUESTS if measure.kind == "latency" else LEAST_SAMPLES
    if len(ours) < least or known_quantile(wanted, [ours]) != wanted:
        reason = (
            f"{len(ours)} samples are too few for {named(wanted)}; legacy is silent, its baseline {figure(known)} stands for it"
        )
        return GateResult(Verdict.INCONCLUSIVE, None, limit, reason, waiting=True)
    bounds = quantile_interval(ours, wanted, 0.95)
    ratio = Interval(bounds.low / known - 1, bounds.high / known - 1)
    found = bounded(measure, limit, missing, wanted, (known, quantile(ours, wanted)), ratio)
    return replace(found, reason=f"{found.reason}; against the baseline, legacy is silent")


def _at_points(spec: Gate, measure: Measure, legacy: Measured, target: Measured) -> GateResult:
    limit = within_of(spec, measure)
    found = compare_points(
        legacy.series,
        target.series,
        at=spec.at or None,
        tolerance=limit,
        higher_is_better=direction_of(measure),
        one_sided=spec.one_sided,
        noise=measure.noise,
    )
    judged = [j.verdict for j in found.judged if j.verdict is not None]
    waiting = found.verdict is Verdict.INCONCLUSIVE and all(v is Verdict.PASS for v in judged)
    waiting = waiting and (len(judged) < len(found.judged) or not found.judged)
    too_good = any(j.too_good for j in found.judged)
    return GateResult(found.verdict, found.value, limit, found.reason, found.points, waiting, too_good)


def _seen(spec: Gate, sides: tuple[Measured, ...], now: float) -> tuple[float, str]:
    """(start of what is judged, what of `for` is still missing, in words; empty when nothing is)."""
    if spec.for_ is None:
        return -math.inf, ""
    since = [s.series.continuous_since for s in sides]
    began = max(s if s is not None else now for s in since)
    slack = max((s.series.period or 0.0) for s in sides)
    if now - began + slack >= spec.for_:
        return now - spec.for_, ""
    return now - spec.for_, f"{span(max(0.0, now - began))} of {span(spec.for_)}"


def _over_time(
    spec: Gate,
    measure: Measure,
    legacy: Measured,
    target: Measured,
    now: float,
    capacities: tuple[float | None, float | None],
) -> GateResult:
    limit = within_of(spec, measure)
    start, missing = _seen(spec, (legacy, target), now)
    (ours, cold), (theirs, cold_before) = (_steady(measure, s.series, start) for s in (target, legacy))
    requests = measure.kind == "latency" and measure.target.is_log
    least = LEAST_REQUESTS if requests else LEAST_SAMPLES
    if min(len(ours), len(theirs)) < least:
        reason = f"{len(theirs)} and {len(ours)} samples, {least} a side needed"
        return GateResult(Verdict.INCONCLUSIVE, None, limit, reason, waiting=True)
    if measure.kind == "memory":
        before = use_of(measure.legacy, theirs[-1], capacities[0])
        use = use_of(measure.target, ours[-1], capacities[1])
        if use is not None and spec.within is None:
            return _room(before, use, missing)
        return judge_peak(ours[-1], theirs[-1], limit, missing)
    chosen = known_quantile(measure.quantile or 0.99, [ours, theirs]) if requests else 0.5
    result = non_inferior(measure, ours, theirs, chosen, limit, missing)
    if measure.kind in ("step_time", "throughput"):
        result = replace(result, reason=f"{result.reason}; {tail_words(measure, ours, theirs)}")
    if cold or cold_before:
        words = f"warm-up left out: {cold_before} and {cold} samples"
        result = replace(result, reason=f"{result.reason}; {words}")
    return result


def _steady(measure: Measure, series: Series, start: float) -> tuple[list[float], int]:
    """(finite values since `start` in rising order, how many of the first were warm-up and are left out)."""
    values = finite(series.window(start, math.inf))
    began = series.oldest_time
    whole = began is not None and start <= began and not series.forgotten
    cold = 0
    if whole and measure.kind in ("step_time", "throughput"):
        cold = warm_up(values, higher_is_better=bool(direction_of(measure)))
    return sorted(values[cold:]), cold


def tail_words(measure: Measure, ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The slow tail, told beside the median: a target that stutters has the same median."""
    q = 0.05 if direction_of(measure) else 0.95
    left, right = quantile(theirs, q), quantile(ours, q)
    return f"slowest 5 % from {figure(left, right)} to {figure(right, left)} ({percent(relative(left, right), signed=True)})"


def _ran_out(legacy: Measured, target: Measured, limit: float) -> GateResult | None:
    """A target whose log says that memory ran out, where legacy's does not."""
    if not target.series.out_of_memory or legacy.series.out_of_memory:
        return None
    return GateResult(Verdict.BREACH, None, limit, f"target ran out of memory: {target.series.out_of_memory}")


def non_inferior(
    measure: Measure, ours: Sequence[float], theirs: Sequence[float], q: float, limit: float, missing: str
) -> GateResult:
    """The bounds (95 %) of the ratio of the q-quantiles against the margin; samples in rising order. `missing`: what is still to be seen."""
    bounds = ratio_interval(ours, theirs, q, 0.95)
    ratio = Interval(bounds.low - 1, bounds.high - 1)
    return bounded(measure, limit, missing, q, (quantile(theirs, q), quantile(ours, q)), ratio)


def bounded(measure: Measure, limit: float, missing: str, q: float, figures: tuple[float, float], ratio: Interval) -> GateResult:
    """Non-inferiority by the bounds of the relative change between legacy's figure and the target's."""
    higher = direction_of(measure)
    delta = relative(*figures)
    low, high = ratio
    best, worst = (-high, -low) if higher else (low, high)
    if higher is None:
        best, worst = max(low, -high), max(abs(low), abs(high))
    what = named(q) if measure.kind == "latency" else "median"
    words = f"{what} {figure(*figures)} → {figure(*reversed(figures))} ({percent(delta, signed=True)})"
    bounds = f"{words}, between {percent(low, signed=True)} and {percent(high, signed=True)}, {percent(limit)} allowed"
    if best > limit:
        return GateResult(Verdict.BREACH, delta, limit, f"target is worse: {bounds}")
    if missing:
        return GateResult(Verdict.INCONCLUSIVE, delta, limit, f"{missing}; {words} so far", waiting=True)
    if worst > limit:
        return GateResult(Verdict.INCONCLUSIVE, delta, limit, f"cannot tell yet: {bounds}", waiting=True)
    return GateResult(Verdict.PASS, delta, limit, bounds, too_good=worst < -limit)


def _room(before: Use | None, use: Use, missing: str) -> GateResult:
    """The peak against what the card has: a larger card may well be filled further."""
    verdict, words = judge_room(before, use)
    value, limit = use.peak / use.capacity, 1 - HEADROOM
    if missing and verdict is Verdict.PASS:
        return GateResult(Verdict.INCONCLUSIVE, value, limit, f"{missing}; {words}", waiting=True)
    return GateResult(verdict, value, limit, words)


def judge_peak(ours: float, theirs: float, limit: float, missing: str) -> GateResult:
    """Both sides' peaks, where nobody says what a card has."""
    delta = relative(theirs, ours)
    words = f"peak {figure(theirs, ours)} → {figure(ours, theirs)} ({percent(delta, signed=True)}), {percent(limit)} allowed"
    if delta > limit:
        return GateResult(Verdict.BREACH, delta, limit, words)
    if missing:
        return GateResult(Verdict.INCONCLUSIVE, delta, limit, f"{missing}; {words}", waiting=True)
    return GateResult(Verdict.PASS, delta, limit, words)


def _error_rate(spec: Gate, measure: Measure, legacy: Measured, target: Measured, now: float) -> GateResult:
    limit = within_of(spec, measure)
    start, missing = _seen(spec, (legacy, target), now)
    ours, theirs = (finite(s.series.window(start, math.inf)) for s in (target, legacy))
    if gives_shares(measure.target, target.series):
        return judge_shares(ours, theirs, limit, missing)
    known = math.fsum(theirs) / len(theirs) if theirs else 0.0
    return judge_counts(sum(v > 0 for v in ours), len(ours), known, limit, missing)
