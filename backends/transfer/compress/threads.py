"""The threads that compress and decompress: as many as there are cores, so that a round never takes more than the machine has.

zstd gives the interpreter's lock free while it works. Contexts are kept a thread and level: making one costs as much as a small
object. What else the machine does is seen by the work itself: the time that it took against the time that it computed.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import zstandard

from backends.stores.base import Body
from backends.transfer.compress.seekable import decode_frame, encode_frame, new_compressor

T = TypeVar("T")

_COUNTS_FROM = 0.004  # CPU seconds of a piece of work: below that the interpreter's lock takes longer to come back than the work
_SPAN = 4.0  # seconds of work that are remembered
_STALE = 10.0  # seconds: what was seen longer ago says nothing of now


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Share:
    """How much of a core each thread gets: the CPU time of its work over the time that it took, of the last seconds of work. 1.0 while
    nothing is known, and again after a while without work: what was too dear an hour ago is tried anew."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._cpu = 0.0
        self._took = 0.0
        self._seen_at = float("-inf")

    def add(self, cpu: float, took: float) -> None:
        """A piece of work of `cpu` seconds was done within `took` seconds. From any thread."""
        if cpu < _COUNTS_FROM:
            return
        with self._lock:
            if self._is_stale():
                self._cpu = self._took = 0.0
            self._cpu, self._took, self._seen_at = self._cpu + cpu, self._took + max(took, cpu), self._clock()
            if self._took > _SPAN:
                self._cpu, self._took = self._cpu / 2, self._took / 2

    @property
    def value(self) -> float:
        with self._lock:
            return 1.0 if self._is_stale() else self._cpu / self._took

    def _is_stale(self) -> bool:
        return self._clock() - self._seen_at > _STALE


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


class Threads:
    """Compresses and decompresses frames off the event loop. `close` when done."""

    def __init__(self, most: int | None = None) -> None:
        self.count = most or cores()
        self.share = Share()
        self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="zstd")
        self._contexts = _Contexts()

    @property
    def free(self) -> float:
        """Cores that this work gets, with all else that the machine does."""
        return self.count * self.share.value

    def encode_now(self, data: Body, level: int) -> bytes:
        """One frame, in the calling thread."""
        kept = self._contexts.compressors
        compressor = kept.get(level)
        if compressor is None:
            compressor = kept[level] = new_compressor(level)
        began, computed = time.monotonic(), time.thread_time()
        frame = encode_frame(compressor, data)
        self.share.add(time.thread_time() - computed, time.monotonic() - began)
        return frame

    def decode_now(self, frame: Body, size: int) -> bytes:
        """What a frame holds, in the calling thread. Raises `NotSeekable`."""
        return decode_frame(self._contexts.decompressor, frame, size)

    async def run(self, work: Callable[[], T]) -> T:
        """Anything, in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def encode(self, data: Body, level: int) -> bytes:
        return await self.run(lambda: self.encode_now(data, level))

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
