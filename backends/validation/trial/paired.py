"""Runs of both sides paired by their seed: what the seeds differ by among themselves is no noise of the comparison.

At each place the relative differences of the pairs are taken; a test of equivalence on their mean (Schuirmann 1987, with Student's t of the
pairs): PASS where `mean ± t(0.99) se` lies within the tolerance, BREACH where the lower end of the worsening, at 1 % over all places together
(Bonferroni), is beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from backends.validation.compare import percent, relative
from backends.validation.series import Series
from backends.validation.stats import mean_and_variance, t_quantile
from backends.verdict import Verdict, worst

_CONFIDENCE = 0.99


@dataclass(frozen=True, slots=True)
class Place:
    """The pairs at one place. `half`: of the interval of the mean difference."""

    at: float
    verdict: Verdict
    reason: str
    delta: float | None = None
    half: float | None = None


@dataclass(frozen=True, slots=True)
class Paired:
    verdict: Verdict
    reason: str
    places: tuple[Place, ...] = ()


def compare_pairs(
    legacy: Sequence[Series], target: Sequence[Series], at: Sequence[float], tolerance: float, higher_is_better: bool | None
) -> Paired:
    """Two runs a side or more, in one order of seeds. Without `at`: every place that all runs have."""
    runs = [*legacy, *target]
    wanted = tuple(at) or tuple(sorted(set.intersection(*(run.places() for run in runs))))
    if not wanted:
        return Paired(Verdict.INCONCLUSIVE, "no common points")
    pairs = list(zip(legacy, target, strict=True))
    places = tuple(_place(x, pairs, tolerance, higher_is_better, len(wanted)) for x in wanted)
    verdict = worst([p.verdict for p in places])
    shown = max((p for p in places if p.verdict is verdict), key=lambda p: abs(p.delta) if p.delta is not None else math.inf)
    by = legacy[0].by
    return Paired(
        verdict, f"{shown.reason} at {by} {shown.at:g}, {percent(tolerance)} allowed; {len(pairs)} seeds, paired", places
    )


def _place(
    x: float, pairs: Sequence[tuple[Series, Series]], tolerance: float, higher_is_better: bool | None, places: int
) -> Place:
    values = [(one.at(x), other.at(x)) for one, other in pairs]
    known = [(a, b) for a, b in values if a is not None and b is not None]
    if len(known) < len(pairs):
        return Place(x, Verdict.INCONCLUSIVE, "not every run has a figure")
    if any(math.isfinite(a) and not math.isfinite(b) for a, b in known):
        return Place(x, Verdict.BREACH, "target is NaN or infinite")
    deltas = [relative(a, b) for a, b in known if math.isfinite(a) and math.isfinite(b)]
    if len(deltas) < len(pairs) or not all(math.isfinite(d) for d in deltas):
        return Place(x, Verdict.INCONCLUSIVE, "legacy is 0, NaN or infinite")
    mean, variance = mean_and_variance(deltas)
    error = math.sqrt(variance / len(deltas))
    half, strict = (t_quantile(q, len(deltas) - 1) * error for q in (_CONFIDENCE, 1 - (1 - _CONFIDENCE) / places))
    worse = abs(mean) if higher_is_better is None else -mean if higher_is_better else mean
    if abs(mean) + half <= tolerance:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.BREACH if worse - strict > tolerance else Verdict.INCONCLUSIVE
    return Place(x, verdict, f"{percent(mean, signed=True)} ± {percent(half)}", mean, half)
