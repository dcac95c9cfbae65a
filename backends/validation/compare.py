"""Is the target's metric the legacy's? At points, with a tolerance, with one run a side or several.

One run a side: the plain relative difference against the tolerance, and the reason says that the noise is unknown; a
known `noise` (how far two runs of one system differ) makes a breach inside it INCONCLUSIVE. Several runs: an equivalence
test (TOST, Schuirmann 1987) on the relative difference of the means, Welch's t, 1 % each way. The rules are in
docs/judging.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from backends.snapshot import PointView
from backends.validation.series import Series
from backends.validation.stats import Interval, mean_and_variance, t_quantile
from backends.verdict import Verdict, worst

ALPHA = 0.01  # of a wrong PASS, and over all points of a wrong BREACH, where there are several runs
_EDGE = 1e-9  # 0.201 is 0.5 % above 0.2, whatever binary fractions say
_MOST_RUNS = 200

Runs = Series | Sequence[Series]


class Judged(NamedTuple):
    """One place. `verdict` None: a side has not come that far yet. `interval` of the delta, with several runs."""

    at: float
    legacy: float | None
    target: float | None
    delta: float | None
    verdict: Verdict | None
    too_good: bool = False
    note: str = ""
    interval: Interval | None = None
    inside_noise: bool = False


@dataclass(frozen=True)
class Comparison:
    """What came of it; `value` is the delta that is worst for the verdict."""

    judged: tuple[Judged, ...]
    verdict: Verdict
    reason: str
    value: float | None
    legacy_now: float | None = None
    target_now: float | None = None

    @cached_property
    def points(self) -> tuple[PointView, ...]:
        """The places as the snapshot shows them."""
        return tuple(self._view(j) for j in self.judged)

    def _view(self, j: Judged) -> PointView:
        return PointView(
            at=j.at,
            legacy=j.legacy,
            target=j.target,
            delta=j.delta,
            verdict=j.verdict,
            too_good=j.too_good,
            legacy_now=self.legacy_now,
            target_now=self.target_now,
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """How two figures are held against each other. `higher_is_better` None: a change either way is for the worse."""

    tolerance: float
    higher_is_better: bool | None
    one_sided: bool = False
    noise: float | None = None

    def worse(self, delta: float) -> float:
        """By how much `delta` is for the worse; negative: for the better."""
        if self.higher_is_better is None:
            return abs(delta)
        return -delta if self.higher_is_better else delta

    def judge(self, delta: float) -> tuple[Verdict, bool, bool]:
        """(verdict, too good, inside the noise) of a single run a side."""
        worse, limit = self.worse(delta), self.tolerance * (1 + _EDGE)
        if worse > limit:
            if self.noise is not None and worse <= limit + self.noise:
                return Verdict.INCONCLUSIVE, False, True
            return Verdict.BREACH, False, False
        if worse < -limit and not self.one_sided:
            return Verdict.INCONCLUSIVE, True, False
        return Verdict.PASS, False, False


def relative(legacy: float, target: float) -> float:
    """(target - legacy) / |legacy|; infinite where legacy is 0 and target is not."""
    if legacy == target:
        return 0.0
    if legacy == 0:
        return math.copysign(math.inf, target)
    return (target - legacy) / abs(legacy)


def compare_points(
    legacy: Runs,
    target: Runs,
    *,
    at: Iterable[float] | None = None,
    tolerance: float,
    higher_is_better: bool | None,
    one_sided: bool = False,
    noise: float | None = None,
    interpolate: bool = False,
) -> Comparison:
    """Judge the target at the places `at`, else at every place that all runs of both sides have exactly.

    `tolerance` and `noise` are fractions. A side that has not come to a place leaves it waiting (verdict None), which
    counts as INCONCLUSIVE.
    """
    rule = Rule(tolerance, higher_is_better, one_sided, noise)
    old, new = _runs(legacy), _runs(target)
    wanted = tuple(dict.fromkeys(float(a) for a in at)) if at is not None else ()
    places = wanted or _common(old, new, interpolate)
    now = (_come(old), _come(new))
    if not places:
        return _nothing(old, new, rule, now)
    judged = tuple(_judge_place(x, old, new, rule, len(places), interpolate) for x in places)
    verdict, reason, value = _summary(judged, old, new, rule, interpolate)
    bad = _diverged(old, new)
    if bad and verdict is not Verdict.BREACH:
        verdict, reason = Verdict.BREACH, bad
    return Comparison(judged, verdict, reason, value, *now)


def _runs(runs: Runs) -> list[Series]:
    return [runs] if isinstance(runs, Series) else list(runs)


def _come(runs: list[Series]) -> float | None:
    """How far a side has come: as far as the run that is furthest behind."""
    tops = [r.top for r in runs]
    known = [t for t in tops if t is not None]
    return min(known) if known and len(known) == len(tops) else None


def _common(old: list[Series], new: list[Series], interpolate: bool) -> tuple[float, ...]:
    every = [*old, *new]
    if any(not len(r) for r in every):
        return ()
    if not interpolate:
        return tuple(sorted(set.intersection(*(r.places() for r in every))))
    spans = [[x for x, _ in r.points()] for r in every]
    low, high = max(s[0] for s in spans), min(s[-1] for s in spans)
    return tuple(x for x in spans[0] if low <= x <= high)


def _nothing(old: list[Series], new: list[Series], rule: Rule, now: tuple[float | None, float | None]) -> Comparison:
    missing = [name for name, runs in (("legacy", old), ("target", new)) if not any(len(r) for r in runs)]
    bad = _diverged(old, new)
    if bad:
        return Comparison((), Verdict.BREACH, bad, None, *now)
    if missing:
        reason = f"no common points: {' and '.join(missing)} {'have' if len(missing) > 1 else 'has'} no data"
    elif len(old) + len(new) > 2 and set(old[0].places()) & set(new[0].places()):
        reason = "no common points: no place is in every run"
    else:
        reason = f"no common points by {old[0].by}: {_near_misses(old[0], new[0])}"
    return Comparison((), Verdict.INCONCLUSIVE, reason, None, *now)


def _near_misses(old: Series, new: Series) -> str:
    """The closest pairs of places that do not meet, in words."""
    theirs = sorted(new.places())
    pairs: list[tuple[float, float, float]] = []
    i = 0
    for x in sorted(old.places()):
        while i + 1 < len(theirs) and abs(theirs[i + 1] - x) <= abs(theirs[i] - x):
            i += 1
        pairs.append((abs(theirs[i] - x), x, theirs[i]))
    nearest = sorted(sorted(pairs)[:3], key=lambda p: p[1])
    return "nearest are " + ", ".join(f"legacy {number(a)} and target {number(b)}" for _, a, b in nearest)


def _diverged(old: list[Series], new: list[Series]) -> str:
    """A sentence where the target went NaN or infinite at a place where legacy did not; empty else."""
    for run in new:
        if run.by == "time":
            continue
        for x in run.bad_places():
            theirs = [r.at(x) for r in old]
            if not any(v is not None and not math.isfinite(v) for v in theirs):
                return f"target is {number(run.at(x))} at {run.by} {number(x)}: diverged"
    return ""


def _judge_place(x: float, old: list[Series], new: list[Series], rule: Rule, places: int, interpolate: bool) -> Judged:
    before, after = ([_value(r, x, interpolate) for r in side] for side in (old, new))
    left, right = [v for v in before if v is not None], [v for v in after if v is not None]
    if len(left) < len(before) or len(right) < len(after):
        return _judge_missing(x, old, new, _mean(left), _mean(right), (len(left) < len(before), len(right) < len(after)))
    odd = _judge_odd(x, left, right)
    if odd is not None:
        return odd
    if len(left) + len(right) > 2:
        return _judge_runs(x, left, right, rule, places)
    delta = relative(left[0], right[0])
    verdict, too_good, inside = rule.judge(delta)
    note = "legacy is 0: no relative difference" if math.isinf(delta) else ""
    return Judged(x, left[0], right[0], delta, verdict, too_good, note, inside_noise=inside)


def _value(run: Series, x: float, interpolate: bool) -> float | None:
    value = run.at(x)
    if value is not None or not interpolate:
        return value
    below, above = run.nearest(x)
    if below is None or above is None:
        return None
    low, high = run.at(below), run.at(above)
    if low is None or high is None:
        return None
    return low + (high - low) * (x - below) / (above - below)


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values and all(map(math.isfinite, values)) else None


def _judge_missing(
    x: float, old: list[Series], new: list[Series], left: float | None, right: float | None, lacks: tuple[bool, bool]
) -> Judged:
    """A side has no value here: not yet (waiting), or its places pass by this one and never will."""
    words, passed = [], False
    for name, runs, lacking in (("legacy", old, lacks[0]), ("target", new, lacks[1])):
        short = [r for r in runs if r.at(x) is None] if lacking else []
        for run in short[:1]:
            if run.top is not None and run.top > x:
                passed = True
                below, above = run.nearest(x)
                near = " and ".join(number(v) for v in (below, above) if v is not None)
                words.append(f"{name} has no point at {number(x)}, nearest {near}")
            else:
                come = "nothing yet" if run.top is None else f"at {number(run.top)} of {number(x)}"
                words.append(f"{name} {come}")
    note = "; ".join(words)
    return Judged(x, left, right, None, Verdict.INCONCLUSIVE if passed else None, note=note)


def _judge_odd(x: float, left: list[float], right: list[float]) -> Judged | None:
    bad_left, bad_right = ([v for v in side if not math.isfinite(v)] for side in (left, right))
    if bad_left and bad_right:
        return Judged(x, None, None, None, Verdict.INCONCLUSIVE, note="both sides are not finite: a common cause")
    if bad_right:
        return Judged(x, _mean(left), bad_right[0], None, Verdict.BREACH, note=f"target is {number(bad_right[0])}")
    if bad_left:
        note = f"legacy is {number(bad_left[0])}: nothing to hold the target against"
        return Judged(x, bad_left[0], _mean(right), None, Verdict.INCONCLUSIVE, note=note)
    return None


def _judge_runs(x: float, left: list[float], right: list[float], rule: Rule, places: int) -> Judged:
    mean_left, mean_right = mean_and_variance(left)[0], mean_and_variance(right)[0]
    delta = relative(mean_left, mean_right)
    if math.isinf(delta):
        verdict, too_good, _ = rule.judge(delta)
        return Judged(x, mean_left, mean_right, delta, verdict, too_good, "legacy is 0: no relative difference")
    error, df = _standard_error(left, right)
    half = error * t_quantile(1 - ALPHA, df) if error else 0.0
    strict = error * t_quantile(1 - ALPHA / places, df) if error else 0.0
    interval = Interval(delta - half, delta + half)
    verdict, too_good = _equivalence(rule, delta, half, strict)
    note = ""
    if verdict is Verdict.INCONCLUSIVE and not too_good:
        note = _runs_needed(rule, delta, error, (len(left), len(right)))
    return Judged(x, mean_left, mean_right, delta, verdict, too_good, note, interval)


def _standard_error(left: list[float], right: list[float]) -> tuple[float, float]:
    """(standard error of the relative difference, degrees of freedom). A single run borrows the other side's spread."""
    (mean_left, var_left), (mean_right, var_right) = mean_and_variance(left), mean_and_variance(right)
    scale = mean_left * mean_left
    ratio = (mean_right / mean_left) ** 2 if mean_left else 1.0
    if len(right) == 1:
        var_right = var_left * ratio
    if len(left) == 1:
        var_left = var_right / ratio if ratio else var_right
    a, b = var_right / len(right), ratio * var_left / len(left)
    if a + b == 0 or scale == 0:
        return 0.0, 1.0
    if min(len(left), len(right)) == 1:
        return math.sqrt((a + b) / scale), max(len(left), len(right)) - 1.0
    df = (a + b) ** 2 / (a * a / (len(right) - 1) + b * b / (len(left) - 1))
    return math.sqrt((a + b) / scale), df


def _equivalence(rule: Rule, delta: float, half: float, strict: float) -> tuple[Verdict, bool]:
    worse, limit = rule.worse(delta), rule.tolerance * (1 + _EDGE)
    if worse - strict > limit:
        return Verdict.BREACH, False
    if worse + half <= limit and (rule.one_sided or worse - half >= -limit):
        return Verdict.PASS, False
    return Verdict.INCONCLUSIVE, worse + half < -limit


def _runs_needed(rule: Rule, delta: float, error: float, runs: tuple[int, int]) -> str:
    """How many runs a side would decide, were difference and noise to stay as they are."""
    room = rule.tolerance - abs(delta)
    if room == 0:
        return "the difference is the tolerance: more runs would not decide"
    harmonic = 2 / (1 / runs[0] + 1 / runs[1])
    for count in range(max(runs) + 1, _MOST_RUNS + 1):
        if t_quantile(1 - ALPHA, 2.0 * count - 2) * error * math.sqrt(harmonic / count) <= abs(room):
            return f"with this noise about {count} runs a side would decide"
    return f"with this noise more than {_MOST_RUNS} runs a side would be needed"


def _summary(
    judged: tuple[Judged, ...], old: list[Series], new: list[Series], rule: Rule, interpolate: bool
) -> tuple[Verdict, str, float | None]:
    by = old[0].by
    verdict = worst([j.verdict or Verdict.INCONCLUSIVE for j in judged])
    deltas = [j for j in judged if j.delta is not None]
    deciding = [j for j in judged if (j.verdict or Verdict.INCONCLUSIVE) is verdict]
    shown = max(deciding, key=lambda j: (j.delta is None and j.verdict is not None, _size(j, rule)))
    value = max((j.delta for j in deltas if j.delta is not None), key=rule.worse, default=None)
    if shown.delta is not None and verdict is not Verdict.PASS:
        value = shown.delta
    sentence = _sentence(verdict, shown, judged, by, rule)
    caveat = _caveat(verdict, shown, len(old), len(new), rule)
    asked = "; interpolated between places, as asked" if interpolate else ""
    return verdict, f"{sentence}{caveat}{asked}", value


def _size(j: Judged, rule: Rule) -> float:
    if j.delta is None:
        return -math.inf
    return abs(j.delta) if j.too_good else rule.worse(j.delta)


def _sentence(verdict: Verdict, shown: Judged, judged: tuple[Judged, ...], by: str, rule: Rule) -> str:
    place, allowed = f"{by} {number(shown.at)}", f"{percent(rule.tolerance)} allowed"
    if shown.delta is None:
        waiting = [j for j in judged if j.verdict is None]
        head = f"waiting for {len(waiting)} of {len(judged)} points: " if waiting and shown.verdict is None else ""
        return f"{head}{place}: {shown.note}"
    change = f"{percent(shown.delta, signed=True)} at {place} ({number(shown.legacy)} → {number(shown.target)})"
    if shown.interval is not None:
        half = (shown.interval.high - shown.interval.low) / 2
        change = f"{percent(shown.delta, signed=True)} ± {percent(half)} at {place}"
    note = f": {shown.note}" if shown.note else ""
    if verdict is Verdict.PASS:
        return f"{len(judged)} of {len(judged)} points within {percent(rule.tolerance)}; largest {change}{note}"
    if shown.too_good:
        return f"target is better than legacy by more than {percent(rule.tolerance)}: {change}; often a data bug{note}"
    if verdict is Verdict.BREACH:
        return f"target is worse: {change}, {allowed}{note}"
    if shown.inside_noise:
        return f"target is worse: {change}, {allowed}, but inside the known noise of {percent(rule.noise or 0.0)}"
    return f"cannot tell: {change}, {allowed}{note}"


def _caveat(verdict: Verdict, shown: Judged, old: int, new: int, rule: Rule) -> str:
    if old + new > 2:
        return f"; {old} and {new} runs" + ("" if min(old, new) > 1 else ", the spread of one side taken for both")
    if rule.noise is not None or shown.delta is None:
        return ""
    more = ": two runs of one system may differ as much, several runs a side would tell"
    return "; noise unknown (one run a side)" + (more if verdict is Verdict.BREACH else "")


def percent(fraction: float, *, signed: bool = False) -> str:
    """0.0031 -> `0.31 %`, three digits that count."""
    text = f"{fraction * 100:{'+' if signed else ''}.3g}"
    if "e" in text and math.isfinite(fraction):
        text = f"{fraction * 100:{'+' if signed else ''}.0f}" if abs(fraction) > 1 else f"{0:{'+' if signed else ''}}"
    return f"{text} %"


def number(value: float | None) -> str:
    """A figure of a log as people read it: whole numbers whole, else six digits."""
    if value is None:
        return "-"
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(f"{value:.6g}", f"{value:.6g}")
