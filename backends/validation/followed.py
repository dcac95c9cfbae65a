"""What is followed of a source as it grows, whatever the source: its samples, how fresh they are, what went wrong."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

from backends.errors import CutoverError
from backends.escape import plain
from backends.plan.models import Source
from backends.validation.rows import Row
from backends.validation.series import Series
from backends.validation.source_clock import SourceClock


class Followed(ABC):
    """`error` says what went wrong with the last poll, None when nothing did; `note` what was odd. Samples, ages and windows are by `clock`, unix
    seconds that may not jump where `wall` does."""

    def __init__(
        self,
        source: Source,
        *,
        pinned: Iterable[float] = (),
        clock: Callable[[], float] = time.time,
        wall: Callable[[], float] | None = None,
    ) -> None:
        self.source = source
        self.series = Series(source.by, pinned=pinned)
        self.error: str | None = None
        self.note: str | None = None
        self.last_poll_ok: float | None = None
        self.first_poll: float | None = None
        self._clock = clock
        self._own = SourceClock(clock, wall or clock)

    @abstractmethod
    async def _follow(self) -> None:
        """Read what is new; raises `CutoverError`."""

    def _on_ours(self, rows: list[Row], came: float, *, is_new: bool) -> list[Row]:
        """These rows with their times by our clock. `is_new`: they were written since the last look; what is read once more was not."""
        if not is_new and self._own.is_ours:
            self._own.saw(max((row.time for row in rows if row.time is not None), default=-math.inf))
            return rows
        place = self._own.on_ours if is_new else self._own.as_known
        out = []
        for row in rows:
            at = place(row.time, came) if row.time is not None else None
            out.append(row if at == row.time else row._replace(time=at))
        return out

    @property
    def is_caught_up(self) -> bool:
        """Has everything been read that was there when somebody last looked?"""
        return self.last_poll_ok is not None

    @property
    def settings(self) -> Mapping[str, str]:
        """What the source says of how the run was made; empty where it says nothing."""
        return {}

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
