"""The threads that compress and decompress: as many as there are cores, so that a round never takes more than the machine has.

zstd gives the interpreter's lock free while it works. Contexts are kept a thread and level: making one costs as much as a small
object.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import zstandard

from backends.stores.base import Body
from backends.transfer.compress.seekable import decode_frame, encode_frame, new_compressor

T = TypeVar("T")


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


class Threads:
    """Compresses and decompresses frames off the event loop. `close` when done."""

    def __init__(self, most: int | None = None) -> None:
        self.count = most or cores()
        self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="zstd")
        self._contexts = _Contexts()

    def encode_now(self, data: Body, level: int) -> bytes:
        """One frame, in the calling thread."""
        kept = self._contexts.compressors
        compressor = kept.get(level)
        if compressor is None:
            compressor = kept[level] = new_compressor(level)
        return encode_frame(compressor, data)

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
