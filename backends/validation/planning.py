"""How many runs a side a comparison needs, told before GPU hours are spent.

Equivalence of two means by two one-sided t tests: n with (t(1 - a, 2n - 2) + t(1 - b, 2n - 2)) * s * sqrt(2 / n) <= room, where b is half of
what may be missed (both tests must pass) and `room` what is left between the difference and the tolerance (Chow, Shao and Wang,
Sample Size Calculations in Clinical Research, 3.2.3). A true difference of `room` beyond the tolerance is found likewise, with b whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from backends.validation.series import Series
from backends.validation.stats import mean_and_variance, t_quantile
from backends.validation.wording import number, percent

POWER = 0.9
MOST_RUNS = 500


def runs_needed(room: float, spread: float, *, alpha: float, both_sides: bool, power: float = POWER) -> int | None:
    """Runs a side; None where more than `MOST_RUNS`. `spread` is one run's relative standard deviation."""
    if room <= 0:
        return None
    missed = (1 - power) / (2 if both_sides else 1)
    for count in range(2, MOST_RUNS + 1):
        df = 2.0 * count - 2
        if (t_quantile(1 - alpha, df) + t_quantile(1 - missed, df)) * spread * math.sqrt(2 / count) <= room:
            return count
    return None


@dataclass(frozen=True, slots=True)
class NoisyPlace:
    """How one side's runs differ at a place: `spread` is their relative standard deviation."""

    at: float
    spread: float
    runs: int | None  # a side that would decide there


def plan_runs(runs: Sequence[Series], tolerance: float, alpha: float, at: Sequence[float] | None = None) -> list[NoisyPlace]:
    """What the runs of one system say of the noise at each place that all have (or at those of `at`), and the runs that it asks for.

    For a target that is truly the same: nine times of ten the verdict is then PASS at that place.
    """
    places = sorted(set.intersection(*(r.places() for r in runs)))
    out = []
    for x in places if at is None else [x for x in at if x in set(places)]:
        values = [v for r in runs if (v := r.at(x)) is not None and math.isfinite(v)]
        if len(values) < 2:
            continue
        mean, variance = mean_and_variance(values)
        if mean:
            spread = math.sqrt(variance) / abs(mean)
            out.append(NoisyPlace(x, spread, runs_needed(tolerance, spread, alpha=alpha, both_sides=True)))
    return out


def plan_words(places: Sequence[NoisyPlace], by: str, tolerance: float) -> str:
    """A sentence over all places: the one that asks for most decides."""
    worst = max(places, key=lambda p: (p.runs is None, p.runs or 0, p.spread))
    count = f"more than {MOST_RUNS}" if worst.runs is None else f"about {worst.runs}"
    return (
        f"{count} runs a side would show, nine times of ten, that nothing differs by more than {percent(tolerance)}: at {by} "
        f"{number(worst.at)} one run's standard deviation is {percent(worst.spread)}"
    )
