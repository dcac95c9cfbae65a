"""How the console brings a gone engine back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path


def starter(path: Path, companion: int | None = None) -> Callable[[], Awaitable[None]]:
    """Starts the folder's engine once more: what the console calls when it finds it gone. It ends with process `companion`."""

    def run() -> None:
        # Imported only now, and off the event loop: the console's first frame does not wait for the engine's libraries.
        from backends.engine.process import start_engine

        start_engine(path, None, companion=companion)

    async def start() -> None:
        await asyncio.to_thread(run)

    return start
