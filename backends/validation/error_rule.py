"""The rule of the error rate's trigger, on counts alone: what the engine runs on figures as they come, and what
`python -m tests.bench triggers` runs on simulated weeks. Requests that failed, of requests.

**Looks.** A trigger looks at a window every few seconds for a week, so 99 % a look would roll back a healthy week almost surely at low
rates. The 99 % are the week's: of the 1 % each path may spend half, shared out evenly over the windows that a week has
(Bonferroni; alpha spending over a fixed number of looks, Lan and DeMets 1983 with a linear spending function):

    alpha(slow) = 0.005 / (7 d / short window)        1.0e-6 at 2 min: 5,040 windows
    alpha(fast) = 0.005 / (7 d / fast window)         2.5e-7 at 30 s: 20,160 windows

Looks in between share nearly all of their requests with such a window; what they add is measured, not proven. A window breaches where
P(Binomial(n, limit) >= k) <= alpha, which is the same as an exact (Clopper-Pearson) lower bound of 1 - alpha at or above the limit.

**Errors that come together.** Errors come in clumps (a retry, a stalled replica), so n requests are worth fewer. The window is cut
into parts; Pearson's dispersion of the errors in them (McCullagh and Nelder 1989, 4.5), and the correlation r of neighbours
(Bayley and Hammersley 1946: a variance grows by (1 + r) / (1 - r)) give

    phi = 1/(m - 1) * sum (k_i - n_i p)^2 / (n_i p (1 - p)),     spread = 1 + (phi - 1) * (1 + r) / (1 - r)

and the test is of k / spread errors in n / spread requests. So many parts are taken of the window
and of the hour before it (what this target's errors were like until now), and the larger spread counts. A spread that chance alone makes in one of twenty windows counts as 1;
errors in fewer than three parts are one clump as far as anybody can tell, and breach nothing (unless all requests fail).

**Common cause.** Where legacy's share is above the limit in the same window, the target must be worse than legacy as well: the exact
conditional test (Przyborowski and Wilenski 1940) at 99 %, else the verdict is to hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, Protocol

from backends.validation.stats import binomial_tail, normal_quantile

WEEK = 7 * 86400.0
BUDGET = 0.01  # false rollbacks a week, both paths
LEAST_REQUESTS = 20  # in a window
FAST_WINDOW = 30.0  # seconds: an extreme error rate is looked for in so much at most
FAST_ERRORS = 2.0  # times the limit
LONG_PARTS, FAST_PARTS = 60, 6
HISTORY, HISTORY_PARTS = 3600.0, 360  # before the window: how this target's errors have come until now
LEAST_PARTS = 3  # with errors: fewer may be one clump, and no dispersion shows in them
ALL_FAIL = 5  # so many requests, all failed, are enough
PAIRED = 0.01  # level of the comparison with legacy
CHANCE = 0.05  # of a spread above what counts as chance


class Rate(NamedTuple):
    """Errors among requests."""

    errors: int
    requests: int

    @property
    def share(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


class Requests(Protocol):
    """One side's requests up to now, none from before the present weight."""

    def rate(self, seconds: float) -> Rate:
        """Of the last `seconds`."""

    def parts(self, seconds: float, count: int, before: float = 0.0) -> list[Rate]:
        """The `seconds` that ended `before` seconds ago, cut into `count` equal stretches, the oldest first."""


class Call(StrEnum):
    FAST = "fast"
    SLOW = "slow"
    COMMON = "common cause"
    ENDED = "ended"  # the long window breaches, the short one does not
    NO = "no"


class Looked(NamedTuple):
    """What was called, and the counts that it was called by."""

    call: Call
    rate: Rate
    spread: float = 1.0


class ErrorRule(NamedTuple):
    """`short` and `long` seconds, `limit` a share."""

    short: float
    long: float
    limit: float

    @property
    def fast(self) -> float:
        return min(self.short, FAST_WINDOW)

    def look(self, target: Requests, legacy: Rate | float | None, *, filled: bool) -> Looked:
        """One look. `legacy`: its counts in the long window, or a recorded share; `filled`: the long window is whole."""
        rate = target.rate(self.fast)
        if self._is_extreme(target, rate) and worse_than(rate, legacy, self.limit):
            return Looked(Call.FAST, rate)
        rate = target.rate(self.long)
        if not filled or rate.requests < LEAST_REQUESTS:
            return Looked(Call.NO, rate)
        breached, spread = self._is_above(target, rate, self.long, LONG_PARTS, spent(self.short))
        if not breached:
            return Looked(Call.NO, rate, spread)
        if not worse_than(rate, legacy, self.limit):
            return Looked(Call.COMMON, rate, spread)
        still = target.rate(self.short).share > self.limit
        return Looked(Call.SLOW if still else Call.ENDED, rate, spread)

    def _is_extreme(self, target: Requests, rate: Rate) -> bool:
        if rate.requests >= ALL_FAIL and rate.errors == rate.requests:
            return True
        if rate.requests < LEAST_REQUESTS or rate.share <= FAST_ERRORS * self.limit:
            return False
        return self._is_above(target, rate, self.fast, FAST_PARTS, spent(self.fast))[0]

    def _is_above(self, target: Requests, rate: Rate, seconds: float, count: int, alpha: float) -> tuple[bool, float]:
        """More errors than the limit allows, with the spread that they have? And that spread (1 where it was not needed)."""
        if rate.share <= self.limit or tail(rate.errors, rate.requests, self.limit) > alpha:
            return False, 1.0
        parts = target.parts(seconds, count)
        if sum(p.errors > 0 for p in parts) < LEAST_PARTS:
            return False, float(rate.errors)
        spread = max(spread_of(parts), spread_of(target.parts(HISTORY, HISTORY_PARTS, before=seconds)))
        if spread == 1.0:
            return True, 1.0
        return binomial_tail(rate.errors / spread, rate.requests / spread, self.limit) <= alpha, spread


@lru_cache(maxsize=64)
def spent(window: float) -> float:
    """The level of one look at a window of so many seconds: half of the week's budget over the windows of a week."""
    return BUDGET / 2 / max(1.0, WEEK / window)


@lru_cache(maxsize=65536)
def tail(errors: int, requests: int, limit: float) -> float:
    """P(Binomial(requests, limit) >= errors)."""
    return binomial_tail(errors, requests, limit)


def spread_of(parts: Sequence[Rate]) -> float:
    """How many times wider than a binomial's the errors of these parts vary, correlation of neighbours included; 1 at least."""
    p = total(parts).share
    rests = [(r.errors - r.requests * p) / math.sqrt(r.requests * p * (1 - p)) for r in parts if r.requests] if 0 < p < 1 else []
    freedom = len(rests) - 1
    if freedom < 2:
        return 1.0
    squares = math.fsum(x * x for x in rests)
    phi = squares / freedom
    if phi <= by_chance(freedom):
        return 1.0
    together = math.fsum(a * b for a, b in pairwise(rests)) / squares
    r = min(0.95, max(0.0, together))
    return 1.0 + (phi - 1.0) * (1.0 + r) / (1.0 - r)


@lru_cache(maxsize=256)
def by_chance(freedom: int) -> float:
    """The dispersion that chance exceeds in one of twenty: chi-squared's 95 % point over its freedom (Wilson and Hilferty 1931)."""
    c = 2.0 / (9.0 * freedom)
    return float((1.0 - c + normal_quantile(1.0 - CHANCE) * math.sqrt(c)) ** 3)


def worse_than(target: Rate, legacy: Rate | float | None, limit: float) -> bool:
    """Is the target worse than legacy, or legacy within the limit? True where nothing is known of legacy."""
    if legacy is None:
        return True
    if isinstance(legacy, Rate):
        if legacy.share <= limit:
            return True
        both = target.requests + legacy.requests
        return binomial_tail(target.errors, target.errors + legacy.errors, target.requests / both) < PAIRED
    return legacy <= limit or binomial_tail(target.errors, target.requests, min(legacy, 1.0)) < PAIRED


def total(parts: Sequence[Rate]) -> Rate:
    """All parts together."""
    return Rate(sum(p.errors for p in parts), sum(p.requests for p in parts))
