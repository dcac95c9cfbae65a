"""Triggers on a loss (or another curve over epochs, steps, samples): the latest common places of both sides. The rule is in loss_rule.py.

NaN, infinity and an explosion are a breach at once.
"""

from __future__ import annotations

import math
from itertools import accumulate

from backends.validation.compare import Rule, compare_points, number, percent, relative
from backends.validation.loss_rule import LATELY, MOST, TWICE, LossRule, Told, apart, exploded, of_plain, plain
from backends.validation.measured import direction_of, silence_of
from backends.validation.question import BASELINE, LEGACY_NOW, Question, TriggerResult, waiting, worse_by
from backends.validation.stats import median
from backends.verdict import Verdict

PLACES = 5  # of the newest ones: a single odd one says nothing


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
    common = ours.latest_common(theirs, MOST)
    pairs = [(a, b) for x in common if (a := theirs.at(x)) is not None and (b := ours.at(x)) is not None and math.isfinite(a + b)]
    if not pairs:
        return _no_common(q, compared_with)
    latest = [relative(a, b) for a, b in pairs[-PLACES:]]
    last, middle = latest[-1], median(latest)
    words = f"{percent(last, signed=True)} at {ours.by} {number(common[-1])}, {percent(rule.tolerance)} allowed"
    if exploded([a for a, _ in pairs[-LATELY:]], [b for _, b in pairs[-TWICE:]], higher_is_better=bool(higher)):
        return TriggerResult(Verdict.BREACH, last, rule.tolerance, "fraction", words, compared_with, fast=True)
    if len(pairs) < PLACES:
        return waiting(q, last, compared_with, f"{len(pairs)} of {PLACES} common points; {words}")
    return _Look(q, rule, pairs, compared_with).judged(last, middle, words)


class _Look:
    """The latest places, held against how far these curves differ by themselves."""

    def __init__(self, q: Question, rule: Rule, pairs: list[tuple[float, float]], compared_with: str) -> None:
        self.by, self.rule, self.compared_with = q.target.series.by, rule, compared_with
        periods = [side.series.period for side in (q.legacy, q.target) if side.series.period]
        self.loss_rule = LossRule(rule.tolerance + (rule.noise or 0.0), min(periods, default=None), self.by == "epoch")
        sign = -1.0 if rule.higher_is_better else 1.0
        self.sums = [0.0, *accumulate(sign * apart(a, b) for a, b in pairs)]
        self.end = len(pairs)

    def judged(self, last: float, middle: float, words: str) -> TriggerResult:
        rule, limit = self.rule, self.rule.tolerance
        told = self.loss_rule.proven(self.sums, self.end)
        if told is not None:
            change = self._change(told)
            over = (
                f"{percent(change, signed=True)} over the last {told.places} {self.by}s, now {words}"
                if told.places > PLACES
                else words
            )
            return TriggerResult(Verdict.BREACH, change, limit, "fraction", over, self.compared_with)
        (now, good_now, noisy_now), (lately, good_lately, noisy) = rule.judge(last), rule.judge(middle)
        if (noisy or noisy_now) and Verdict.PASS not in (now, lately):
            words = f"{words}, but inside the known noise of {percent(rule.noise or 0.0)}"
            return TriggerResult(Verdict.INCONCLUSIVE, last, limit, "fraction", words, self.compared_with)
        if now is Verdict.BREACH and lately is Verdict.BREACH:
            return self._not_proven(last, words)
        if good_now and good_lately and self.loss_rule.proven([-s for s in self.sums], self.end) is not None:
            words = f"target is better than legacy by more than the limit: {words}; often a data bug"
            return TriggerResult(Verdict.INCONCLUSIVE, last, limit, "fraction", words, self.compared_with, too_good=True)
        return TriggerResult(Verdict.PASS, last, limit, "fraction", words, self.compared_with)

    def _not_proven(self, last: float, words: str) -> TriggerResult:
        """Worse at the latest places, but by no more than these curves differ from place to place."""
        limit, told = self.rule.tolerance, self.loss_rule.most_telling(self.sums, self.end)
        if told is None:
            few = f"{words}; noise unknown: {self.end} common points are too few to tell it (`noise` in the plan does)"
            return TriggerResult(Verdict.INCONCLUSIVE, last, limit, "fraction", few, self.compared_with)
        mean = f"{percent(self._change(told), signed=True)} over the last {told.places} {self.by}s"
        words = f"{words}; {mean}, which may be off by {percent(told.margin)}: more, but not proven"
        within = told.mean <= of_plain(limit) and told.margin <= of_plain(limit)
        verdict = Verdict.PASS if within else Verdict.INCONCLUSIVE
        return TriggerResult(verdict, last, limit, "fraction", words, self.compared_with)

    def _change(self, told: Told) -> float:
        """As (target - legacy) / |legacy|."""
        return plain(-told.mean if self.rule.higher_is_better else told.mean)


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
    few = min(len(q.target.series), len(q.legacy.series)) < PLACES
    found = compare_points(q.legacy.series, q.target.series, tolerance=worse_by(q), higher_is_better=False)
    reason = found.reason if not found.judged else "no common points with figures on both sides"
    return TriggerResult(Verdict.INCONCLUSIVE, None, worse_by(q), "fraction", reason, compared_with, waiting=few)
