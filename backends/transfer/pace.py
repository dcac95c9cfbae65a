"""How fast: the bandwidth that all streams share, how many streams there may be, and how often a call is tried again."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TypeVar

from backends.errors import CutoverError
from backends.ssh.errors import AuthFailed, HostKeyRefused, SshError
from backends.stores.errors import ShortBody, StoreBusy, StoreUnreachable

T = TypeVar("T")

_BURST_SECONDS = 0.25
_TRIES = 8  # of a call that failed for a passing reason: some 25 s, as long as a server takes that is started again
_BUSY_TRIES = 12  # of a call that the store asked to put off
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 20.0


class Bandwidth:
    """A limit in bits a second over all streams together; None is no limit."""

    def __init__(self, bits_per_second: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds_per_byte = 8 / bits_per_second if bits_per_second else 0.0
        self._clock = clock
        self._free_at = 0.0

    def wait_for(self, size: int) -> float:
        """Book `size` bytes; the seconds to wait before they may move."""
        if not self._seconds_per_byte:
            return 0.0
        now = self._clock()
        start = max(self._free_at, now - _BURST_SECONDS)
        self._free_at = start + size * self._seconds_per_byte
        return max(0.0, start - now)

    async def take(self, size: int) -> None:
        if (wait := self.wait_for(size)) > 0:
            await asyncio.sleep(wait)


class Streams:
    """At most so many at once. A store that asks for less halves it; every success gives a little back."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(most)
        self._limit = float(most)
        self._active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._clock = clock
        self._halved_at = -1.0

    @property
    def limit(self) -> int:
        return max(1, int(self._limit))

    async def __aenter__(self) -> None:
        while self._active >= self.limit:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()
                raise
        self._active += 1

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._active -= 1
        self._wake()

    def _wake(self) -> None:
        room = self.limit - self._active
        while room > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1

    def busy(self) -> None:
        """Halve, once a second: a wave of refusals is one refusal."""
        if self._clock() - self._halved_at >= 1.0:
            self._halved_at = self._clock()
            self._limit = max(1.0, self._limit / 2)

    def good(self) -> None:
        if self._limit < self._most:
            self._limit = min(self._most, self._limit + 1 / self._limit)


def is_passing(error: Exception) -> bool:
    """May the same call work in a moment?"""
    if isinstance(error, SshError):
        return not isinstance(error, AuthFailed | HostKeyRefused)
    return isinstance(error, StoreBusy | StoreUnreachable | ShortBody | TimeoutError)


class Patience:
    """Tries a store's call again where that may help, waiting longer each time; with jitter, or all streams return at once."""

    def __init__(self, streams: Streams, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._streams = streams
        self._sleep = sleep

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of the first attempt that works, or the error of the last one."""
        failed, busy = 0, 0
        while True:
            try:
                result = await attempt()
            except StoreBusy as error:
                self._streams.busy()
                busy += 1
                if busy >= _BUSY_TRIES:
                    raise
                await self._sleep(jittered(max(error.retry_after, _FIRST_WAIT * 2 ** min(busy - 1, 8))))
            except (CutoverError, TimeoutError) as error:
                failed += 1
                if failed >= _TRIES or not is_passing(error):
                    raise
                await self._sleep(jittered(_FIRST_WAIT * 2 ** (failed - 1)))
            else:
                self._streams.good()
                return result


def jittered(seconds: float) -> float:
    """Between half and one and a half of it, at most `_LONGEST_WAIT`."""
    return min(seconds, _LONGEST_WAIT) * random.uniform(0.5, 1.5)
