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

from backends.snapshot import PointView
from backends.validation.bulk import LEAST, Stretch, notable_places
from backends.validation.curve import Curve
from backends.validation.doubts import counts_apart, ran_away, units_apart
from backends.validation.rule import Judged, Rule, relative
from backends.validation.sentence import summary
from backends.validation.series import Series
from backends.validation.several import judge_runs
from backends.validation.wording import number, percent
from backends.verdict import Verdict

__all__ = ["Comparison", "Judged", "Rule", "compare_points", "number", "percent", "relative"]

Runs = Series | Sequence[Series]


@dataclass(frozen=True)
class Comparison:
    """What came of it; `value` is the delta that is worst for the verdict. `total` places were judged; of very many only the
    notable ones are in `judged`."""

    judged: tuple[Judged, ...]
    verdict: Verdict
    reason: str
    value: float | None
    legacy_now: float | None = None
    target_now: float | None = None
    total: int = 0

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
            note=j.note,
        )


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
    places, total = (wanted, len(wanted)) if wanted else _places(old, new, rule, interpolate)
    now = (_come(old), _come(new))
    if not places:
        return _nothing(old, new, rule, now)
    judged = tuple(_judge_place(x, old, new, rule, len(places), interpolate) for x in places)
    verdict, reason, value = summary(judged, total, old, new, rule, interpolate)
    doubt = counts_apart(old, new) or units_apart(judged)
    if doubt:
        verdict, reason = Verdict.INCONCLUSIVE, f"{doubt} ({reason})"
    bad = _diverged(old, new) or (ran_away(old, new) if higher_is_better is False and not doubt else "")
    if bad and verdict is not Verdict.BREACH:
        verdict, reason = Verdict.BREACH, bad
    return Comparison(judged, verdict, reason, value, *now, total)


def _places(old: list[Series], new: list[Series], rule: Rule, interpolate: bool) -> tuple[tuple[float, ...], int]:
    """(the places to judge one by one, how many there are in common): of very many only those that are notable."""
    if len(old) == len(new) == 1 and not interpolate and rule.noise is None:
        left, right = old[0], new[0]
        if isinstance(left, Curve) and isinstance(right, Curve) and min(len(left), len(right)) >= LEAST:
            chosen, total = notable_places(left, right, rule)
            return tuple(chosen), total
    common = _common(old, new, interpolate)
    return common, len(common)


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
        return judge_runs(x, left, right, rule, places)
    return _judge_pair(x, left[0], right[0], rule)


def _judge_pair(x: float, left: float, right: float, rule: Rule) -> Judged:
    """One run a side; both figures are finite."""
    delta = relative(left, right)
    verdict, too_good, inside = rule.judge(delta)
    note = "legacy is 0: no relative difference" if math.isinf(delta) else ""
    return Judged(x, left, right, delta, verdict, too_good, note, inside_noise=inside)


def judge_stretch(stretch: Stretch, rule: Rule) -> list[Judged]:
    """Its places one by one, as `compare_points` judges them."""
    columns = zip(stretch.xs, stretch.left, stretch.right, strict=True)
    return [_judge_odd(x, [a], [b]) or _judge_pair(x, a, b, rule) for x, a, b in columns]


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
