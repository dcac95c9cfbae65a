"""How fast: the bandwidth that all streams share, how many streams there may be, and how often a call is tried again."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from backends.errors import CutoverError
from backends.ssh.errors import AuthFailed, HostKeyRefused, SshError
from backends.stores.errors import ShortBody, StoreBusy, StoreUnreachable

T = TypeVar("T")

LEAST, MOST = 16, 256  # requests under way, where the plan says nothing
_LEAST_PARTS, _MOST_PARTS = 8, 32  # of 8 MiB each
_FILES, _WRITERS = 4, 3  # of this machine, from a near store: large ones at once, and streams into one of them
_SECONDS_EACH = 0.25e-3  # of this process, to copy a small object: below that time between two of them the latency does not show
_BURST_SECONDS = 0.25
_PIECE = 256 << 10  # bytes
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
        """Wait for the turn of `size` bytes. Large bodies take it piece by piece, so that small ones get theirs in between."""
        if not self._seconds_per_byte:
            return
        while size > 0:
            piece = min(size, _PIECE)
            size -= piece
            if (wait := self.wait_for(piece)) > 0:
                await asyncio.sleep(wait)


class Streams:
    """At most so many at once, shared by lanes (one a dataset) of which the one with the fewest has the next turn.

    A store that asks for less halves the limit; every success gives a little back. Where the plan gives no number, the limit follows
    from the latency of the stores (`reach`): what is to be in flight is the rate times the time that each takes.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(most)
        self._limit = float(most)
        self._active = 0
        self._lanes: dict[str, Lane] = {}
        self._own: dict[Lane, None] = {}  # in their order
        self._active_of: Counter[str] = Counter()  # by lanes of one name
        self._clock = clock
        self._halved_at = -1.0
        self.refusals = 0  # times that a store asked for less
        self.waiting = 0  # who has asked for a turn and may still get one

    @property
    def limit(self) -> int:
        return max(1, int(self._limit))

    @property
    def active(self) -> int:
        return self._active

    def reach(self, most: int) -> None:
        """So many may be under way from now on."""
        self._most = float(most)
        self._limit = min(self._limit, self._most) if self.refusals else self._most
        self.wake()

    def lane(self, name: str = "") -> Lane:
        """This dataset's way to these streams."""
        return self._lanes.setdefault(name, Lane(self, name))

    @contextmanager
    def own_lane(self, name: str) -> Iterator[Lane]:
        """One object's of this dataset, for as long as it is under way: of a dataset's objects, too, that with the fewest is next."""
        lane = Lane(self, name)
        self._own[lane] = None
        try:
            yield lane
        finally:
            del self._own[lane]

    def may_begin(self) -> bool:
        return self._active < self.limit

    def begun(self, name: str) -> None:
        self._active += 1
        self._active_of[name] += 1

    def ended(self, name: str) -> None:
        self._active -= 1
        self._active_of[name] -= 1
        self.wake()

    def wake(self) -> None:
        """Give what is free to who waits, to the lane with the fewest first."""
        while self.waiting and self._active < self.limit:
            waiting = [lane for lane in (*self._lanes.values(), *self._own) if lane.wants()]
            if not waiting:
                return
            (waiting[0] if len(waiting) == 1 else min(waiting, key=self._has)).next()

    def _has(self, lane: Lane) -> tuple[int, int]:
        return self._active_of[lane.name], lane.active

    def busy(self) -> None:
        """Halve, once a second: a wave of refusals is one refusal."""
        self.refusals += 1
        if self._clock() - self._halved_at >= 1.0:
            self._halved_at = self._clock()
            self._limit = max(1.0, self._limit / 2)

    def good(self) -> None:
        if self._limit < self._most:
            self._limit = min(self._most, self._limit + 1 / self._limit)


class Lane:
    """`async with lane` is one stream."""

    def __init__(self, streams: Streams, name: str) -> None:
        self.streams = streams
        self.name = name  # the dataset's
        self.active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        return self.streams.limit

    @property
    def refusals(self) -> int:
        return self.streams.refusals

    def wants(self) -> bool:
        """Does anybody wait here?"""
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        return bool(self._waiting)

    def next(self) -> None:
        """The turn of the first who waits."""
        self._begin()
        self._waiting.popleft().set_result(None)

    def _begin(self) -> None:
        self.active += 1
        self.streams.begun(self.name)

    def _end(self) -> None:
        self.active -= 1
        self.streams.ended(self.name)

    async def __aenter__(self) -> None:
        if self.streams.may_begin() and not self.wants():
            self._begin()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self.streams.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._end()
            raise
        finally:
            self.streams.waiting -= 1

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def busy(self) -> None:
        """The store asked for less."""
        self.streams.busy()

    def good(self) -> None:
        """A request was answered."""
        self.streams.good()


class Pace:
    """What all rounds of a session share. `parallel`: how many requests may be under way; None: found out by the stores' latency,
    for each of the `machines` that carry.

    Parts of large objects are held in memory, so fewer of them are under way; few large objects are begun at once, so that they end
    one after the other and not all at the end. Into files of this machine go few streams while the store is near, and into many files
    rather than into one: the system lets one at a time write to a file, and who waits for it burns a core (measured: an eighth of the CPU).
    """

    def __init__(self, parallel: int | None, bits_per_second: float | None, machines: int = 1) -> None:
        self._is_found = parallel is None
        self._machines = machines
        self.bandwidth = Bandwidth(bits_per_second)
        self.streams = Streams(parallel or LEAST * machines)
        self.parts = Streams(parallel or _LEAST_PARTS * machines)
        self.large = Streams(_large_for(self.parts.limit))
        self.pours = Streams(parallel or pours_for(os.cpu_count() or 1))
        self.files = Streams(max(self.large.limit, min(self.pours.limit, _FILES)))
        self.writers = parallel or _WRITERS  # of one file of this machine at once

    def fit(self, latency: float) -> None:
        """As many as these stores want: `latency` is the sum of both sides' seconds a request (measured: facts in docs/transfer.md)."""
        if not self._is_found:
            return
        wanted = min(MOST, max(LEAST, int(latency / _SECONDS_EACH)))
        if wanted * self._machines > self.streams.limit:
            self.streams.reach(wanted * self._machines)
            self.parts.reach(min(_MOST_PARTS, max(_LEAST_PARTS, wanted // 2)) * self._machines)
            self.large.reach(_large_for(self.parts.limit))
            if self.parts.limit > _LEAST_PARTS * self._machines:  # far: the link is slower than any file
                self.writers = self.parts.limit
                self.pours.reach(self.parts.limit)
                self.files.reach(max(self.large.limit, _FILES))


def pours_for(cores: int) -> int:
    """Streams into files of this machine from a near store, in all."""
    return min(_LEAST_PARTS, max(_FILES, 2 * cores))


def _large_for(parts: int) -> int:
    return max(2, parts // 4)


def is_passing(error: Exception) -> bool:
    """May the same call work in a moment?"""
    if isinstance(error, SshError):
        return not isinstance(error, AuthFailed | HostKeyRefused)
    return isinstance(error, StoreBusy | StoreUnreachable | ShortBody | TimeoutError)


class Patience:
    """Tries a store's call again where that may help, waiting longer each time; with jitter, or all streams return at once."""

    def __init__(self, streams: Lane, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
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
