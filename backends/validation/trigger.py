"""Triggers: does a measure call for a rollback now? The rules are in docs/judging.md, after cutover.md section 6.

Slow path: the long window proves it (an exact or distribution-free bound) and the short window still shows it. Fast path:
an extreme value in the short window alone. Windows start anew at `since`; until the long one is filled only the fast path
may breach, and the result is `waiting`. `silent` is another thing: data are expected and do not come.
"""

from __future__ import annotations

from dataclasses import replace

from backends.plan.models import Measure, Trigger
from backends.validation.measured import Measured, silence_of
from backends.validation.question import Question, TriggerResult, limit_of
from backends.validation.trigger_latency import judge_latency
from backends.validation.trigger_level import judge_level
from backends.validation.trigger_loss import diverged, judge_loss
from backends.validation.trigger_requests import judge_error_rate
from backends.verdict import Verdict

__all__ = ["TriggerResult", "judge_trigger"]


def judge_trigger(
    spec: Trigger,
    measure: Measure,
    legacy: Measured,
    target: Measured,
    *,
    windows: tuple[float, float],
    since: float,
    now: float,
    exposed: bool,
    baseline: float | None = None,
    absolute: float | None = None,
    legacy_exposed: bool | None = None,
) -> TriggerResult:
    """Judge one trigger at `now` (unix seconds, as `since`: when this weight began). `windows`: short, long, seconds.

    `exposed`: the target carries clients. Without, errors and latency have nothing to say; losses, step times and the like
    are judged all the same.
    """
    short, long = windows
    q = Question(spec, measure, legacy, target, short, max(short, long), since, now, baseline, absolute, legacy_exposed)
    result = _judge(q, exposed)
    result = replace(result, age=target.age(now))
    if result.verdict is Verdict.PASS and legacy_exposed:
        quiet = silence_of("legacy", legacy, now, q.floor)
        if quiet is not None:
            result = replace(result, verdict=quiet[0], reason=quiet[1], silent=True)
    return result


def _ran_out(q: Question) -> TriggerResult:
    """The target's log says that memory ran out at this weight; where legacy's says so too, going back would not help."""
    limit, unit = limit_of(q)
    if q.legacy.series.out_of_memory and (q.legacy.series.out_of_memory_at or 0.0) >= q.since:
        reason = f"common cause: both sides ran out of memory: {q.target.series.out_of_memory}"
        return TriggerResult(Verdict.INCONCLUSIVE, None, limit, unit, reason)
    reason = f"target ran out of memory: {q.target.series.out_of_memory}"
    return TriggerResult(Verdict.BREACH, None, limit, unit, reason, fast=True)


def _judge(q: Question, exposed: bool) -> TriggerResult:
    kind = q.measure.kind
    limit, unit = limit_of(q)
    if kind in ("error_rate", "latency") and not exposed:
        return TriggerResult(Verdict.INCONCLUSIVE, None, limit, unit, "no exposure yet", waiting=True)
    if kind == "loss":
        at_once = diverged(q)
        if at_once is not None:
            return at_once
    if kind == "memory" and q.target.series.out_of_memory and (q.target.series.out_of_memory_at or 0.0) >= q.since:
        return _ran_out(q)
    quiet = silence_of("target", q.target, q.now, q.floor)
    if quiet is not None:
        young = q.target.age(q.now) is None and q.now - q.since < 2 * q.floor and quiet[0] is not Verdict.ERROR
        return TriggerResult(quiet[0], None, limit, unit, quiet[1], waiting=young, silent=not young)
    if kind == "loss" and q.target.series.by != "time":
        return judge_loss(q)
    if kind == "error_rate":
        return judge_error_rate(q)
    if kind == "latency" and q.measure.target.is_log:
        return judge_latency(q)
    return judge_level(q)
