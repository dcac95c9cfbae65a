"""Sends commands to the engine and tells what came of them. A command outlives the dialog that gave it.

`Acts.send` returns as soon as the engine has taken the command up: its answer came, or its run shows in a snapshot. What it
ends in is told in words later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backends.errors import CutoverError
from backends.escape import plain
from backends.snapshot import Level, PreviewView, Snapshot
from console.link import Args, EngineLink

PREVIEW_ANSWER = 10.0
RUNS = {"advance": "advance", "rollback": "rollback", "evacuate": "evacuate"}  # command -> the kind of run that it starts


@dataclass(eq=False)
class Order:
    """One command under way."""

    name: str
    args: Args
    taken: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Acts:
    """The commands of one console."""

    def __init__(
        self,
        link: EngineLink,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        tell: Callable[[str, Level], None],
    ) -> None:
        self._link = link
        self._spawn = spawn
        self._tell = tell
        self._orders: list[Order] = []
        self._last_run: datetime | None = None

    async def preview(self, command: str, args: Args | None = None) -> PreviewView:
        """What a command would do; the engine has some seconds to say."""
        async with asyncio.timeout(PREVIEW_ANSWER):
            return await self._link.preview(command, args)

    async def send(self, name: str, args: Args) -> None:
        """Give a command; returns when the engine has taken it up, raises what it refused with."""
        order = Order(name, args)
        self._orders.append(order)
        self._spawn(self._perform(order))
        await order.taken

    def saw(self, snapshot: Snapshot) -> None:
        """A run that was not there before means that the engine is at work on what was ordered."""
        run = snapshot.run
        if run is None or run.started_at == self._last_run:
            return
        self._last_run = run.started_at
        for order in self._orders:
            if RUNS.get(order.name) == run.kind and run.ended_at is None and not order.taken.done():
                order.taken.set_result(None)

    async def _perform(self, order: Order) -> None:
        try:
            answer = await self._link.command(order.name, order.args)
        except CutoverError as error:
            self._failed(order, error)
        else:
            self._tell(in_words(order.name, answer), Level.GOOD)
            if not order.taken.done():
                order.taken.set_result(None)
        finally:
            self._orders.remove(order)
            order.taken.cancel()

    def _failed(self, order: Order, error: CutoverError) -> None:
        if order.taken.done():
            self._tell(f"{order.name}: {plain(error.message)}", Level.BREACH)
        else:
            order.taken.set_exception(error)


def in_words(name: str, answer: Args) -> str:
    """What came of a command: the engine's own words where it gives some."""
    if name == "sign" and "item" in answer:
        return f"{plain(str(answer['item']), 80)} {'is signed' if answer.get('signed') else 'is signed no longer'}"
    said = answer.get("text") or answer.get("message") or answer.get("outcome") or answer.get("state")
    return f"{name}: {plain(str(said), 300)}" if said else f"{name}: done"
