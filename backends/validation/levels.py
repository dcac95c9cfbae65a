"""Two sides' figures held against each other as what they are (speeds, latencies, errors, memory), and not place by place: for a comparison
without a plan, by the code that gates run. The rules are in docs/judging.md.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from backends.plan.models import Measure, Source
from backends.validation.curve import Curve
from backends.validation.error_gate import GateResult, judge_counts, judge_shares
from backends.validation.error_rule import LEAST_REQUESTS
from backends.validation.gate import bounded, judge_peak
from backends.validation.load_slices import LoadReport
from backends.validation.memory import judge_room, use_of
from backends.validation.speed import judge_speed
from backends.validation.spread import Buckets, Held, Samples, Spread, held
from backends.validation.stats import Interval, binomial_lower
from backends.validation.trigger_latency import BEYOND_QUANTILE, named
from backends.validation.wording import figure, percent
from backends.verdict import Verdict

Kind = Literal["throughput", "step_time", "latency", "error_rate", "memory"]
KINDS: tuple[Kind, ...] = ("throughput", "step_time", "latency", "error_rate", "memory")
LOADS_APART = 0.1  # of legacy's requests a second
FAILING = 0.001  # of the target's requests without a latency, proven
QUANTILES = (0.5, 0.9, 0.99, 0.999)
_BINARY = frozenset((0.0, 1.0))
_THOUSANDS = (1e3, 1e6, 1e-3, 1e-6)
Runs = Sequence[Curve] | Sequence[LoadReport]


@dataclass(frozen=True, slots=True)
class Asked:
    """`within`: by how much the target may be worse, a share; of errors the share that may fail. `capacities`: what a card of legacy and of the
    target has, bytes; `unit` of memory's figures. `quantile` of latency. `loads_apart`: the share by which both loads may differ."""

    kind: Kind
    within: float
    higher_is_better: bool | None = None
    quantile: float = 0.99
    loads_apart: float = LOADS_APART
    capacities: tuple[float | None, float | None] = (None, None)
    unit: str | None = None
    is_share: bool = False  # errors: a figure is a share of requests that failed, not a request


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it: the verdict, its sentence, and the figures that it is made of; `loads` in requests a second, where they count."""

    verdict: Verdict
    reason: str
    value: float | None
    figures: tuple[Held, ...] = ()
    loads: tuple[float | None, float | None] | None = None
    counts: tuple[int, int] = (0, 0)


def compare_levels(asked: Asked, old: Runs, new: Runs) -> Found:
    """All runs of a side together. Curves, or what `cutover load` has kept."""
    if asked.kind == "error_rate":
        return _errors(asked, old, new)
    odd = "" if asked.kind == "latency" else _odd(old, new)
    if odd:
        return Found(Verdict.BREACH, odd, None, counts=(len(_values(old)), len(_values(new))))
    doubt = _units_apart(_values(old), _values(new))
    found = _found(asked, old, new)
    return replace(found, verdict=Verdict.INCONCLUSIVE, reason=f"{doubt} ({found.reason})") if doubt else found


def _odd(old: Runs, new: Runs) -> str:
    """A target with figures that are none, where legacy has none of the kind; empty else."""
    before, after = (_absent(side) for side in (old, new))
    return f"{after} figures of target are NaN or infinite" if after and not before else ""


def _found(asked: Asked, old: Runs, new: Runs) -> Found:
    if asked.kind == "latency":
        return _latency(asked, old, new)
    left, right = ([r for r in side if isinstance(r, Curve)] for side in (old, new))
    counts = sum(map(len, left)), sum(map(len, right))
    if asked.kind == "memory":
        return _of(_memory(asked, left, right), (), counts)
    return _of(*judge_speed(_measure(asked), left, right, asked.within), counts)


def _of(result: GateResult, figures: tuple[Held, ...], counts: tuple[int, int]) -> Found:
    return Found(result.verdict, result.reason, result.value, figures, None, counts)


def _measure(asked: Asked) -> Measure:
    """As the gates' code is asked."""
    at: dict[str, object] = {"name": "figure", "workload": "figure", "kind": asked.kind, "legacy": {}, "target": {}}
    return Measure.model_validate(at | {"higher_is_better": asked.higher_is_better})


def _values(runs: Runs) -> array[float]:
    """The finite figures."""
    out = array("d")
    for run in runs:
        if isinstance(run, Curve):
            out.extend(run.ys if math.isfinite(sum(run.ys)) else filter(math.isfinite, run.ys))
    return out


def _absent(runs: Runs) -> int:
    """How many figures are NaN or infinite."""
    return sum(len(r) for r in runs if isinstance(r, Curve)) - len(_values(runs))


def _units_apart(old: array[float], new: array[float]) -> str:
    """A question, where the target is about a thousand times legacy, or a thousandth of it."""
    if not len(old) or not len(new):
        return ""
    left, right = Samples(old).quantile(0.5), Samples(new).quantile(0.5)
    if left <= 0 or right <= 0 or not any(0.5 < right / left / times < 2 for times in _THOUSANDS):
        return ""
    return f"target is {figure(right / left)} times legacy: are the units the same?"


def _latency(asked: Asked, old: Runs, new: Runs) -> Found:
    left, right = _spread(old), _spread(new)
    loads = _load(old), _load(new)
    counts = left.count, right.count
    if min(counts) < LEAST_REQUESTS:
        reason = f"{left.count} and {right.count} requests, {LEAST_REQUESTS} a side needed"
        return Found(Verdict.INCONCLUSIVE, reason, None, (), loads, counts)
    highest = max(0.5, 1 - BEYOND_QUANTILE / min(counts))
    figures = tuple(held(named(q), left, right, q) for q in QUANTILES if q <= highest)
    q = min(asked.quantile, highest)
    chosen = held(named(q), left, right, q)
    result = bounded(_measure(asked), asked.within, "", q, (chosen.legacy, chosen.target), chosen.change)
    reason = f"{result.reason}; {_apart(chosen.apart)}"
    if q < asked.quantile:
        reason += f"; too few requests to know {named(asked.quantile)}"
    unequal = _loads_apart(loads, asked.loads_apart)
    if unequal:
        return Found(Verdict.INCONCLUSIVE, f"{unequal} ({reason})", chosen.delta, figures, loads, counts)
    reason += f"; {_load_words(loads)}"
    (without_before, before), (without, requests) = (_without(side) for side in (old, new))
    if without or without_before:
        reason += f"; {without_before} and {without} requests failed and have no latency"
    known = without_before / before if before else 0.0
    if result.verdict is Verdict.PASS and binomial_lower(without, requests, 0.99) > max(known, FAILING):
        reason = f"more of target's requests have no latency, so that the others say too little ({reason})"
        return Found(Verdict.INCONCLUSIVE, reason, chosen.delta, figures, loads, counts)
    return Found(result.verdict, reason, chosen.delta, figures, loads, counts)


def _apart(apart: Interval) -> str:
    low, high = (f"{'+' if bound > 0 else ''}{figure(bound)}" if math.isfinite(bound) else "not known" for bound in apart)
    return f"the difference itself between {low} and {high}"


def _spread(runs: Runs) -> Spread:
    reports = [r for r in runs if isinstance(r, LoadReport)]
    if not reports:
        return Samples(_values(runs))
    for other in reports[1:]:
        reports[0].histogram.merge(other.histogram)
    return Buckets(reports[0].histogram, 1000.0)


def _load(runs: Runs) -> float | None:
    """Requests a second, the mean over runs; None where one does not tell."""
    rates = [r.rate if isinstance(r, LoadReport) else _logged_rate(r) for r in runs]
    known = [r for r in rates if r is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(rates) else None


def _logged_rate(run: Curve) -> float | None:
    """By the middle nine tenths of the times: one that is wrong does not decide."""
    if run.by != "time" or len(run) < LEAST_REQUESTS:
        return None
    first, last = len(run) // 20, len(run) - 1 - len(run) // 20
    seconds = run.xs[last] - run.xs[first]
    return (last - first) / seconds if seconds > 0 else None


def _loads_apart(loads: tuple[float | None, float | None], allowed: float) -> str:
    """Why latencies cannot be held against each other; empty where they can."""
    old, new = loads
    if old is None or new is None:
        silent = " and ".join(name for name, load in (("legacy", old), ("target", new)) if load is None)
        return f"latencies are compared at equal load only, and the load of {silent} is not known: figures need a time"
    if abs(new - old) <= allowed * old:
        return ""
    words = (
        f"{figure(old)} and {figure(new)} requests a second ({percent(new / old - 1, signed=True)}, {percent(allowed)} allowed)"
    )
    return f"latencies are compared at equal load only, and loads differ: {words}"


def _load_words(loads: tuple[float | None, float | None]) -> str:
    old, new = (load or 0.0 for load in loads)
    return f"{figure(old, new)} and {figure(new, old)} requests a second"


def _without(runs: Runs) -> tuple[int, int]:
    """(requests that have no latency, of so many): those that failed under load, in a log those whose figure is none."""
    reports = [r for r in runs if isinstance(r, LoadReport)]
    if reports:
        return sum(r.failed for r in reports), sum(r.sent for r in reports)
    return _absent(runs), sum(len(r) for r in runs if isinstance(r, Curve))


def _errors(asked: Asked, old: Runs, new: Runs) -> Found:
    if any(isinstance(r, LoadReport) for r in (*old, *new)):
        (errors_before, before), (errors, requests) = (_counted(side) for side in (old, new))
        known = errors_before / before if before else 0.0
        result = judge_counts(errors, requests, known, asked.within, "")
        return _of(result, (), (before, requests))
    theirs, ours = _values(old), _values(new)
    counts = len(theirs), len(ours)
    mean = math.fsum(theirs) / len(theirs) if len(theirs) else 0.0
    if asked.is_share or any(not _BINARY.issuperset(side) for side in (ours, theirs)):
        return _of(judge_shares(ours, theirs, asked.within, ""), (), counts)
    return _of(judge_counts(sum(v > 0 for v in ours), len(ours), mean, asked.within, ""), (), counts)


def _counted(runs: Runs) -> tuple[int, int]:
    """(requests that failed, of so many)."""
    failed = sent = 0
    for run in runs:
        if isinstance(run, LoadReport):
            failed, sent = failed + run.failed, sent + run.sent
        else:
            values = _values([run])
            failed, sent = failed + sum(v > 0 for v in values), sent + len(values)
    return failed, sent


def _memory(asked: Asked, old: Sequence[Curve], new: Sequence[Curve]) -> GateResult:
    """The peak against what the card has, else against legacy's; a run that says that memory ran out is a breach, unless legacy's says so too."""
    said = next((r.out_of_memory for r in new if r.out_of_memory), "")
    if said and not any(r.out_of_memory for r in old):
        return GateResult(Verdict.BREACH, None, asked.within, f"target ran out of memory: {said}")
    theirs, ours = _values(old), _values(new)
    if not len(theirs) or not len(ours):
        return GateResult(Verdict.INCONCLUSIVE, None, asked.within, f"{len(theirs)} and {len(ours)} samples")
    source = Source.model_construct(unit=asked.unit or "B")
    use = use_of(source, max(ours), asked.capacities[1])
    if use is not None:
        verdict, words = judge_room(use_of(source, max(theirs), asked.capacities[0]), use)
        result = GateResult(verdict, use.peak / use.capacity, asked.within, words)
    else:
        result = judge_peak(max(ours), max(theirs), asked.within, "")
    return replace(result, reason=f"{result.reason}; both sides ran out of memory: {said}") if said else result
