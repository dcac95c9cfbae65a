"""Step times and throughput of whole runs: medians and tails, each run without its warm-up."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import replace

from backends.plan.models import Measure
from backends.validation.curve import Curve
from backends.validation.error_gate import LEAST_SAMPLES, GateResult
from backends.validation.gate import non_inferior, tail_words
from backends.validation.measured import direction_of
from backends.validation.series import Series
from backends.validation.spread import Held, Samples, held, ordered
from backends.validation.warmup import warm_up
from backends.verdict import Verdict


def judge_speed(
    measure: Measure, old: Sequence[Series], new: Sequence[Series], within: float
) -> tuple[GateResult, tuple[Held, ...]]:
    """Non-inferiority of the median over all runs of a side; with the figures that it is made of."""
    higher = bool(direction_of(measure))
    (theirs, cold_before), (ours, cold) = (_warm(runs, higher) for runs in (old, new))
    if min(len(theirs), len(ours)) < LEAST_SAMPLES:
        reason = f"{len(theirs)} and {len(ours)} samples after the warm-up, {LEAST_SAMPLES} a side needed"
        return GateResult(Verdict.INCONCLUSIVE, None, within, reason), ()
    found = non_inferior(measure, ours, theirs, 0.5, within, "")
    words = f"; {tail_words(measure, ours, theirs)}"
    words += f"; warm-up left out: {cold_before} and {cold} samples" if cold or cold_before else ""
    sides = Samples(theirs), Samples(ours)
    rows = held("median", *sides, 0.5), held("slowest 5 %", *sides, 0.05 if higher else 0.95)
    return replace(found, reason=found.reason + words), rows


def _warm(runs: Sequence[Series], higher_is_better: bool) -> tuple[Sequence[float], int]:
    """(samples of all runs without the warm-up of each, in rising order; how many were left out)."""
    out = array("d")
    left_out = 0
    for run in runs:
        every = run.ys if isinstance(run, Curve) else array("d", (value for _, value in run.points()))
        values = array("d", (v for v in every if math.isfinite(v)))
        cold = warm_up(values, higher_is_better=higher_is_better)
        left_out += cold
        out.extend(values[cold:])
    return ordered(out), left_out
