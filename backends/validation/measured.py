"""What triggers and gates look at: a side's figures, how fresh they are, and the words for it. Silence is not health."""

from __future__ import annotations

import math
from typing import Protocol

from backends.plan.models import Measure, Source
from backends.validation.series import Series
from backends.verdict import Verdict

HIGHER_IS_BETTER: dict[str, bool | None] = {
    "loss": False,
    "throughput": True,
    "step_time": False,
    "latency": False,
    "error_rate": False,
    "memory": False,
    "value": None,
}


class Measured(Protocol):
    """A `Feed`, or a `Series` by itself."""

    @property
    def series(self) -> Series:
        """The samples."""

    @property
    def error(self) -> str | None:
        """What went wrong when it was last read."""

    def age(self, now: float) -> float | None:
        """Seconds since the newest sample came in."""

    def silent_after(self, floor: float) -> float:
        """The age from which on it is silent."""


def direction_of(measure: Measure) -> bool | None:
    """Is higher better? As the plan says, else by kind; None: a change either way is for the worse."""
    return measure.higher_is_better if measure.higher_is_better is not None else HIGHER_IS_BETTER[measure.kind]


def gives_shares(source: Source, series: Series) -> bool:
    """Is a figure of errors a share of requests that failed, and not a request? One that is always 0 looks like either: what the plan says, and
    what was ever seen, tells."""
    return source.gives_shares or not series.is_binary


def silence_of(name: str, side: Measured, now: float, floor: float) -> tuple[Verdict, str] | None:
    """(verdict, sentence) where a side has no data or none that is fresh; None where its data flow."""
    age = side.age(now)
    if side.error is not None and (age is None or age > floor):
        return Verdict.ERROR, f"{name} could not be read: {side.error}"
    if age is None:
        return Verdict.INCONCLUSIVE, f"{name} has sent nothing"
    if age > side.silent_after(floor):
        return Verdict.INCONCLUSIVE, f"{name} silent {span(age)}"
    return None


def finite(values: list[float]) -> list[float]:
    """Without NaN and infinities."""
    return [v for v in values if math.isfinite(v)]


def span(seconds: float) -> str:
    """A stretch of time in words: `41 s`, `4 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.3g} h" if seconds < 2 * 86400 else f"{seconds / 86400:.3g} d"
