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

**Common cause.** The target must be worse than legacy in the same window, by the exact conditional test (Przyborowski and Wilenski
1940): its share of both sides' errors against its share of their requests, divided by the spread of legacy's or of the target's hour
before (not of the target's window: a breach's beginning looks like a clump; a common cause's does so on legacy too). A common cause may last
for hours and each look is another chance to be wrong, so a look has 0.001 %; where legacy is within the limit, 0.1 %. Where legacy would have fewer
than 30 errors in the window if it failed as the target does it can tell less: 0.1 % and 1 %. The fast path, whose half a minute holds few
errors, has 0.1 %, and looks back besides: where legacy is proven (99 %) to be above the limit in the short or the long window, the target
must be worse there, at 0.001 %.

Where it would have fewer than ten, but has 100 requests (or ones that prove it to be above the limit), the target must be worse, at 0.1 %,
only where legacy's share is above the limit, and the fast path wants seven times the limit. With fewer still what was recorded of
legacy counts (99 %), and else the limit alone.
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
LEAST_FOR_RATE = 100  # requests of legacy, to know its error rate
TELLING, MANY = 10.0, 30.0  # errors that legacy would have, failing as the target does: to tell a little, and enough
UNPAIRED = 7.0  # times the limit: what is extreme where legacy cannot tell in so short a window
PAIRED, LENIENT, KNOWN = 1e-5, 1e-3, 0.01  # levels of a look's comparison with legacy, by how much that is asked of it
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
    legacy: Rate | float | None = None  # what it was held against


class ErrorRule(NamedTuple):
    """`short` and `long` seconds, `limit` a share."""

    short: float
    long: float
    limit: float

    @property
    def fast(self) -> float:
        return min(self.short, FAST_WINDOW)

    def look(self, target: Requests, legacy: Requests | None, known: Rate | float | None = None, *, filled: bool) -> Looked:
        """One look. `legacy`: its requests at this weight; `known`: what is recorded of it, for when it has too few; `filled`: the
        long window is whole."""
        rate = target.rate(self.fast)
        fast = Looked(Call.NO, rate)
        if self._is_extreme(rate):
            fast = self.proven(Looked(Call.FAST, rate), target, legacy, known, self.fast, FAST_PARTS, spent(self.fast))
            if fast.call is Call.FAST:
                return fast
        rate = target.rate(self.long)
        slow = Looked(Call.NO, rate)
        if filled and rate.requests >= LEAST_REQUESTS and self.is_above(rate, spent(self.short)):
            slow = self.proven(Looked(Call.SLOW, rate), target, legacy, known, self.long, LONG_PARTS, spent(self.short))
            if slow.call is Call.SLOW and target.rate(self.short).share <= self.limit:
                return slow._replace(call=Call.ENDED)
        return fast if slow.call is Call.NO and fast.call is Call.COMMON else slow

    def _is_extreme(self, rate: Rate) -> bool:
        if all_fail(rate):
            return True
        enough = rate.requests >= LEAST_REQUESTS and rate.share > FAST_ERRORS * self.limit
        return enough and self.is_above(rate, spent(self.fast))

    def is_above(self, rate: Rate, alpha: float) -> bool:
        """More errors than the limit allows, were they independent?"""
        return rate.share > self.limit and tail(rate.errors, rate.requests, self.limit) <= alpha

    def proven(
        self,
        found: Looked,
        target: Requests,
        legacy: Requests | None,
        known: Rate | float | None,
        seconds: float,
        count: int,
        alpha: float,
    ) -> Looked:
        """The same where it is the target's own, and above the limit with the spread that its errors have."""
        rate, earlier = found.rate, 1.0
        theirs = legacy.rate(seconds) if legacy is not None else Rate(0, 0)
        fast = found.call is Call.FAST
        would = theirs.requests * rate.share
        tells = legacy is not None and would >= TELLING and not all_fail(rate)
        strict, loose = (PAIRED, LENIENT) if would >= MANY else (LENIENT, KNOWN)
        level = LENIENT if fast else loose if theirs.share <= self.limit else strict
        concurrent = tells or theirs.requests >= LEAST_FOR_RATE or self._fails(theirs)
        found = found._replace(legacy=theirs if concurrent else known)
        if fast and concurrent and not tells and rate.share < UNPAIRED * self.limit:
            return found._replace(call=Call.NO)
        alike = paired(rate, theirs) >= level if tells else not worse_than(rate, found.legacy, self.limit)
        if alike or (fast and legacy is not None and self._fails_too(target, legacy)):
            return found._replace(call=Call.COMMON)
        if not all_fail(rate):
            parts = target.parts(seconds, count)
            if sum(p.errors > 0 for p in parts) < LEAST_PARTS:
                return found._replace(call=Call.NO, spread=float(rate.errors))
            spread = spread_of(parts)
            if self._is_worth_less(rate, spread, alpha):
                return found._replace(call=Call.NO, spread=spread)
            earlier = spread_of(target.parts(HISTORY, HISTORY_PARTS, before=seconds))
            found = found._replace(spread=max(spread, earlier))
            if self._is_worth_less(rate, earlier, alpha):
                return found._replace(call=Call.NO)
        if tells and legacy is not None:
            spread = max(earlier, spread_of(legacy.parts(seconds, count)))
            if spread > 1.0 and paired(rate, theirs, spread) >= level:
                return found._replace(call=Call.COMMON)
        return found

    def _is_worth_less(self, rate: Rate, spread: float, alpha: float) -> bool:
        """Too few errors for the level, with such a spread?"""
        return spread > 1.0 and binomial_tail(rate.errors / spread, rate.requests / spread, self.limit) > alpha

    def _fails_too(self, target: Requests, legacy: Requests) -> bool:
        """Is legacy above the limit for longer than half a minute, and the target no worse?"""
        for seconds in (self.short, self.long):
            theirs = legacy.rate(seconds)
            if self._fails(theirs) and paired(target.rate(seconds), theirs) >= PAIRED:
                return True
        return False

    def _fails(self, legacy: Rate) -> bool:
        """Is legacy proven to be above the limit?"""
        return self.is_above(legacy, KNOWN)


def all_fail(rate: Rate) -> bool:
    """So many requests, and none answered as it should be?"""
    return rate.requests >= ALL_FAIL and rate.errors == rate.requests


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


def paired(target: Rate, legacy: Rate, spread: float = 1.0) -> float:
    """P(so many of both sides' errors on the target, if both failed alike): the exact conditional test."""
    both = target.requests + legacy.requests
    if not both:
        return 1.0
    return binomial_tail(target.errors / spread, (target.errors + legacy.errors) / spread, target.requests / both)


def worse_than(target: Rate, legacy: Rate | float | None, limit: float) -> bool:
    """Is the target worse than legacy, or legacy within the limit? True where nothing is known of legacy."""
    if legacy is None:
        return True
    if isinstance(legacy, Rate):
        return legacy.share <= limit or paired(target, legacy) < LENIENT
    return legacy <= limit or binomial_tail(target.errors, target.requests, min(legacy, 1.0)) < KNOWN


def total(parts: Sequence[Rate]) -> Rate:
    """All parts together."""
    return Rate(sum(p.errors for p in parts), sum(p.requests for p in parts))
