"""The last hour of a host, five figures every few seconds, in 14 kB: there are hundreds of hosts."""

from __future__ import annotations

import math
from array import array

from backends.snapshot import GpuSums, HostPast

EVERY = 5.0
KEPT = 720  # samples: an hour


class Past:
    """One sample in each `EVERY` seconds since the first; those that did not come are gaps."""

    def __init__(self) -> None:
        self._kept: dict[str, array[float]] = {name: array("f") for name in _NAMES}
        self._count = 0
        self._began: float | None = None

    def is_due(self, now: float) -> bool:
        """Is it time for the next sample?"""
        return self._began is None or self._place(now) >= self._count or now < self._began + (self._count - 1) * EVERY

    def note(self, now: float, sums: GpuSums, cpu: float | None) -> None:
        """What the host's GPUs do together now, and its processors."""
        if self._began is None or self._place(now) < self._count:  # the first, or the clock was set back
            self._began = now - self._count * EVERY
        missing = self._place(now) - self._count
        self._count += max(0, missing - KEPT)
        for _ in range(min(KEPT, missing)):
            self._add((None,) * len(_NAMES))
        known = [use for use in sums.utilizations if use is not None]
        share = sums.memory_used / sums.memory_total if sums.memory_used is not None and sums.memory_total else None
        self._add((sum(known) / len(known) if known else None, share, sums.power_w, sums.temperature_c, cpu))

    def view(self, now: float) -> HostPast:
        """What is kept, with gaps up to now: the sample of the present seconds may still come."""
        gaps = [None] * min(KEPT, max(0, self._place(now) - self._count)) if self._began is not None else []
        columns = {
            name: tuple([*(None if math.isnan(v) else round(v, 4) for v in kept), *gaps][-KEPT:])
            for name, kept in self._kept.items()
        }
        return HostPast(every=EVERY, count=self._count + len(gaps), **columns)

    def _place(self, now: float) -> int:
        """Which sample belongs to this instant, from 0."""
        return 0 if self._began is None else int((now - self._began) // EVERY)

    def _add(self, figures: tuple[float | None, ...]) -> None:
        self._count += 1
        for kept, value in zip(self._kept.values(), figures, strict=True):
            kept.append(math.nan if value is None else value)
            if len(kept) >= 2 * KEPT:
                del kept[:-KEPT]


_NAMES = ("utilization", "memory", "power_w", "temperature_c", "cpu")
