"""Cancelling a request at any moment ends its task: a hang at the last object (juicefs 5701, skyplane 845) began like that."""

from __future__ import annotations

import asyncio
import random

from tests.faults.transfer.rig import Rig, put

TIMES = 400


async def test_a_request_cancelled_at_any_moment_never_goes_on_as_if_nothing_had_happened(rig: Rig) -> None:
    """pyreqwest hands over an answer that is there at that moment, and forgets that it was to end: 5 of 100 went on."""
    await put(rig.old, {"k": b"body"})
    chance, went_on = random.Random(3), 0

    async def read() -> None:
        await rig.old.read("k")
        await asyncio.sleep(60)  # where a task goes on, it waits here for ever

    for _ in range(TIMES):
        task = asyncio.create_task(read())
        await asyncio.sleep(chance.random() * 0.004)
        task.cancel()
        await asyncio.wait({task}, timeout=0.5)
        if not task.done():
            went_on += 1
            task.cancel()
            await asyncio.wait({task})
    assert went_on == 0
