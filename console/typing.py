"""Keys one after the other: what comes faster than it is drawn (typed ahead, pasted, out of a slow link) goes where it was meant to.

Textual hands a key to what has the focus and looks for its meaning when it has bubbled up, by then perhaps on another screen: of `6j` at
once, `j` would be lost on a screen that has no list yet; of `/lam` the word, on a line that is not open yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from textual import events
from textual.message import Message
from textual.message_pump import MessagePump

LONGEST = 0.5  # seconds for which one key may keep the next waiting
UNREADY = 2.0  # seconds for which a screen may that has not been drawn
SOON = 0.01


class KeyTaken(Message, bubble=True):
    """Goes the way of a key, behind it: where it arrives, the key has been dealt with."""


class KeyTurns:
    """Hands keys on one by one. `hand` gives one to the app as usual and returns what it went to; None where it was dropped."""

    def __init__(
        self,
        hand: Callable[[events.Key], Awaitable[MessagePump | None]],
        *,
        is_ready: Callable[[], bool],
        later: Callable[[float, Callable[[], Awaitable[None]]], object],
        clock: Callable[[], float],
    ) -> None:
        self._hand = hand
        self._is_ready = is_ready
        self._later = later
        self._clock = clock
        self._kept: deque[events.Key] = deque()
        self._handed_at: float | None = None
        self._is_looking = False

    async def take(self, key: events.Key) -> None:
        """A key was typed."""
        self._kept.append(key)
        await self.go_on()

    async def taken(self) -> None:
        """The last one has been dealt with."""
        self._handed_at = None
        await self.go_on()

    async def go_on(self) -> None:
        """Hand on what may be; look again soon where something has to wait."""
        self._is_looking = False
        while self._kept and not self._must_wait():
            key = self._kept.popleft()
            target = await self._hand(key)
            if target is not None and target.post_message(KeyTaken()):
                self._handed_at = self._clock()
        if self._kept and not self._is_looking:
            self._is_looking = True
            self._later(SOON, self.go_on)

    def _must_wait(self) -> bool:
        now = self._clock()
        if self._handed_at is not None and now - self._handed_at < LONGEST:
            return True
        return not self._is_ready() and (self._handed_at is None or now - self._handed_at < UNREADY)
