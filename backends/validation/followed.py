"""What is followed of a source as it grows, whatever the source: its samples, how fresh they are, what went wrong."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from backends.errors import CutoverError
from backends.escape import plain
from backends.plan.models import Source
from backends.validation.series import Series


class Followed(ABC):
    """`error` says what went wrong with the last poll, None when nothing did; `note` what was odd."""

    def __init__(self, source: Source, *, pinned: Iterable[float] = (), clock: Callable[[], float] = time.time) -> None:
        self.source = source
        self.series = Series(source.by, pinned=pinned)
        self.error: str | None = None
        self.note: str | None = None
        self.last_poll_ok: float | None = None
        self.first_poll: float | None = None
        self._clock = clock

    @abstractmethod
    async def _follow(self) -> None:
        """Read what is new; raises `CutoverError`."""

    @property
    def is_caught_up(self) -> bool:
        """Has everything been read that was there when somebody last looked?"""
        return self.last_poll_ok is not None

    @property
    def period(self) -> float | None:
        """How often a figure is expected, seconds: as the plan says, else learnt."""
        return self.source.every if self.source.every is not None else self.series.period

    def age(self, now: float) -> float | None:
        """Seconds since the newest sample came in; None while there is none."""
        return self.series.age(now)

    def silent_after(self, floor: float) -> float:
        """The age from which on this feed is silent: twice its period, more for irregular ones, at least `floor`."""
        if self.source.every is not None:
            return max(floor, 2 * self.source.every)
        return self.series.silent_after(floor)

    async def poll(self) -> None:
        """Read what is new. Never raises what the world does: `error` then says it; the samples so far stay."""
        now = self._clock()
        self.first_poll = self.first_poll if self.first_poll is not None else now
        try:
            await self._follow()
        except CutoverError as error:
            hint = f" ({error.hint})" if error.hint else ""
            where = f"{error.where}: " if error.where else ""
            self.error = plain(f"{where}{error.message}{hint}", 600)
        else:
            self.last_poll_ok = now
            self.error = None
