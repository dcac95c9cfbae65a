"""Opens the app on a made engine, and reads what is on the screen."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from console.app import CutoverApp
from console.feed import Feed
from tests.console.link import MadeLink

ACTOR = "ops@bastion1"
SIZES = ((80, 24), (200, 60))
Pilots = Pilot[int]


def early() -> float:
    """A clock by which every dialog was painted long ago: keys count at once."""
    return time.monotonic() - 60


@asynccontextmanager
async def opened(
    link: MadeLink, size: tuple[int, int] = (80, 24), *, clock: Callable[[], float] = early, **more: Any
) -> AsyncIterator[Pilots]:
    """The console with its first snapshot drawn."""
    more.setdefault("actor", ACTOR)
    app = CutoverApp(link, clock=clock, **more)
    app.feed = Feed(link, arrived=app._arrived, lost=app._lost, clock=clock, spacing=0)
    async with app.run_test(size=size) as pilot:
        if link.now is not None and link.alive:
            await until(pilot, lambda: app.view.snapshot is not None)
        yield pilot


def app_of(pilot: Pilots) -> CutoverApp:
    """The app under the pilot."""
    assert isinstance(pilot.app, CutoverApp)
    return pilot.app


async def until(pilot: Pilots, holds: Callable[[], bool], seconds: float = 20) -> None:
    """Let the app work until this holds; show the screen where it does not."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"still not so:\n{text_of(pilot)}"
        await pilot.pause(0.01)
    await pilot.pause()


async def shows(pilot: Pilots, *texts: str) -> None:
    """Wait until all of these are on the screen."""
    await until(pilot, lambda: all(text in text_of(pilot) for text in texts))


def text_of(pilot: Pilots) -> str:
    """The screen as text, dialogs over what lies under them."""
    return "\n".join(strip.text.rstrip() for strip in pilot.app.screen._compositor.render_strips())


async def type_in(pilot: Pilots, text: str) -> None:
    """Type a text, key by key."""
    await pilot.press(*["minus" if c == "-" else "space" if c == " " else c for c in text])
