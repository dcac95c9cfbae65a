"""Large buffers used again: a new one of 8 MiB is zeroed and mapped page by page, which takes longer than to fill it from a socket."""

from __future__ import annotations

import asyncio

LARGE = 1 << 20
_MOST = 8  # kept; as many parts of large objects are under way where stores are near
_IDLE_SECONDS = 5.0


class Buffers:
    """For the tasks of one event loop. What `take` gives is free again when nobody holds a view of it any more."""

    def __init__(self) -> None:
        self._kept: list[bytearray] = []
        self._timer: asyncio.TimerHandle | None = None

    def take(self, size: int) -> memoryview:
        """`size` bytes of whatever stood there before."""
        if size < LARGE:
            return memoryview(bytearray(size))
        self._let_go_later()
        for kept in self._kept:
            if len(kept) == size and _is_free(kept):
                return memoryview(kept)
        new = bytearray(size)
        if len(self._kept) == _MOST:
            self._kept = [kept for kept in self._kept if len(kept) == size or not _is_free(kept)]
        if len(self._kept) < _MOST:
            self._kept.append(new)
        return memoryview(new)

    def let_go(self) -> None:
        """Those in use go when they are no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._kept.clear()

    def _let_go_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self.let_go)


def _is_free(buffer: bytearray) -> bool:
    """A bytearray cannot change its size while there are views of it, in whatever thread: asked by the shortest change."""
    try:
        last = buffer.pop()
    except BufferError:
        return False
    buffer.append(last)
    return True
