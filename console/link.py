"""What the console needs of an engine: the one seam between the screens and the process that acts.

`backends.engine.client.EngineClient` satisfies `EngineLink`; tests give a made one. The console imports no engine
library by itself: `DeferredLink` loads the client after the first frame is drawn, in a thread, since aiohttp alone takes
as long to import as Textual.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from backends.errors import CutoverError
from backends.snapshot import HostView, PreviewView, Snapshot

Args = dict[str, Any]


class EngineLink(Protocol):
    """One engine, seen through its socket. Every call may raise `CouldNot` when the engine is gone."""

    async def snapshot(self) -> Snapshot: ...

    def events(self) -> AsyncIterator[Snapshot]: ...

    async def host(self, name: str) -> HostView: ...

    async def command(self, name: str, args: Args | None = None) -> Args: ...

    async def preview(self, command: str, args: Args | None = None) -> PreviewView: ...

    async def close(self) -> None: ...


class DeferredLink:
    """A link that is made on first use, off the event loop, so that the screen is there before it."""

    def __init__(self, make: Callable[[], EngineLink]) -> None:
        self._make = make
        self._link: EngineLink | None = None
        self._lock = asyncio.Lock()

    async def _open(self) -> EngineLink:
        async with self._lock:
            if self._link is None:
                self._link = await asyncio.to_thread(self._make)
            return self._link

    async def snapshot(self) -> Snapshot:
        return await (await self._open()).snapshot()

    async def events(self) -> AsyncIterator[Snapshot]:
        async for snapshot in (await self._open()).events():
            yield snapshot

    async def host(self, name: str) -> HostView:
        return await (await self._open()).host(name)

    async def command(self, name: str, args: Args | None = None) -> Args:
        return await (await self._open()).command(name, args)

    async def preview(self, command: str, args: Args | None = None) -> PreviewView:
        return await (await self._open()).preview(command, args)

    async def close(self) -> None:
        if self._link is not None:
            await self._link.close()


def says_changed(error: CutoverError) -> bool:
    """Did the engine refuse because the world is no longer what was previewed?"""
    return "preview_changed" in (error.code, getattr(error, "rule", "").lower())
