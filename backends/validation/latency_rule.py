"""The rule of the latency's trigger, on counts alone: what the engine runs on figures as they come, and what
`python -m tests.bench latencies` runs on simulated weeks.

**Against a limit.** A quantile is above a limit where more than 1 - q of the requests are: slow requests are counted as failed ones are,
and the rule of the error rate (`backends/validation/error_rule.py`) holds of them, with its levels, its spread and its common cause. The fast
path counts requests above twice the limit, in the short window.

**Against legacy.** The target's quantile is above `ratio` times legacy's where more than 1 - q of the target's times lie beyond that: the control
quantile test (Mathisen 1943; Gibbons and Chakraborti, Nonparametric Statistical Inference, 6.5), by Fisher's exact tail of both sides' counts beyond.
No shape of distribution is assumed, and what slows both sides cancels. Neighbours wait in the same queue, so requests are worth fewer:
each side's counts are divided by the spread (as errors are) of those beyond, in the window or in the hour before it, whichever is larger.
A spread that a dozen stretches tell is unsure itself: what is beyond one is taken as large as it may be, six times (0.1 % of chi-square with 11
degrees of freedom lies below a sixth of its mean). Levels that wander by themselves rolled 1 week in 20 back without that.
A look has the share of a week's budget that a look at an error rate has: 1.0e-6 at a short window of 2 min, on each path.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol

from backends.validation.error_rule import (
    HISTORY,
    HISTORY_PARTS,
    LEAST_PARTS,
    LEAST_REQUESTS,
    LONG_PARTS,
    Call,
    ErrorRule,
    Looked,
    Rate,
    spent,
    spread_of,
)
from backends.validation.stats import binomial_tail, hypergeometric_tail

SHORT_PARTS = 12
LEAST_BEYOND = 30  # requests that must lie beyond a quantile for a look to be decided at such levels
TWICE = 2.0  # times the absolute limit: extreme
UNSURE = 6.0  # how much larger a spread may be than a dozen stretches tell: 11 / chi2.ppf(0.001, 11)


class Times(Protocol):
    """One side's times up to now, none from before the present weight."""

    def count(self, seconds: float) -> int:
        """How many in the last `seconds`."""

    def quantile(self, q: float, seconds: float) -> float:
        """Of the last `seconds`; asked only where there are some."""

    def above(self, time: float, seconds: float) -> Rate:
        """Those above `time`, of the last `seconds`."""

    def parts(self, time: float, seconds: float, count: int, before: float = 0.0) -> list[Rate]:
        """Those above `time` in the `seconds` that ended `before` seconds ago, cut into `count` equal stretches, the oldest first."""


class Held(StrEnum):
    """What the target was held against when the rule called."""

    RATIO = "ratio"
    LIMIT = "limit"


class Called(NamedTuple):
    """What was called, by what, and the quantile that so many requests know."""

    call: Call
    by: Held
    quantile: float
    spread: float = 1.0


class LatencyRule(NamedTuple):
    """`short` and `long` seconds, the wanted quantile."""

    short: float
    long: float
    quantile: float

    def known(self, *counts: int) -> float:
        """The wanted quantile, or the highest that so few requests know."""
        return max(0.5, min(self.quantile, 1.0 - LEAST_BEYOND / max(1, min(counts))))

    def above_limit(self, target: Times, legacy: Times, limit: float, *, fast: bool) -> Called:
        """One look at an absolute limit: at twice the limit in the short window, or at the limit in the long one."""
        seconds, parts, call = (self.short, SHORT_PARTS, Call.FAST) if fast else (self.long, LONG_PARTS, Call.SLOW)
        q = self.known(target.count(seconds))
        over = limit * TWICE if fast else limit
        rule, slow, rate = ErrorRule(self.short, self.long, 1.0 - q), _Over(target, over), target.above(over, seconds)
        if rate.requests < LEAST_REQUESTS or not rule.is_above(rate, spent(self.short)):
            return Called(Call.NO, Held.LIMIT, q)
        found = rule.proven(Looked(call, rate), slow, _Over(legacy, over), None, seconds, parts, spent(self.short))
        if found.call is Call.SLOW and slow.rate(self.short).share <= rule.limit:
            return Called(Call.ENDED, Held.LIMIT, q, found.spread)
        return Called(found.call, Held.LIMIT, q, found.spread)

    def slower(self, target: Times, legacy: Times | float, ratio: float, *, fast: bool, of_now: bool = True) -> Called:
        """One look at the ratio of both quantiles. `legacy`: its times, or a figure; `of_now`: they are of the same window."""
        seconds, parts, call = (self.short, SHORT_PARTS, Call.FAST) if fast else (self.long, LONG_PARTS, Call.SLOW)
        if isinstance(legacy, float):
            q = self.known(target.count(seconds))
            edge, theirs = legacy * ratio, None
        else:
            q = self.known(target.count(seconds), legacy.count(seconds))
            edge = ratio * legacy.quantile(q, seconds)
            theirs = legacy.above(edge / ratio, seconds)
        ours = target.above(edge, seconds)
        alpha = spent(self.short)
        if ours.requests < LEAST_REQUESTS or _chance(ours, theirs, q) > alpha:
            return Called(Call.NO, Held.RATIO, q)
        counted = target.parts(edge, seconds, parts)
        if sum(p.errors > 0 for p in counted) < LEAST_PARTS:
            return Called(Call.NO, Held.RATIO, q, float(ours.errors))
        spread = spread_of(counted)
        their_spread = 1.0 if isinstance(legacy, float) else spread_of(legacy.parts(edge / ratio, seconds, parts))
        if _chance(ours, theirs, q, spread, their_spread) > alpha:  # the hour before is looked at only where it decides
            return Called(Call.NO, Held.RATIO, q, spread)
        spread = max(spread, spread_of(target.parts(edge, HISTORY, HISTORY_PARTS, before=seconds)))
        if of_now and not isinstance(legacy, float):
            their_spread = max(their_spread, spread_of(legacy.parts(edge / ratio, HISTORY, HISTORY_PARTS, before=seconds)))
        if _chance(ours, theirs, q, spread, their_spread) > alpha:
            return Called(Call.NO, Held.RATIO, q, spread)
        if not fast and target.above(edge, self.short).share <= 1.0 - q:
            return Called(Call.ENDED, Held.RATIO, q, spread)
        return Called(call, Held.RATIO, q, spread)


class _Over:
    """One side's slow requests, as the error rule counts failed ones."""

    def __init__(self, times: Times, limit: float) -> None:
        self._times, self._limit = times, limit

    def rate(self, seconds: float) -> Rate:
        return self._times.above(self._limit, seconds)

    def parts(self, seconds: float, count: int, before: float = 0.0) -> list[Rate]:
        return self._times.parts(self._limit, seconds, count, before)


def _chance(ours: Rate, theirs: Rate | None, q: float, spread: float = 1.0, their_spread: float = 1.0) -> float:
    """P(so many of the target's beyond, were its quantile no higher), of so many requests as these are worth."""
    spread, their_spread = 1.0 + (spread - 1.0) * UNSURE, 1.0 + (their_spread - 1.0) * UNSURE
    if theirs is None:
        return binomial_tail(ours.errors / spread, ours.requests / spread, 1.0 - q)
    if ours.share <= theirs.share:
        return 1.0
    events, trials = ours.errors / spread, ours.requests / spread
    return hypergeometric_tail(events, trials, events + theirs.errors / their_spread, trials + theirs.requests / their_spread)
