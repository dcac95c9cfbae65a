"""What the console shows of one measure: both curves, the points of its gates, the delta and the verdict sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable

from backends.plan.models import Gate, Measure
from backends.snapshot import ValidationView
from backends.validation.compare import relative
from backends.validation.gate import judge_gate, within_of
from backends.validation.measured import Measured, finite
from backends.validation.series import thinned
from backends.validation.stats import quantile

CURVE = 200  # points of a curve at most
RECENT = 200  # samples that the figures of a measure over time are the middle of


def validation_view(
    measure: Measure,
    workload: str,
    legacy: Measured,
    target: Measured,
    gates: Iterable[Gate],
    now: float,
) -> ValidationView:
    """The view at `now` (unix seconds). `gates` may be all of the plan: those of other measures are left out."""
    own = [g for g in gates if g.measure == measure.name]
    gate = _together(own, measure)
    result = judge_gate(gate, measure, legacy, target, now=now)
    by = target.series.by
    left, right = _figure(legacy, measure), _figure(target, measure)
    delta = relative(left, right) if left is not None and right is not None else None
    if by != "time":
        left, right, delta = _at_last_common(legacy, target, left, right)
    return ValidationView(
        measure=measure.name,
        workload=workload,
        kind=measure.kind,
        by=by,
        tolerance=within_of(gate, measure),
        points=result.points if gate.at else (),
        legacy_curve=_curve(legacy),
        target_curve=_curve(target),
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
    within = min((within_of(g, measure) for g in gates), default=None)
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


def _at_last_common(
    legacy: Measured, target: Measured, left: float | None, right: float | None
) -> tuple[float | None, float | None, float | None]:
    """Both values and their delta at the furthest place that both sides have; without one, no delta."""
    place = max(legacy.series.places() & target.series.places(), default=None)
    if place is None:
        return left, right, None
    old, new = legacy.series.at(place), target.series.at(place)
    if old is None or new is None or not math.isfinite(old + new):
        return old, new, None
    return old, new, relative(old, new)


def _curve(side: Measured) -> tuple[tuple[float, float], ...]:
    return thinned([p for p in side.series.points() if math.isfinite(p[1])], CURVE)
