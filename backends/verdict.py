"""What a check says. Silence is never PASS."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """The four verdicts; there is no fifth."""

    PASS = "PASS"
    BREACH = "BREACH"
    INCONCLUSIVE = "INCONCLUSIVE"  # too little or too old data
    ERROR = "ERROR"  # could not measure


_SEVERITY = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.ERROR: 2, Verdict.BREACH: 3}


def worst(verdicts: list[Verdict]) -> Verdict:
    """The worst of several verdicts; none at all is INCONCLUSIVE, never PASS."""
    return max(verdicts, key=_SEVERITY.__getitem__, default=Verdict.INCONCLUSIVE)
