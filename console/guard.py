"""Keys that were pressed before a dialog was drawn do nothing in it.

A terminal over a slow link queues keys: what a hand typed at the last screen must not answer the next one. A dialog takes a
key only when it was pressed after the dialog had been painted for `grace` seconds; each new preview starts anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable

GRACE = 0.35


class KeyGuard:
    """Admits keys by when they were pressed, not by when they are handled."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, grace: float = GRACE) -> None:
        self._clock = clock
        self._grace = grace
        self._open_from: float | None = None

    def close(self) -> None:
        """What is on the screen is about to change: admit nothing until it is painted."""
        self._open_from = None

    def painted(self) -> None:
        """What the operator answers to is on the screen now."""
        self._open_from = self._clock() + self._grace

    def admits(self, pressed_at: float) -> bool:
        """Was the key pressed at what is on the screen?"""
        return self._open_from is not None and pressed_at >= self._open_from
