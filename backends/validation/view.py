"""What the console shows of one measure: both curves, the points of its gates and what is notable beside them, the delta and the verdict
sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backends.plan.models import Gate, Measure
from backends.snapshot import PointView, ValidationView
from backends.validation.baseline import Baseline
from backends.validation.gate import judge_gate, within_of
from backends.validation.measured import Measured, direction_of, finite
from backends.validation.rule import Rule, relative
from backends.validation.series import thinned
from backends.validation.stats import quantile
from backends.verdict import Verdict

CURVE = 200  # points of a curve at most
RECENT = 200  # samples that the figures of a measure over time are the middle of


Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is made of all figures of both sides, and so only when they have changed."""

    key: tuple[object, ...]
    legacy: Points
    target: Points
    notable: tuple[PointView, ...] = ()
    last: tuple[float | None, float | None, float | None] = (None, None, None)


def drawn(measure: Measure, legacy: Measured, target: Measured, gates: Iterable[Gate], before: Drawn | None = None) -> Drawn:
    """Curves, notable places and the last place in common; `before` where nothing has changed since."""
    gate = _together([g for g in gates if g.measure == measure.name], measure)
    series = legacy.series, target.series
    key = (*((id(s), s.changes) for s in series), gate.at, gate.within, gate.one_sided, measure.noise)
    if before is not None and before.key == key:
        return before
    curves = _curve(legacy), _curve(target)
    if target.series.by == "time":
        return Drawn(key, *curves)
    old, new = (dict(s.points()) for s in series)
    common = sorted(old.keys() & new.keys())
    rule = Rule(within_of(gate, measure), direction_of(measure), gate.one_sided, measure.noise)
    by_places = measure.kind in ("loss", "value") or bool(gate.at)  # single figures of a speed say nothing
    notable = notable_points([(x, old[x], new[x]) for x in common if x not in gate.at], rule) if by_places else ()
    last = _held(old[common[-1]], new[common[-1]]) if common else (None, None, None)
    return Drawn(key, *curves, notable, last)


def notable_points(places: Sequence[tuple[float, float, float]], rule: Rule) -> tuple[PointView, ...]:
    """Of (place, legacy's value, target's) in order of place: the first beyond what is allowed, the worst and the best, the last; each with
    what makes it notable."""
    if not places:
        return ()
    known = [(x, a, b, relative(a, b)) for x, a, b in places if math.isfinite(a) and math.isfinite(b) and a]
    notes: dict[float, list[str]] = {}
    odd = next((x for x, a, b in places if math.isfinite(a) and not math.isfinite(b)), None)
    if odd is not None:
        notes.setdefault(odd, []).append("target is NaN or infinite")
    first = next((x for x, _, _, d in known if rule.judge(d)[0] is Verdict.BREACH), None)
    if first is not None:
        notes.setdefault(first, []).append("first beyond")
    if known:
        notes.setdefault(max(known, key=lambda k: rule.worse(k[3]))[0], []).append("worst")
        if rule.higher_is_better is not None:
            notes.setdefault(min(known, key=lambda k: rule.worse(k[3]))[0], []).append("best")
    notes.setdefault(places[-1][0], []).append("last in common")
    return tuple(_notable(x, a, b, rule, ", ".join(notes[x])) for x, a, b in places if x in notes)


def _notable(x: float, old: float, new: float, rule: Rule, note: str) -> PointView:
    if not math.isfinite(old + new) or not old:
        verdict = Verdict.BREACH if math.isfinite(old) and not math.isfinite(new) else Verdict.INCONCLUSIVE
        return PointView(at=x, legacy=_known(old), target=_known(new), verdict=verdict, note=note)
    delta = relative(old, new)
    verdict, too_good, _ = rule.judge(delta)
    return PointView(at=x, legacy=old, target=new, delta=delta, verdict=verdict, too_good=too_good, note=note)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def validation_view(
    measure: Measure,
    workload: str,
    legacy: Measured,
    target: Measured,
    gates: Iterable[Gate],
    now: float,
    *,
    pictures: Drawn | None = None,
    baseline: Baseline | None = None,
    capacities: tuple[float | None, float | None] = (None, None),
) -> ValidationView:
    """The view at `now` (unix seconds). `gates` may be all of the plan: those of other measures are left out. `pictures`: as `drawn` made them
    of the same; `baseline` and `capacities` as of a gate."""
    own = [g for g in gates if g.measure == measure.name]
    gate = _together(own, measure)
    result = judge_gate(gate, measure, legacy, target, now=now, baseline=baseline, capacities=capacities)
    by = target.series.by
    pictures = pictures or drawn(measure, legacy, target, own)
    left, right = _figure(legacy, measure), _figure(target, measure)
    delta = relative(left, right) if left is not None and right is not None else None
    if by != "time":
        left, right, delta = pictures.last if pictures.last[0] is not None else (left, right, None)
    return ValidationView(
        measure=measure.name,
        workload=workload,
        kind=measure.kind,
        by=by,
        tolerance=within_of(gate, measure),
        points=result.points if gate.at else (),
        notable=pictures.notable,
        legacy_curve=pictures.legacy,
        target_curve=pictures.target,
        legacy_value=left,
        target_value=right,
        delta=delta if delta is None or math.isfinite(delta) else None,
        verdict=result.verdict,
        reason=result.reason,
        legacy_age=legacy.age(now),
        target_age=target.age(now),
    )


def _together(gates: list[Gate], measure: Measure) -> Gate:
    """One gate with the points of all and the narrowest margin."""
    points = tuple(sorted({at for g in gates for at in g.at}))
    within = min(within_of(g, measure) for g in gates) if any(g.within is not None for g in gates) else None
    one_sided = bool(gates) and all(g.one_sided for g in gates)
    lasting = max((g.for_ for g in gates if g.for_ is not None), default=None)
    return Gate.model_construct(measure=measure.name, at=points, within=within, one_sided=one_sided, for_=lasting)


def _figure(side: Measured, measure: Measure) -> float | None:
    """The latest value of a curve; of figures over time the quantile, rate, peak or median of the last ones."""
    recent = side.series.last(RECENT)
    values = sorted(finite(recent))
    if not values:
        return None
    if side.series.by != "time" and measure.kind in ("loss", "value"):
        return recent[-1] if math.isfinite(recent[-1]) else None
    if measure.kind == "error_rate":
        return math.fsum(values) / len(values)
    if measure.kind == "memory":
        return values[-1]
    requests = measure.kind == "latency" and measure.target.is_log
    return quantile(values, measure.quantile or 0.99) if requests else quantile(values, 0.5)


def _held(old: float, new: float) -> tuple[float | None, float | None, float | None]:
    """Both values and their delta; no delta where one is not finite."""
    return old, new, relative(old, new) if math.isfinite(old + new) else None


def _curve(side: Measured) -> tuple[tuple[float, float], ...]:
    return thinned([p for p in side.series.points() if math.isfinite(p[1])], CURVE)
