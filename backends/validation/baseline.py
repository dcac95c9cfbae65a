"""Legacy's figures of a measure, recorded while legacy stands alone: the yardstick where it can no longer be asked.

Recorded is what a later comparison needs: the median with its distribution-free bounds, the quantiles that enough values lie beyond, a rate
of errors as counts, the figures at places, and, where several runs of legacy are given, how far two runs of one system differ (`noise`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from backends.plan.models import Measure
from backends.validation.compare import number, percent, relative
from backends.validation.error_rule import LEAST_FOR_RATE
from backends.validation.measured import finite, gives_shares
from backends.validation.series import Series
from backends.validation.stats import binomial_upper, finite_or_none, quantile, quantile_interval
from backends.validation.trigger_latency import known_quantile, named
from backends.validation.wording import figure

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
LEAST_SAMPLES = 10
_CONFIDENCE = 0.95
_PLACES = 200  # that are kept of a curve, beside those that gates name


@dataclass(frozen=True, slots=True)
class Baseline:
    """Of one measure. `value` is a median, of an error rate the rate, of a curve the last figure; `low` and `high` bound it (95 % each).
    `spread` is the middle 90 % of what was seen. `quantiles` by name, such as `p99`. Times are unix seconds."""

    measure: str
    workload: str
    kind: str
    samples: int
    value: float
    low: float | None = None
    high: float | None = None
    spread: tuple[float, float] | None = None
    quantiles: Mapping[str, float] = field(default_factory=dict)
    points: tuple[tuple[float, float], ...] = ()
    by: str = "time"
    runs: int = 1
    noise: float | None = None
    since: float | None = None
    until: float | None = None

    def as_json(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self) | {"points": [list(p) for p in self.points], "spread": list(self.spread) if self.spread else None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Baseline:
        """From the journal; what a newer version adds is left out."""
        known = {name: data[name] for name in cls.__slots__ if name in data}
        known["points"] = tuple((float(x), float(y)) for x, y in data.get("points") or ())
        known["spread"] = tuple(data["spread"]) if data.get("spread") else None
        return cls(**known)

    def figure(self, measure: Measure) -> float | None:
        """What a trigger of this measure is held against; None where too little was seen."""
        if measure.kind == "latency":
            return self.quantiles.get(named(measure.quantile or 0.99))
        return self.value

    @property
    def text(self) -> str:
        """In words."""
        if self.kind == "error_rate":
            return f"{percent(self.value)} of requests failed, {self.samples:,} samples"
        if self.by != "time":
            noise = f", two runs differ by up to {percent(self.noise)}" if self.noise is not None else ""
            return f"{figure(self.value)} at {self.by} {number(self.points[-1][0])}, {self.runs} run{'s' if self.runs > 1 else ''}{noise}"
        width = f", 90 % of all between {figure(self.spread[0])} and {figure(self.spread[1])}" if self.spread else ""
        high = [name for name in self.quantiles if name != "p50"]
        more = f", {high[-1]} {figure(self.quantiles[high[-1]])}" if self.kind == "latency" and high else ""
        return f"median {figure(self.value)}{more}{width}, {self.samples:,} samples"


def take(measure: Measure, runs: Sequence[Series], pinned: Sequence[float] = ()) -> Baseline | str:
    """Legacy's baseline from its runs, the first being the one that the plan names; or why there is none, in words."""
    first = runs[0]
    if first.by != "time":
        return _curve(measure, runs, pinned)
    values = sorted(finite(first.window(-math.inf, math.inf)))
    least = LEAST_FOR_RATE if measure.kind == "error_rate" else LEAST_SAMPLES
    if len(values) < least:
        return f"{len(values)} samples, {least} needed"
    newest = first.newest()
    seen = {"since": first.oldest_time, "until": newest.time if newest is not None else None, "samples": len(values)}
    about: dict[str, Any] = {"measure": measure.name, "workload": measure.workload, "kind": measure.kind, **seen}
    if measure.kind == "error_rate":
        if gives_shares(measure.legacy, first):
            return Baseline(
                value=math.fsum(values) / len(values),
                high=finite_or_none(quantile_interval(values, 0.5, _CONFIDENCE).high),
                **about,
            )
        errors = sum(v > 0 for v in values)
        return Baseline(value=errors / len(values), high=binomial_upper(errors, len(values), _CONFIDENCE), **about)
    if measure.kind == "memory":
        return Baseline(value=values[-1], spread=(quantile(values, 0.05), quantile(values, 0.95)), **about)
    low, high = quantile_interval(values, 0.5, _CONFIDENCE)
    wanted = {*QUANTILES, measure.quantile or 0.99}
    known = {named(q): quantile(values, q) for q in sorted(wanted) if known_quantile(q, [values]) == q}
    return Baseline(
        value=quantile(values, 0.5), low=finite_or_none(low), high=finite_or_none(high),
        spread=(quantile(values, 0.05), quantile(values, 0.95)), quantiles=known, **about,
    )  # fmt: skip


def _curve(measure: Measure, runs: Sequence[Series], pinned: Sequence[float]) -> Baseline | str:
    points = [p for p in runs[0].points() if math.isfinite(p[1])]
    if not points:
        return "no figure at any place"
    kept = points[:: max(1, len(points) // _PLACES)]
    named_places = [p for p in points if p[0] in set(pinned)]
    all_kept = tuple(sorted({*kept, *named_places, points[-1]}))
    return Baseline(
        measure=measure.name, workload=measure.workload, kind=measure.kind, samples=len(points), value=points[-1][1],
        points=all_kept, by=runs[0].by, runs=len(runs), noise=noise_of(runs, pinned),
    )  # fmt: skip


def noise_of(runs: Sequence[Series], at: Sequence[float] = ()) -> float | None:
    """How far two runs of one system differ: the largest relative difference of any two, at the places `at`, else at every place that all
    have. None with one run, or without a common place."""
    if len(runs) < 2:
        return None
    places = set(at) or set.intersection(*(run.places() for run in runs))
    apart = [
        max(abs(relative(a, b)), abs(relative(b, a)))
        for x in places
        for one, other in itertools.combinations(runs, 2)
        if (a := one.at(x)) is not None and (b := other.at(x)) is not None and math.isfinite(a) and math.isfinite(b)
    ]
    found = [d for d in apart if math.isfinite(d)]
    return max(found, default=None)
