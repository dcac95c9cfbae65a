"""A worker: carries single pieces from store to store as it is told on its standard input, and tells on its output what became of each.

It decides nothing and keeps nothing. What is to be copied, in which order, what is tried again and what is noted is for the machine
that leads; when that falls silent or closes the channel, the worker ends, and begins no write that it was told long ago.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from backends.errors import CouldNot, UsageError
from backends.plan.models import Store as StoreSpec
from backends.stores.base import Body, ObjectInfo, Store
from backends.stores.errors import StoreUnreachable
from backends.stores.open import open_store
from backends.transfer.haul import haul_part, haul_whole
from backends.transfer.merge import first_error
from backends.transfer.sums import Sums
from backends.transfer.workers.wire import (
    BEAT,
    LINE_LIMIT,
    PROTOCOL,
    SILENCE,
    decode,
    encode,
    error_out,
    hauled_out,
    info_in,
    part_out,
)

T = TypeVar("T")

_OPENING = 60.0  # seconds to find out what both stores do
_BY_US = "`cutover worker` is started by Cutover"
_STALE = 60.0  # seconds from the order to the write: later, somebody else may have carried it


class _Way:
    """From a store to another, each call once: repeating is for who leads."""

    def __init__(self, source: Store, target: Store) -> None:
        self.source = source
        self.target = target
        self._asked_at = time.monotonic()

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        return await attempt()

    async def fetch(self, store: Store, listed: ObjectInfo) -> tuple[ObjectInfo, Body]:
        return await store.fetch(listed)

    async def read(self, store: Store, info: ObjectInfo, start: int, length: int) -> Body:
        return await store.read(info.key, start=start, length=length, if_match=info.identity, version=info.version)

    async def head(self, store: Store, listed: ObjectInfo) -> ObjectInfo | None:
        can = store.capabilities
        return await store.head(listed.key) if can.stored_checksum or can.metadata else listed

    def begun(self, sums: Sums) -> None:
        if time.monotonic() - self._asked_at > _STALE:
            raise StoreUnreachable("the order is too old to be carried out: this worker stood still")


class Worker:
    """Serves one session. `say` writes a line."""

    def __init__(self, say: Callable[[bytes], None]) -> None:
        self._say = say
        self._sides: dict[str, Store] = {}
        self._stack = AsyncExitStack()
        self._at_work: set[asyncio.Task[None]] = set()

    async def serve(self, lines: AsyncIterator[str], version: str) -> None:
        """Until the lines end, or nothing was said for `SILENCE` seconds. Raises `UsageError` for what is no message of ours."""
        self._say(encode({"cutover": version, "protocol": PROTOCOL}))
        try:
            async with self._stack, asyncio.TaskGroup() as group:
                await self._listen(lines, group)
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None

    async def _listen(self, lines: AsyncIterator[str], group: asyncio.TaskGroup) -> None:
        beating = group.create_task(self._beat())
        try:
            async with asyncio.timeout(SILENCE) as limit:
                async for line in lines:
                    limit.reschedule(asyncio.get_running_loop().time() + SILENCE)
                    self._take(line, group)
        except TimeoutError:
            pass  # who leads is gone
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                "what was said is no message of Cutover's", hint=_BY_US
            ) from None  # nothing of it: it may be a secret
        finally:
            for task in (beating, *self._at_work):
                task.cancel()

    def _take(self, line: str, group: asyncio.TaskGroup) -> None:
        message = decode(line)
        if "stores" in message:
            self._open(message["stores"])
            if not message["anew"]:
                group.create_task(self._look())
        elif "n" in message:
            task = group.create_task(self._answer(message["n"], self._order(message)))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    def _open(self, stores: Mapping[str, Mapping[str, Any]]) -> None:
        """Both, in place of those that are open: credentials may be others by now."""
        for side in ("source", "target"):
            spec = stores[side]
            store = open_store(spec["name"], StoreSpec.model_validate(spec["spec"]), ssh=None, base=Path("/"))
            self._stack.push_async_callback(store.close)
            self._sides[side] = store

    async def _look(self) -> None:
        """Find out what both stores do, and say so."""
        try:
            async with asyncio.timeout(_OPENING):
                await self._sides["source"].probe()
                await self._sides["target"].prepare()
        except (CouldNot, TimeoutError) as error:
            self._say(encode({"error": error_out(error)}))
        else:
            self._say(encode({"ready": 1}))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            self._say(encode({"beat": 1}))

    async def _answer(self, number: int, order: Coroutine[Any, Any, dict[str, Any]]) -> None:
        try:
            answer = await order
        except (CouldNot, TimeoutError) as error:
            answer = {"error": error_out(error)}
        self._say(encode({"n": number, **answer}))

    def _order(self, message: Mapping[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]:
        way, source = _Way(self._sides["source"], self._sides["target"]), info_in(message["source"])
        if message["do"] == "whole":
            return self._whole(way, source)
        upload, number, offset, size = message["upload"], message["number"], message["offset"], message["size"]
        return self._part(way, source, upload, number, offset, size)

    async def _whole(self, way: _Way, source: ObjectInfo) -> dict[str, Any]:
        return hauled_out(await haul_whole(way, source, way.begun))

    async def _part(self, way: _Way, source: ObjectInfo, upload: str, number: int, offset: int, size: int) -> dict[str, Any]:
        return part_out(*await haul_part(way, source, upload, number, offset, size, way.begun))


@asynccontextmanager
async def standard_streams() -> AsyncIterator[tuple[AsyncIterator[str], Callable[[bytes], None]]]:
    """The lines of standard input, and what writes one to standard output. Raises `UsageError` where they are no pipes."""
    if not all(stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) for mode in (os.fstat(0).st_mode, os.fstat(1).st_mode)):
        raise UsageError("a worker speaks through pipes", hint=_BY_US)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    # Copies of both: what is closed here is not what Python closes at its end.
    incoming, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb", 0))
    outgoing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(os.dup(1), "wb", 0))

    async def lines() -> AsyncIterator[str]:
        while line := await reader.readline():
            yield line.decode("ascii")

    try:
        yield lines(), outgoing.write
    finally:
        incoming.close()
        outgoing.close()
