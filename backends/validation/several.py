"""Several runs a side: an equivalence test on the relative difference of the means, and how many runs would decide.

TOST (Schuirmann 1987) with Welch's t and the delta method for the ratio.
"""

from __future__ import annotations

import math

from backends.validation.planning import MOST_RUNS, runs_needed
from backends.validation.rule import EDGE, Judged, Rule, relative
from backends.validation.stats import Interval, mean_and_variance, t_quantile
from backends.verdict import Verdict

ALPHA = 0.01  # of a wrong PASS, and over all points of a wrong BREACH


def judge_runs(x: float, left: list[float], right: list[float], rule: Rule, places: int) -> Judged:
    """One place with several runs a side; `places` are judged together."""
    mean_left, mean_right = mean_and_variance(left)[0], mean_and_variance(right)[0]
    delta = relative(mean_left, mean_right)
    if math.isinf(delta):
        verdict, too_good, _ = rule.judge(delta)
        return Judged(x, mean_left, mean_right, delta, verdict, too_good, "legacy is 0: no relative difference")
    error, df = _standard_error(left, right)
    half = error * t_quantile(1 - ALPHA, df) if error else 0.0
    strict = error * t_quantile(1 - ALPHA / places, df) if error else 0.0
    interval = Interval(delta - half, delta + half)
    verdict, too_good = _equivalence(rule, delta, half, strict)
    note = ""
    if verdict is Verdict.INCONCLUSIVE and not too_good:
        note = _more_runs(rule, delta, error, (len(left), len(right)))
    return Judged(x, mean_left, mean_right, delta, verdict, too_good, note, interval)


def _standard_error(left: list[float], right: list[float]) -> tuple[float, float]:
    """(standard error of the relative difference, degrees of freedom). A single run borrows the other side's spread."""
    (mean_left, var_left), (mean_right, var_right) = mean_and_variance(left), mean_and_variance(right)
    scale = mean_left * mean_left
    ratio = (mean_right / mean_left) ** 2 if mean_left else 1.0
    if len(right) == 1:
        var_right = var_left * ratio
    if len(left) == 1:
        var_left = var_right / ratio if ratio else var_right
    a, b = var_right / len(right), ratio * var_left / len(left)
    if a + b == 0 or scale == 0:
        return 0.0, 1.0
    if min(len(left), len(right)) == 1:
        return math.sqrt((a + b) / scale), max(len(left), len(right)) - 1.0
    df = (a + b) ** 2 / (a * a / (len(right) - 1) + b * b / (len(left) - 1))
    return math.sqrt((a + b) / scale), df


def _equivalence(rule: Rule, delta: float, half: float, strict: float) -> tuple[Verdict, bool]:
    worse, limit = rule.worse(delta), rule.tolerance * (1 + EDGE)
    if worse - strict > limit:
        return Verdict.BREACH, False
    if worse + half <= limit and (rule.one_sided or worse - half >= -limit):
        return Verdict.PASS, False
    return Verdict.INCONCLUSIVE, worse + half < -limit


def _more_runs(rule: Rule, delta: float, error: float, runs: tuple[int, int]) -> str:
    """How many runs a side would decide, were difference and noise to stay as they are."""
    room = rule.tolerance - abs(delta)
    if room == 0:
        return "the difference is the tolerance: more runs would not decide"
    spread = error / math.sqrt(1 / runs[0] + 1 / runs[1])
    count = runs_needed(abs(room), spread, alpha=ALPHA, both_sides=room > 0)
    if count is None:
        return f"with this noise more than {MOST_RUNS} runs a side would be needed"
    count = max(count, max(runs) + 1)
    return f"with this noise about {count} runs a side would decide ({count - min(runs)} more)"
