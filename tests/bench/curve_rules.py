"""Rules for two sets of curves, each a function of the runs of both sides: ours as `cutover compare` has it, and plainer ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist, fmean, median

from backends.validation.compare import compare_points
from backends.validation.curve import Curve
from backends.verdict import Verdict

TOLERANCE = 0.005
SEEDS = 0.0065  # two runs of one system, by judging.md
KAYENTA_TOLERANCE, KAYENTA_CONFIDENCE = 0.25, 0.98  # NetflixACAJudge's own

Runs = Sequence[Curve]
Rule = Callable[[Runs, Runs, bool, Sequence[float], float], Verdict]


def ours(old: Runs, new: Runs, higher: bool, at: Sequence[float], noise: float) -> Verdict:
    """`compare_points` at the places."""
    return compare_points(old, new, at=at, tolerance=TOLERANCE, higher_is_better=higher).verdict


def ours_noise_known(old: Runs, new: Runs, higher: bool, at: Sequence[float], noise: float) -> Verdict:
    """The same, told how far two runs of the system differ."""
    return compare_points(old, new, at=at, tolerance=TOLERANCE, higher_is_better=higher, noise=noise).verdict


def ours_noise_assumed(old: Runs, new: Runs, higher: bool, at: Sequence[float], noise: float) -> Verdict:
    """The noise that seeds are said to make in MLPerf's losses, whatever this system's is."""
    return compare_points(old, new, at=at, tolerance=TOLERANCE, higher_is_better=higher, noise=SEEDS).verdict


def kayenta(old: Runs, new: Runs, higher: bool, at: Sequence[float], noise: float) -> Verdict:
    """Mann and Whitney on all points of both sides, unpaired: High or Low where the confidence interval of the shift lies beyond a
    quarter of the Hodges-Lehmann estimate. There is no INCONCLUSIVE."""
    control, experiment = ([v for r in side for v in r.ys] for side in (old, new))
    low, estimate, high = shift_interval(control, experiment, KAYENTA_CONFIDENCE)
    bound = KAYENTA_TOLERANCE * abs(estimate)
    worse = high < -bound if higher else low > bound
    return Verdict.BREACH if worse else Verdict.PASS


def shift_interval(control: Sequence[float], experiment: Sequence[float], confidence: float) -> tuple[float, float, float]:
    """(low, Hodges-Lehmann estimate, high) of how much the experiment is shifted: order statistics of all differences, by the
    normal approximation (Hollander and Wolfe, Nonparametric Statistical Methods, 4.3)."""
    n, m = len(control), len(experiment)
    differences = sorted(b - a for a in control for b in experiment)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rank = math.floor(n * m / 2 - z * math.sqrt(n * m * (n + m + 1) / 12))
    rank = max(0, min(rank, n * m // 2))
    return differences[rank], median(differences), differences[n * m - 1 - rank]


def in_a_row(k: int) -> Rule:
    """The mean of the target's runs worse than legacy's by more than the tolerance at K places in a row. No INCONCLUSIVE."""

    def rule(old: Runs, new: Runs, higher: bool, at: Sequence[float], noise: float) -> Verdict:
        row = 0
        for x in old[0].xs:
            a, b = (fmean(r.at(x) or 0.0 for r in side) for side in (old, new))
            worse = ((a - b) if higher else (b - a)) / abs(a) > TOLERANCE
            row = row + 1 if worse else 0
            if row == k:
                return Verdict.BREACH
        return Verdict.PASS

    return rule


RULES: dict[str, Rule] = {
    "ours": ours,
    "Mann-Whitney (Kayenta)": kayenta,
    "3 in a row": in_a_row(3),
}
ONE_RUN: dict[str, Rule] = {"ours, noise known": ours_noise_known, "ours, noise taken as 0.65 %": ours_noise_assumed}
