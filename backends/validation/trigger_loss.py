"""Triggers on a loss (or another curve over epochs, steps, samples): the latest common places of both sides.

The short window is the latest common place, the long one the median of the last five. NaN or infinity is a breach at once.
"""

from __future__ import annotations

import heapq
import math

from backends.validation.compare import Rule, compare_points, number, percent, relative
from backends.validation.measured import direction_of, silence_of
from backends.validation.question import BASELINE, LEGACY_NOW, Question, TriggerResult, waiting, worse_by
from backends.validation.stats import median
from backends.verdict import Verdict

PLACES = 5
LEAST_PLACES = 3
FAST = 10.0  # times the limit, at the last two common places


def diverged(q: Question) -> TriggerResult | None:
    """NaN or infinity on the target: a breach, unless legacy has it at the same place (then a common cause)."""
    ours, theirs = q.target.series, q.legacy.series
    if ours.by == "time":
        bad = [v for v in q.window(q.target, q.long) if not math.isfinite(v)]
        legacy_bad = any(not math.isfinite(v) for v in q.window(q.legacy, q.long))
        place = "now"
    else:
        places = ours.bad_places()
        bad = [v for v in (ours.at(x) for x in places[-1:]) if v is not None]
        theirs_there = [theirs.at(x) for x in places]
        legacy_bad = any(v is not None and not math.isfinite(v) for v in theirs_there)
        place = f"at {ours.by} {number(places[-1])}" if places else ""
    if not bad:
        return None
    limit = worse_by(q)
    if legacy_bad:
        reason = f"common cause: both sides are not finite {place}"
        return TriggerResult(Verdict.INCONCLUSIVE, None, limit, "fraction", reason, LEGACY_NOW)
    reason = f"target is {number(bad[-1])} {place}: diverged"
    return TriggerResult(Verdict.BREACH, None, limit, "fraction", reason, LEGACY_NOW, fast=True)


def judge_loss(q: Question) -> TriggerResult:
    """At the plan's points where it gives some, else at the latest common places."""
    higher = direction_of(q.measure)
    rule = Rule(worse_by(q), higher, noise=q.measure.noise)
    ours, theirs = q.target.series, q.legacy.series
    ended = silence_of("legacy", q.legacy, q.now, q.floor) is not None
    compared_with = BASELINE if ended else LEGACY_NOW
    if q.spec.at:
        return _judge_at(q, compared_with)
    common = sorted(heapq.nlargest(PLACES, ours.places() & theirs.places()))
    pairs = [(theirs.at(x), ours.at(x)) for x in common]
    deltas = [relative(a, b) for a, b in pairs if a is not None and b is not None and math.isfinite(a + b)]
    if not deltas:
        return _no_common(q, compared_with)
    last, middle = deltas[-1], median(deltas)
    words = f"{percent(last, signed=True)} at {ours.by} {number(common[-1])}, {percent(rule.tolerance)} allowed"
    if len(deltas) > 1 and min(rule.worse(d) for d in deltas[-2:]) > FAST * rule.tolerance:
        return TriggerResult(Verdict.BREACH, last, rule.tolerance, "fraction", words, compared_with, fast=True)
    if len(deltas) < LEAST_PLACES:
        return waiting(q, last, compared_with, f"{len(deltas)} of {LEAST_PLACES} common points; {words}")
    return _by_rule(rule, last, middle, words, compared_with)


def _by_rule(rule: Rule, last: float, middle: float, words: str, compared_with: str) -> TriggerResult:
    (now, good_now, noisy_now), (lately, good_lately, noisy) = rule.judge(last), rule.judge(middle)
    limit = rule.tolerance
    if now is Verdict.BREACH and lately is Verdict.BREACH:
        return TriggerResult(Verdict.BREACH, last, limit, "fraction", words, compared_with)
    if (noisy or noisy_now) and Verdict.PASS not in (now, lately):
        words = f"{words}, but inside the known noise of {percent(rule.noise or 0.0)}"
        return TriggerResult(Verdict.INCONCLUSIVE, last, limit, "fraction", words, compared_with)
    if good_now and good_lately:
        words = f"target is better than legacy by more than the limit: {words}; often a data bug"
        return TriggerResult(Verdict.INCONCLUSIVE, last, limit, "fraction", words, compared_with, too_good=True)
    return TriggerResult(Verdict.PASS, last, limit, "fraction", words, compared_with)


def _judge_at(q: Question, compared_with: str) -> TriggerResult:
    found = compare_points(
        q.legacy.series,
        q.target.series,
        at=q.spec.at,
        tolerance=worse_by(q),
        higher_is_better=direction_of(q.measure),
        noise=q.measure.noise,
    )
    judged = [j.verdict for j in found.judged if j.verdict is not None]
    still = len(judged) < len(found.judged) and all(v is Verdict.PASS for v in judged)
    too_good = any(j.too_good for j in found.judged)
    return TriggerResult(
        found.verdict, found.value, worse_by(q), "fraction", found.reason, compared_with, waiting=still, too_good=too_good
    )


def _no_common(q: Question, compared_with: str) -> TriggerResult:
    few = min(len(q.target.series), len(q.legacy.series)) < LEAST_PLACES
    found = compare_points(q.legacy.series, q.target.series, tolerance=worse_by(q), higher_is_better=False)
    reason = found.reason if not found.judged else "no common points with figures on both sides"
    return TriggerResult(Verdict.INCONCLUSIVE, None, worse_by(q), "fraction", reason, compared_with, waiting=few)
