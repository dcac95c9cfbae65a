"""The times that a source writes, brought onto our own clock, which no jump of a wall clock moves (cutover.md, section 7).

A source that is followed is read moments after it is written: so it is seen when its clock jumps, or ours was put right. Until then its
times are taken as they are. Windows then count when a line came in, to within the time between two looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

AHEAD = 2.0  # seconds by which a line may be ahead of when it came: no two clocks are quite alike
LATE = 60.0  # by which it may be behind: what was held back, requests that took long, a link that was cut


class SourceClock:
    """`ours`: seconds that no jump moves, with the wall clock's origin; `wall`: the wall clock."""

    def __init__(self, ours: Callable[[], float], wall: Callable[[], float]) -> None:
        self._ours = ours
        self._wall = wall
        self._behind = 0.0  # to be added to its times
        self._newest = -math.inf  # of its own times

    def jumped(self) -> float:
        """By how much our wall clock has been put since we began, seconds."""
        return self._wall() - self._ours()

    def on_ours(self, own: float, came: float) -> float:
        """A line's own time, of a line that came in at `came` by our clock, the last before it having been placed. Lines in their order."""
        if not math.isfinite(own):
            return own
        placed = own + self._behind
        went_back = own < self._newest - LATE
        self._newest = own if went_back else max(self._newest, own)
        if _is_likely(placed, came):
            return placed
        if _is_likely(own - self.jumped(), came):
            self._behind = -self.jumped()
        elif placed > came or went_back:
            self._behind = came - own
        return own + self._behind

    @property
    def is_ours(self) -> bool:
        """Are its times taken as they are?"""
        return self._behind == 0.0

    def saw(self, own: float) -> None:
        """A time of its own that it has come to."""
        if math.isfinite(own):
            self._newest = max(self._newest, own)

    def as_known(self, own: float, came: float) -> float:
        """Of a line that may have been written long before it came."""
        self.saw(own)
        return own + self._behind


def _is_likely(placed: float, came: float) -> bool:
    return came - LATE <= placed <= came + AHEAD
