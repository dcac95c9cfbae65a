"""Follows the engine's snapshots: reconnects when it goes, and hands on no more than the screen can use.

`Feed.run` is the one loop of the console that listens to the engine. It knows no widget: it calls `arrived` and `lost`,
which post messages. The newest snapshot wins: one that comes too early waits for its turn, and a later one takes its
place. A stream that is silent for `SILENCE` seconds is left and the engine asked directly, because one that hangs
closes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

from backends.errors import CouldNot, CutoverError
from backends.snapshot import Snapshot
from console.link import EngineLink

SPACING = 0.25  # seconds between two snapshots that are drawn
SILENCE = 10.0
ANSWER = 5.0
FIRST_WAIT, LONGEST_WAIT = 0.25, 2.0


class Feed:
    """The engine's snapshots, at most four a second, for as long as the console lives."""

    def __init__(
        self,
        link: EngineLink,
        *,
        arrived: Callable[[Snapshot], None],
        lost: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        spacing: float = SPACING,
    ) -> None:
        self._link = link
        self._arrived = arrived
        self._lost = lost
        self._clock = clock
        self._spacing = spacing
        self._handed_at = float("-inf")
        self._newest: Snapshot | None = None
        self._turn: asyncio.TimerHandle | None = None
        self._retry = asyncio.Event()

    def retry_now(self) -> None:
        """Do not wait for the next attempt: somebody has just started the engine."""
        self._retry.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        wait = FIRST_WAIT
        try:
            while True:
                seen = self._handed_at
                reason = await self._connection()
                self._hand_on()
                self._lost(reason)
                wait = FIRST_WAIT if self._handed_at != seen else min(wait * 2, LONGEST_WAIT)
                await self._pause(wait)
        finally:
            self._drop_turn()

    async def _connection(self) -> str:
        """Follow one stream to its end; why it ended."""
        try:
            await self._follow()
        except CutoverError as error:
            return error.message
        except (OSError, TimeoutError) as error:
            return str(error) or "no answer"
        return "the engine closed the stream"

    async def _follow(self) -> None:
        while await self._went_silent():
            self._take(await self._ask())

    async def _went_silent(self) -> bool:
        """Read one stream: True when it fell silent, False when it ended."""
        async with _closing(self._link.events()) as events:
            while True:
                try:
                    async with asyncio.timeout(SILENCE):
                        snapshot = await anext(events)
                except StopAsyncIteration:
                    return False
                except TimeoutError:
                    return True
                self._take(snapshot)

    async def _ask(self) -> Snapshot:
        try:
            async with asyncio.timeout(ANSWER):
                return await self._link.snapshot()
        except TimeoutError:
            raise CouldNot(f"the engine has not answered for {SILENCE + ANSWER:.0f} s") from None

    def _take(self, snapshot: Snapshot) -> None:
        self._newest = snapshot
        early = self._handed_at + self._spacing - self._clock()
        if early <= 0:
            self._hand_on()
        elif self._turn is None:
            self._turn = asyncio.get_running_loop().call_later(early, self._hand_on)

    def _hand_on(self) -> None:
        self._drop_turn()
        if self._newest is None:
            return
        snapshot, self._newest = self._newest, None
        self._handed_at = self._clock()
        self._arrived(snapshot)

    def _drop_turn(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    async def _pause(self, seconds: float) -> None:
        self._retry.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._retry.wait()
        except TimeoutError:
            return


@asynccontextmanager
async def _closing(events: AsyncIterator[Snapshot]) -> AsyncIterator[AsyncIterator[Snapshot]]:
    """Close the stream when it is left, where it can be closed."""
    try:
        yield events
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
