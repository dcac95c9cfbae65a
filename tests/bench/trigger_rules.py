"""Rules for the error rate, each as a function of one migration's streams: ours as the engine has it, and plainer ones beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from backends.validation.error_rule import Call, ErrorRule
from tests.bench.error_streams import STEP, Seen, Stream

SHORT, LONG, LIMIT = 120.0, 600.0, 0.001  # the plan's defaults
MINUTE = round(60 / STEP)
LONG_STEPS = round(LONG / STEP)


@dataclass(frozen=True, slots=True)
class Stay:
    """Both sides at one weight, from its beginning. Legacy has no requests at 100 %."""

    target: Stream
    legacy: Stream | None
    control: Stream  # legacy's share at a tenth of the requests: what a comparison that needs one is given at every weight

    @property
    def steps(self) -> int:
        return len(self.target.requests) - 1


Rule = Callable[[Stay, int], int | None]


def ours(stay: Stay, first: int = 0) -> int | None:
    """The stretch at whose end backends/validation/error_rule.py first calls for a rollback, from `first` on.

    Looks without a new error are left out: a count that does not rise cannot newly be too high.
    """
    rule, seen, errors = ErrorRule(SHORT, LONG, LIMIT), Seen(stay.target), stay.target.errors
    legacy = Seen(stay.legacy) if stay.legacy is not None else None
    for end in range(first + 1, stay.steps + 1):
        if errors[end] == errors[end - 1] and end != LONG_STEPS:
            continue
        seen.end = end
        if legacy is not None:
            legacy.end = end
        call = rule.look(seen, legacy, filled=end >= LONG_STEPS).call
        if call in (Call.FAST, Call.SLOW):
            return end
    return None


def in_a_row(k: int) -> Rule:
    """A minute's share above the limit, K times in a row."""

    def rule(stay: Stay, first: int = 0) -> int | None:
        row = 0
        for end in range(first + MINUTE, stay.steps + 1, MINUTE):
            row = row + 1 if stay.target.rate(end - MINUTE, end).share > LIMIT else 0
            if row == k:
                return end
        return None

    return rule


def mann_whitney(stay: Stay, first: int = 0) -> int | None:
    """Each minute: the last ten minutes' shares against ten of the control, one-sided at 1 %, and the mean above the limit."""
    wanted = NormalDist().inv_cdf(0.99)
    for end in range(max(first, LONG_STEPS - MINUTE) + MINUTE, stay.steps + 1, MINUTE):
        if stay.target.rate(end - LONG_STEPS, end).share <= LIMIT:
            continue
        ours, theirs = _minutes(stay.target, end), _minutes(stay.control, end)
        if rank_score(ours, theirs) > wanted:
            return end
    return None


def _minutes(stream: Stream, end: int) -> list[float]:
    return [stream.rate(i, i + MINUTE).share for i in range(end - LONG_STEPS, end, MINUTE)]


def rank_score(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Mann and Whitney's U as a normal score, ties corrected; above 0 where ours are larger."""
    n, m = len(ours), len(theirs)
    u = sum((a > b) + 0.5 * (a == b) for a in ours for b in theirs)
    both = [*ours, *theirs]
    ties = sum(count**3 - count for count in (both.count(v) for v in set(both)))
    variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
    return float((u - n * m / 2) / variance**0.5) if variance > 0 else 0.0


RULES: dict[str, Rule] = {
    "ours": ours,
    "3 in a row": in_a_row(3),
    "5 in a row": in_a_row(5),
    "10 in a row": in_a_row(10),
    "Mann-Whitney": mann_whitney,
}
