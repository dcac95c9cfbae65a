"""Runs paired by seed: a difference that every seed shows is seen, the seeds' own spread does not hide it."""

from __future__ import annotations

import math
import random

from backends.validation.series import Sample, Series
from backends.validation.trial.paired import compare_pairs
from backends.verdict import Verdict


def runs(scale: float, *, count: int = 4, noise: float = 0.0, seed: int = 0) -> list[Series]:
    """Curves whose level differs by 10 % from seed to seed; `noise` between two runs of one seed."""
    out, chance = [], random.Random(seed)
    for number in range(count):
        series = Series("step")
        series.extend(
            Sample(float(x), x, scale * (1 + 0.1 * number) / x * (1 + noise * chance.gauss(0, 1))) for x in range(1, 21)
        )
        out.append(series)
    return out


def verdict(target: list[Series], at: tuple[float, ...] = (5.0, 20.0), higher: bool = False) -> Verdict:
    return compare_pairs(runs(1.0), target, at, 0.005, higher).verdict


def test_the_same_runs_pass_however_far_the_seeds_are_apart() -> None:
    assert verdict(runs(1.0)) is Verdict.PASS
    assert verdict(runs(1.003)) is Verdict.PASS


def test_one_percent_worse_on_every_seed_breaches_and_better_by_more_is_inconclusive() -> None:
    assert verdict(runs(1.01)) is Verdict.BREACH
    assert verdict(runs(0.99)) is Verdict.INCONCLUSIVE
    assert verdict(runs(0.99), higher=True) is Verdict.BREACH


def test_wide_noise_of_the_pairs_decides_nothing() -> None:
    assert verdict(runs(1.0, noise=0.05)) is Verdict.INCONCLUSIVE


def test_false_alarms_and_misses_stay_within_one_percent() -> None:
    """400 comparisons each: 4 pairs, noise 0.1 %, without a difference and with one of 2 %."""
    wrong = sum(verdict(runs(1.0, noise=0.001, seed=n)) is Verdict.BREACH for n in range(400))
    missed = sum(verdict(runs(1.02, noise=0.001, seed=n)) is Verdict.PASS for n in range(400))
    assert wrong <= 4
    assert missed <= 4


def test_nan_on_target_alone_breaches_and_a_run_that_is_too_short_waits() -> None:
    broken = runs(1.0)
    broken[2].add(Sample(5.0, 99, math.nan))
    assert verdict(broken) is Verdict.BREACH
    assert verdict(runs(1.0), at=(5.0, 30.0)) is Verdict.INCONCLUSIVE
    assert compare_pairs(runs(1.0), [Series("step")] * 4, (), 0.005, False).reason == "no common points"
