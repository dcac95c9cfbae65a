"""Streams of one leg: it shares them with the other, and never holds all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

from backends.transfer.pace import Lane


class Leg(Lane):
    """A lane that leaves a quarter of the streams, and one at least, to others: a hub or a target that stands still does not stop the
    leg that does not need it. Between the lanes, whoever has fewer is next."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane.streams, lane.name)
        self._lane = lane
        self._held = 0
        self._turns: deque[asyncio.Future[None]] = deque()

    @property
    def most(self) -> int:
        """How many streams it may hold now."""
        limit = self._lane.limit
        return max(1, limit - max(1, limit // 4))

    async def __aenter__(self) -> None:
        while self._held >= self.most:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._turns.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()
                raise
        self._held += 1
        try:
            await self._lane.__aenter__()
        except BaseException:
            self._give()
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            await self._lane.__aexit__(kind, error, trace)
        finally:
            self._give()

    def _give(self) -> None:
        self._held -= 1
        self._next()

    def _next(self) -> None:
        for _ in range(self.most - self._held):
            while self._turns:
                turn = self._turns.popleft()
                if not turn.done():
                    turn.set_result(None)
                    break
