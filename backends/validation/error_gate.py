"""Errors against what is allowed: exact binomial bounds of requests that failed; of shares, whose number of requests nobody tells, what their
median and their mean say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from backends.snapshot import PointView
from backends.validation.stats import binomial_lower, binomial_upper, quantile, quantile_interval
from backends.validation.wording import percent
from backends.verdict import Verdict

LEAST_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate says; `points` where it judges at places. `waiting`: nothing wrong so far, more data are to come."""

    verdict: Verdict
    value: float | None
    limit: float | None
    reason: str
    points: tuple[PointView, ...] = ()
    waiting: bool = False
    too_good: bool = False


def judge_counts(errors: int, requests: int, known: float, limit: float, missing: str) -> GateResult:
    """`errors` of `requests` (Clopper-Pearson), `known` the rate of legacy. `missing`: what is still to be seen, in words."""
    share = errors / requests if requests else None
    words = f"{errors} of {requests} requests failed, {percent(limit)} allowed"
    low, high = binomial_lower(errors, requests, 0.99), binomial_upper(errors, requests, 0.95)
    if low > limit and low > known:
        return GateResult(Verdict.BREACH, share, limit, words)
    if low > limit:
        return GateResult(Verdict.INCONCLUSIVE, share, limit, f"common cause: legacy {percent(known)}; {words}")
    if missing:
        return GateResult(Verdict.INCONCLUSIVE, share, limit, f"{missing}; {words}", waiting=True)
    if high > limit:
        needed = math.ceil(math.log(0.05) / math.log1p(-limit)) if 0 < limit < 1 else 0
        more = f"; {needed} requests without an error would show it" if errors == 0 else ""
        reason = f"{words}; up to {percent(high)} cannot be ruled out{more}"
        return GateResult(Verdict.INCONCLUSIVE, share, limit, reason, waiting=True)
    return GateResult(Verdict.PASS, share, limit, words)


def judge_shares(ours: Sequence[float], theirs: Sequence[float], limit: float, missing: str) -> GateResult:
    """Shares of errors, each of nobody knows how many requests: bounds of their median; and a mean above the limit never passes, since errors
    that come in bursts leave the median at 0."""
    if len(ours) < LEAST_SAMPLES:
        return GateResult(Verdict.INCONCLUSIVE, None, limit, f"{len(ours)} samples, {LEAST_SAMPLES} needed", waiting=True)
    share, known = quantile(sorted(ours), 0.5), quantile(sorted(theirs), 0.5) if theirs else 0.0
    low, high = quantile_interval(sorted(ours), 0.5)
    words = f"median share of errors {percent(share)}, legacy {percent(known)}, {percent(limit)} allowed"
    if low > limit:
        verdict = Verdict.BREACH if low > known else Verdict.INCONCLUSIVE
        return GateResult(verdict, share, limit, words if low > known else f"common cause: {words}")
    mean = math.fsum(ours) / len(ours)
    if mean > limit:
        reason = f"{words}; but {percent(mean)} in the mean: they come in bursts, and how many requests a share is of is not known (`total`)"
        return GateResult(Verdict.INCONCLUSIVE, mean, limit, reason, waiting=True)
    if missing or high > limit:
        words = f"{missing}; {words}" if missing else f"{words}; up to {percent(high)} cannot be ruled out"
        return GateResult(Verdict.INCONCLUSIVE, share, limit, words, waiting=True)
    return GateResult(Verdict.PASS, share, limit, words)
