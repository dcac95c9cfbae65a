"""Cancelling what waits for pyreqwest 0.15.

Its awaitables are Rust futures. One whose result is there at the moment of the cancellation hands over the result and says nothing of
the cancellation: 135 of 2,587 on the loopback. The task then goes on as if nobody had cancelled it, and whoever waits for its end waits for
ever: `asyncio.TaskGroup` for a listing, Ctrl-C for a copy.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class heeded:
    """`with heeded():` around the await raises `CancelledError` at its end where the task was cancelled inside and nobody was told."""

    __slots__ = ("_before", "_task")

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._before = self._task.cancelling() if self._task is not None else 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._task is None or self._task.cancelling() <= self._before or isinstance(error, asyncio.CancelledError):
            return
        raise asyncio.CancelledError from error
