"""The rule of the loss's trigger, on differences alone: what the engine runs on curves as they come, and what `python -m tests.bench losses`
runs on simulated weeks.

**Differences.** At a place that both sides have, by how much the target is worse, `2 (t - l) / (|t| + |l|)`: the same either way round, so that noise on
either side does not look like a worsening, and a spike is bounded.

**Noise.** Losses vary from place to place, and neighbours are alike. What the plan does not say of it (`noise`), the curves themselves tell. A window of the
newest 5, 10, 20 … 20,480 common places breaches where its mean is above the limit by more than such means wander, told in two ways:

- *earlier*: the means of the up to 100 windows of as many places before it, ten at least: Student's t, and larger than any of these lay from their median.
  No shape of noise is assumed, and likeness of neighbours is in it.
- *within*: the window cut into 20 stretches; with the correlation r of neighbouring ones, corrected for its bias ((m r + 1) / (m - 4), Marriott and
  Pope 1954), the stretches are worth m / f, f = (1 + r) / (1 - r) (Bayley and Hammersley 1946), and Student's t has m / f - 1 degrees of freedom. Where
  fewer than ten windows came before, r is taken as two of its standard errors (1 / sqrt(m)) larger, and of stretches of fewer than 16 places as 0.95.
  Where ten came, they prove it, and the stretches must show it at 0.1 %: a jump that fades is none that stays.

**Spikes.** Losses of single steps jump up and come back within some dozens. So a window of steps holds 160 places, or 4 hours; one of epochs, which are
means, 5.

**Looks.** As with error rates a week has 1 % for false rollbacks (`backends/validation/error_rule.py`): half of it is shared evenly by the sizes of windows,
and by the windows of each size in a week.

**Explosion.** More than three times the highest (where higher is better: less than a third of the lowest) that legacy had at its last 100 common places, at the
two newest: at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from backends.validation.error_rule import BUDGET, WEEK
from backends.validation.stats import lag_one, mean_and_variance, median, t_quantile, worth_less

SIZES = tuple(5 * 2**k for k in range(13))  # places of a window
MOST = SIZES[-1]
STRETCHES = 20
EARLIER, MOST_EARLIER = 10, 100  # windows before
LONG_STRETCH = 16  # places: neighbouring stretches are then no longer as alike as places are
ALIKE = 0.95  # the correlation of neighbours at most
UNSURE = 2.0  # standard errors that it may be larger than told
SETTLED_PLACES, SETTLED = 160, 4 * 3600.0  # places or seconds: a spike of single steps is over
SHORT_PART = 5  # a fifth of the window is the short one
EXPLODED, LATELY, TWICE = 3.0, 100, 2  # times what legacy had, at so many of its last places; so many in a row
LEAST_ALPHA, MOST_ALPHA = 1e-9, 1e-3  # of one look
STEADY = 1e-3  # the level at which a window's own stretches must show it too, where earlier windows prove it
TINY = 1e-24  # of a variance: figures that are all the same


class Told(NamedTuple):
    """What one window says: the mean of its differences, and by how much such means wander."""

    places: int
    mean: float
    margin: float


def apart(legacy: float, target: float) -> float:
    """How far two figures are from each other, from -2 to 2."""
    size = abs(legacy) + abs(target)
    return 2.0 * (target - legacy) / size if size else 0.0


def plain(difference: float) -> float:
    """(target - legacy) / |legacy| of such a difference."""
    return 2.0 * difference / (2.0 - difference) if difference < 2.0 else math.inf


def of_plain(relative: float) -> float:
    """The other way round."""
    return 2.0 * relative / (2.0 + relative)


@dataclass(frozen=True, slots=True)
class LossRule:
    """`limit` is a relative difference; `period` the seconds from place to place where known; `averaged`: a place is a mean of many steps.

    `sums` are those of the differences from the first on (`[0, d0, d0 + d1, …]`), of which `end` are looked at."""

    limit: float
    period: float | None = None
    averaged: bool = False

    def proven(self, sums: Sequence[float], end: int) -> Told | None:
        """The smallest window that breaches."""
        return next((told for n in self.sizes(end) if (told := self.breach(sums, end, n)) is not None), None)

    def breach(self, sums: Sequence[float], end: int, n: int) -> Told | None:
        """What the newest `n` say where that is a breach. Of few places three of the newest five are worse: a single odd one is no window."""
        limit = of_plain(self.limit)
        if min(_mean(sums, end, n), _mean(sums, end, n // SHORT_PART)) <= limit:
            return None
        if n < STRETCHES and median([b - a for a, b in pairwise(sums[end - SIZES[0] : end + 1])]) <= limit:
            return None
        told = self.told(sums, end, n)
        return told if told.mean - told.margin > limit else None

    def most_telling(self, sums: Sequence[float], end: int) -> Told | None:
        """The window whose mean is known best; None where there is no window."""
        return min(
            (self.told(sums, end, n) for n in self.sizes(end)),
            key=lambda told: told.margin,
            default=None,
        )

    def told(self, sums: Sequence[float], end: int, n: int) -> Told:
        """What the newest `n` say."""
        alpha, mean = self._alpha(n), _mean(sums, end, n)
        starts = range(end - n, max(-1, end - min(MOST, n * (MOST_EARLIER + 1)) - 1), -n)
        earlier = [(sums[b] - sums[a]) / n for b, a in pairwise(starts)]
        if len(earlier) < EARLIER:
            return Told(n, mean, _within(sums, end, n, alpha, known=False))
        middle = median(earlier)
        margin = t_at(alpha, len(earlier) - 1.0) * math.sqrt(mean_and_variance(earlier)[1])
        largest = max(abs(e - middle) for e in earlier)
        if mean <= largest:
            margin = max(margin, largest)
        if n >= STRETCHES:
            margin = max(margin, _within(sums, end, n, STEADY, known=True))
        return Told(n, mean, margin)

    def sizes(self, end: int) -> list[int]:
        """The windows that may be asked for at so many places."""
        return [n for n in SIZES if n <= end and (self.averaged or n >= SETTLED_PLACES or n * (self.period or 0.0) >= SETTLED)]

    def _alpha(self, n: int) -> float:
        """The level of one look at windows of so many places."""
        share = BUDGET / 2 / len(SIZES) * n * (self.period or 1.0) / WEEK
        return min(MOST_ALPHA, max(LEAST_ALPHA, share))


def _mean(sums: Sequence[float], end: int, n: int) -> float:
    return (sums[end] - sums[end - n]) / n


def _within(sums: Sequence[float], end: int, n: int, alpha: float, *, known: bool) -> float:
    """By how much the mean of the newest `n` wanders, as its stretches say. `known`: the windows before tell of it too."""
    m = min(STRETCHES, n)
    width = n // m
    means = [(sums[b] - sums[a]) / width for a, b in pairwise(range(end - m * width, end + 1, width))]
    mean, variance = mean_and_variance(means)
    if variance <= TINY:
        return 0.0
    if not known and width < LONG_STRETCH:
        return t_at(alpha, m - 1.0) * math.sqrt(variance * worth_less(ALIKE) / m)
    r = (m * lag_one(means, mean, variance) + 1.0) / (m - 4) + (0.0 if known else UNSURE / math.sqrt(m))
    f = worth_less(min(ALIKE, max(0.0, r)))
    return t_at(alpha, max(1.0, m / f - 1.0)) * math.sqrt(variance * f / m)


def t_at(alpha: float, freedom: float) -> float:
    """Student's t that so small a share exceeds; degrees of freedom by tenths, downwards, so that few are asked for."""
    return t_quantile(1.0 - alpha, math.floor(freedom * 10.0) / 10.0)


def exploded(legacy: Sequence[float], target: Sequence[float], *, higher_is_better: bool) -> bool:
    """Of figures at the same places, the newest last: did the target run away?"""
    if len(target) < TWICE:
        return False
    before = legacy[-LATELY:]
    if higher_is_better:
        return min(before) > 0 and max(target[-TWICE:]) < min(before) / EXPLODED
    return max(before) > 0 and min(target[-TWICE:]) > EXPLODED * max(before)
