"""The judge's statistics, in plain Python: exact binomial bounds, quantiles with order-statistic intervals, Student's t.

Sources: Clopper and Pearson 1934 (exact binomial); David and Nagaraja, Order Statistics, 7.1 (distribution-free intervals
for quantiles); Zou and Donner 2008 (MOVER: an interval for a difference from two intervals); Schuirmann 1987 (TOST);
Numerical Recipes 6.4 (incomplete beta by Lentz's continued fraction).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import NamedTuple


class Interval(NamedTuple):
    low: float
    high: float


def finite_or_none(value: float | None) -> float | None:
    """None for what JSON does not hold: infinity, NaN, and a whole number larger than any float."""
    if value is None:
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1.0) / (a + b + 2.0):
        return math.exp(log_front) * _beta_fraction(a, b, x) / a
    return 1.0 - math.exp(log_front) * _beta_fraction(b, a, 1.0 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    result = d
    for m in range(1, 10_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + numerator / c
            c = c if abs(c) > tiny else tiny
            result *= d * c
        if abs(d * c - 1.0) < 1e-14:
            break
    return result


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = p, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if incomplete_beta(a, b, middle) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@lru_cache(maxsize=4096)
def binomial_lower(events: int, trials: int, confidence: float = 0.99) -> float:
    """One-sided exact (Clopper-Pearson) lower bound of a rate: `events` of `trials`."""
    if events <= 0 or trials <= 0:
        return 0.0
    return beta_quantile(1.0 - confidence, events, trials - events + 1)


@lru_cache(maxsize=4096)
def binomial_upper(events: int, trials: int, confidence: float = 0.99) -> float:
    """One-sided exact (Clopper-Pearson) upper bound of a rate; 1.0 without trials."""
    if trials <= 0 or events >= trials:
        return 1.0
    return beta_quantile(confidence, events + 1, trials - events)


def binomial_tail(events: float, trials: float, rate: float) -> float:
    """P(Binomial(trials, rate) >= events), by the incomplete beta function: fractions of events and trials are allowed."""
    if events <= 0:
        return 1.0
    return incomplete_beta(events, trials - events + 1.0, rate) if events <= trials else 0.0


def hypergeometric_tail(events: float, trials: float, all_events: float, all_trials: float) -> float:
    """P(at least `events` of `all_events` fall among `trials` of `all_trials`): Fisher's exact test; fractions are allowed."""
    others = all_trials - trials
    if events <= max(0.0, all_events - others):
        return 1.0
    if events > min(all_events, trials):
        return 0.0

    def log_choose(n: float, k: float) -> float:
        return math.lgamma(n + 1.0) - math.lgamma(k + 1.0) - math.lgamma(n - k + 1.0)

    log_first = log_choose(trials, events) + log_choose(others, all_events - events) - log_choose(all_trials, all_events)
    total, term, k = 0.0, 1.0, events
    while term > 1e-12 * max(total, 1.0) or k < all_events * trials / all_trials:
        total += term
        left = all_events - k
        if left < 1.0 or trials - k < 1.0:
            break
        term *= (trials - k) * left / ((k + 1.0) * (others - left + 1.0))
        k += 1.0
    return min(1.0, total * math.exp(min(0.0, log_first)))


def lag_one(values: Sequence[float], mean: float, variance: float) -> float:
    """How alike neighbours are: their correlation, of values with this mean and (unbiased) variance, which is not 0."""
    return math.fsum((a - mean) * (b - mean) for a, b in pairwise(values)) / (variance * (len(values) - 1))


def worth_less(r: float) -> float:
    """By how much fewer values are worth whose neighbours are alike by `r`, below 1 (Bayley and Hammersley 1946)."""
    return (1.0 + r) / (1.0 - r)


def normal_quantile(p: float) -> float:
    """The quantile of the normal distribution."""
    return NormalDist().inv_cdf(p)


def t_cdf(t: float, df: float) -> float:
    """Student's t distribution function."""
    tail = incomplete_beta(df / 2, 0.5, df / (df + t * t)) / 2
    return 1.0 - tail if t >= 0 else tail


@lru_cache(maxsize=1024)
def t_quantile(p: float, df: float) -> float:
    """The quantile of Student's t; `df` may be a fraction (Welch)."""
    if p < 0.5:
        return -t_quantile(1.0 - p, df)
    if df >= 3 and p < 1 - 1e-9:
        return _t_by_newton(p, df)
    x = beta_quantile(2.0 * (1.0 - p), df / 2, 0.5)
    return math.sqrt(df * (1.0 - x) / x) if x > 0 else math.inf


def _t_by_newton(p: float, df: float) -> float:
    """From a Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5) by Newton's steps on the distribution function."""
    z = normal_quantile(p)
    t = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df * df)
    log_front = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    for _ in range(50):
        step = (t_cdf(t, df) - p) / math.exp(log_front - (df + 1) / 2 * math.log1p(t * t / df))
        t = max(t - step, t / 4)
        if abs(step) <= 1e-12 * max(1.0, abs(t)):
            break
    return t


def quantile(ordered: Sequence[float], q: float) -> float:
    """The q-quantile of values in rising order, linear between neighbours (type 7)."""
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    if low + 1 >= len(ordered) or ordered[low] == ordered[low + 1]:
        return ordered[low]
    return ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])


def median(values: Sequence[float]) -> float:
    """The median of values in any order."""
    return quantile(sorted(values), 0.5)


@lru_cache(maxsize=4096)
def quantile_ranks(count: int, q: float, confidence: float) -> tuple[int | None, int | None]:
    """Ranks (from 0) of the order statistics that bound the q-quantile, each side with `confidence`.

    None where so few values cannot bound it on that side. P(X_(r) <= quantile) = P(Binomial(count, q) >= r).
    """

    def at_least(r: int) -> float:  # P(Binomial >= r)
        return 1.0 if r <= 0 else incomplete_beta(r, count - r + 1, q)

    low: int | None = None
    high: int | None = None
    left, right = 1, count  # largest 1-based r with at_least(r) >= confidence
    while left <= right:
        middle = (left + right) // 2
        if at_least(middle) >= confidence:
            low, left = middle - 1, middle + 1
        else:
            right = middle - 1
    left, right = 1, count  # smallest 1-based r with at_least(r) <= 1 - confidence
    while left <= right:
        middle = (left + right) // 2
        if at_least(middle) <= 1.0 - confidence:
            high, right = middle - 1, middle - 1
        else:
            left = middle + 1
    return low, high


def quantile_interval(ordered: Sequence[float], q: float, confidence: float = 0.95) -> Interval:
    """Distribution-free bounds of the q-quantile, each side with `confidence`; infinite where there are too few values."""
    low, high = quantile_ranks(len(ordered), q, confidence)
    return Interval(
        -math.inf if low is None else ordered[low],
        math.inf if high is None else ordered[high],
    )


def ratio_interval(target: Sequence[float], legacy: Sequence[float], q: float, confidence: float = 0.95) -> Interval:
    """Bounds, each side with `confidence`, of target's q-quantile over legacy's; both in rising order and above 0.

    MOVER on the logarithms: each side's own interval is combined, no shape of distribution is assumed.
    """
    sides = ((quantile(side, q), quantile_interval(side, q, confidence)) for side in (target, legacy))
    (t, t_bounds), (old, old_bounds) = sides
    return ratio_of(t, t_bounds, old, old_bounds)


def ratio_of(t: float, t_bounds: Interval, old: float, old_bounds: Interval) -> Interval:
    """Bounds of `t` over `old` from the bounds of both; what is 0 or less has no logarithm, and only what is sure is said of it."""
    (t_low, t_high), (old_low, old_high) = t_bounds, old_bounds
    if min(t, old) <= 0:
        return Interval(0.0, t_high / old_low if old > 0 and old_low > 0 and t >= 0 else math.inf)
    middle = math.log(t / old)
    down = math.hypot(_log_ratio(t, t_low), _log_ratio(old_high, old))
    up = math.hypot(_log_ratio(t_high, t), _log_ratio(old, old_low))
    return Interval(math.exp(middle - down), math.exp(middle + up) if up < 700 else math.inf)


def difference_of(t: float, t_bounds: Interval, old: float, old_bounds: Interval) -> Interval:
    """Bounds of `t` less `old` from the bounds of both (MOVER)."""
    middle = t - old
    down = math.hypot(t - t_bounds.low, old_bounds.high - old)
    up = math.hypot(t_bounds.high - t, old - old_bounds.low)
    return Interval(middle - down, middle + up)


def _log_ratio(larger: float, smaller: float) -> float:
    if smaller <= 0 or math.isinf(larger):
        return math.inf
    return max(0.0, math.log(larger / smaller))


def mean_and_variance(values: Sequence[float]) -> tuple[float, float]:
    """Mean and unbiased variance (0.0 for a single value)."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, 0.0
    return mean, math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
