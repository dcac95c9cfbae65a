"""Asks the engine for one host whole, for as long as somebody looks at it: the snapshot of a large fleet leaves most of it out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from backends.errors import CouldNot, CutoverError
from backends.snapshot import HostView
from console.link import EngineLink

PERIOD = 1.0  # a host is sampled as often
ANSWER = 5.0


class HostFeed:
    """Calls `arrived` with each answer, `lost` with the reason where there is none. Knows no widget."""

    def __init__(self, link: EngineLink, name: str, *, arrived: Callable[[HostView], None], lost: Callable[[str], None]) -> None:
        self._link = link
        self._name = name
        self._arrived = arrived
        self._lost = lost

    async def run(self) -> None:
        """Ask once a period until cancelled."""
        while True:
            try:
                self._arrived(await self._ask())
            except CutoverError as error:
                self._lost(error.message)
            await asyncio.sleep(PERIOD)

    async def _ask(self) -> HostView:
        try:
            async with asyncio.timeout(ANSWER):
                return await self._link.host(self._name)
        except TimeoutError:
            raise CouldNot(f"the engine has not answered for {ANSWER:.0f} s") from None
