"""Which entries are shown where not all fit: those in trouble always, the others in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from backends.snapshot import Level

T = TypeVar("T")
WEIGHT = {Level.BREACH: 3, Level.HELD: 2, Level.WAITING: 1, Level.GOOD: 0}


def shown_first(entries: Sequence[T], places: int, level: Callable[[T], Level]) -> list[T]:
    """As many as there are places for, in their own order; the calmest are the first to be left out."""
    if len(entries) <= places:
        return list(entries)
    ranked = sorted(range(len(entries)), key=lambda i: (-WEIGHT[level(entries[i])], i))
    return [entries[i] for i in sorted(ranked[: max(0, places)])]


def left_out(entries: Sequence[T], places: int, level: Callable[[T], Level]) -> list[Level]:
    """The meanings of those that `shown_first` leaves out, the worst first."""
    if len(entries) <= places:
        return []
    return sorted((level(e) for e in entries), key=lambda lv: -WEIGHT[lv])[max(0, places) :]
