"""How two figures are held against each other, and what is said of one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from backends.validation.stats import Interval
from backends.verdict import Verdict

EDGE = 1e-9  # 0.201 is 0.5 % above 0.2, whatever binary fractions say


class Judged(NamedTuple):
    """One place. `verdict` None: a side has not come that far yet. `interval` of the delta, with several runs."""

    at: float
    legacy: float | None
    target: float | None
    delta: float | None
    verdict: Verdict | None
    too_good: bool = False
    note: str = ""
    interval: Interval | None = None
    inside_noise: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """How two figures are held against each other. `higher_is_better` None: a change either way is for the worse."""

    tolerance: float
    higher_is_better: bool | None
    one_sided: bool = False
    noise: float | None = None

    def worse(self, delta: float) -> float:
        """By how much `delta` is for the worse; negative: for the better."""
        if self.higher_is_better is None:
            return abs(delta)
        return -delta if self.higher_is_better else delta

    def judge(self, delta: float) -> tuple[Verdict, bool, bool]:
        """(verdict, too good, inside the noise) of a single run a side."""
        worse, limit = self.worse(delta), self.tolerance * (1 + EDGE)
        if worse > limit:
            if self.noise is not None and worse <= limit + self.noise:
                return Verdict.INCONCLUSIVE, False, True
            return Verdict.BREACH, False, False
        if worse < -limit and not self.one_sided:
            return Verdict.INCONCLUSIVE, True, False
        return Verdict.PASS, False, False


def relative(legacy: float, target: float) -> float:
    """(target - legacy) / |legacy|; infinite where legacy is 0 and target is not."""
    if legacy == target:
        return 0.0
    if legacy == 0:
        return math.copysign(math.inf, target)
    return (target - legacy) / abs(legacy)
