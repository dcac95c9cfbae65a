"""Observed time: what this engine has lived through, by the boot clock, so that a jump of the wall clock moves no window.

The journal carries observed time with every event. While no engine runs nothing is observed and no window moves.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path


@cache
def boot_id() -> str:
    """The kernel's id of this boot; empty where it does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def boot_clock() -> float:
    """Seconds since boot, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ObservedClock:
    """Counts on from what the journal had observed."""

    def __init__(self, observed_before: float = 0.0) -> None:
        self._before = observed_before
        self._start = boot_clock()
        self._wall = self._began = time.time()

    def now(self) -> float:
        """Observed seconds of the migration."""
        return self._before + (boot_clock() - self._start)

    def stamp(self) -> float:
        """Unix seconds by the wall clock as it was when this clock began, counted on by the boot clock: no jump moves them."""
        return self._began + (boot_clock() - self._start)

    def stamp_of(self, observed: float) -> float:
        """An observed time as such a stamp: so long ago as has been observed since."""
        return self._began - (self._before - observed)

    def uptime(self) -> float:
        """Seconds since this clock began."""
        return boot_clock() - self._start

    def wall_jump(self) -> float:
        """By how much the wall clock has moved against the boot clock since the last call, seconds."""
        boot, wall = boot_clock(), time.time()
        jump = (wall - self._wall) - (boot - self._start)
        if abs(jump) > 2.0:
            self._wall += jump
            return jump
        return 0.0


def utc_now() -> datetime:
    return datetime.now(UTC)
