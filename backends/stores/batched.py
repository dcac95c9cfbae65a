"""Threads for short blocking calls, which are handed over in batches.

Threads and loop share the interpreter's lock, and each of the ten hand-overs that a small file takes wakes a sleeping core: with a thread
for every call 5,000 files of 16 to 64 KiB from a store took 2.44 s and 92,000 switches. So one thread does what waits, one call after the
other, and tells of all of them at once: 1.4 s and 9,000. Where a call takes long, a slow disk, another thread begins beside it. Calls that
mostly work without the lock (large bodies) are better off each in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

_SLOW_SECONDS = 0.003  # a call that takes longer waits for a disk: others go on beside it
_TELL_SECONDS = 0.002


class _Call(NamedTuple):
    future: asyncio.Future[Any]
    call: Callable[..., Any]
    args: tuple[object, ...]


class _Done(NamedTuple):
    future: asyncio.Future[Any]
    result: Any
    error: Exception | None


class BatchThreads:
    """`await threads.run(call, …)` for short ones, `run_apart` for others."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._waiting: deque[_Call] = deque()
        self._done: deque[_Done] = deque()
        self._busy_since: dict[int, float] = {}  # worker -> when its call began
        self._lock = threading.Lock()
        self._numbers = 0
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, call: Callable[..., T], *args: object) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Call(future, call, args))
        if not self._busy_since:
            self._begin(loop)
        if self._timer is None:
            self._timer = loop.call_later(_SLOW_SECONDS, self._look, loop)
        return await future

    async def run_apart(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)

    async def close(self) -> None:
        """When what is under way has ended."""
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.to_thread(self._threads.shutdown)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._numbers += 1
        with self._lock:
            self._busy_since[self._numbers] = time.monotonic()
        self._threads.submit(self._work, loop, self._numbers)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell what is done, also where the next call of that thread takes long; begin another worker where all are held up."""
        self._timer = None
        self._settle()
        with self._lock:
            now, count = time.monotonic(), len(self._busy_since)
            are_slow = all(now - since > _SLOW_SECONDS for since in self._busy_since.values())
        if self._waiting and are_slow and count < self._count:
            self._begin(loop)
        if self._waiting or count:
            self._timer = loop.call_later(_SLOW_SECONDS, self._look, loop)

    def _settle(self) -> None:
        while self._done:
            future, result, error = self._done.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    # in a thread

    def _work(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        told, untold = time.monotonic(), False
        while True:
            try:
                job = self._waiting.popleft()
            except IndexError:
                if untold:
                    self._tell(loop)
                    untold = False
                with self._lock:
                    if not self._waiting:
                        del self._busy_since[number]
                        return
                continue
            now = self._busy_since[number] = time.monotonic()
            if untold and now - told > _TELL_SECONDS:
                self._tell(loop)
                told, untold = now, False
            try:
                done = _Done(job.future, job.call(*job.args), None)
            except Exception as error:  # noqa: BLE001 - handed over to whoever asked
                done = _Done(job.future, None, error)
            self._done.append(done)
            untold = True

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits
            loop.call_soon_threadsafe(self._settle)
