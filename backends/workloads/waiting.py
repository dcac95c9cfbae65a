"""Waiting until nothing of a workload runs any more, within its time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from backends.vocabulary import SideName
from backends.workloads.base import NoWay, Outcome, Standing, StillRunning

ASK_TIMEOUT = 10.0
POLL = 0.5  # seconds between two looks


async def wait_idle(look: Callable[[], Awaitable[Standing]], seconds: float) -> Standing:
    """Look until it is idle or `seconds` are over; the last look, which says which it was."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        seen = await look()
        left = end - asyncio.get_running_loop().time()
        if seen.is_idle or left <= 0:
            return seen
        await asyncio.sleep(min(POLL, left))


async def until_idle(
    stop: Callable[[], Awaitable[Outcome]],
    look: Callable[[], Awaitable[Standing]],
    name: str,
    side: SideName,
    seconds: float,
) -> Outcome:
    """Stop new work, then wait until what runs has ended. Raises `StillRunning` when the time is over."""
    stopped = await stop()
    if stopped.standing.is_idle is None:
        raise NoWay(
            f"workload {name} on {side}: {stopped.text}; nothing says whether it is idle ({stopped.standing.text})",
            where=f"workloads.{name}.quiesce.idle",
            hint="give `idle`: exits 0 when nothing runs, 3 when something does",
        )
    seen = await wait_idle(look, seconds)
    if not seen.is_idle:
        raise StillRunning(
            f"workload {name} on {side} takes no new work, and is not idle after {seconds:g} s: {seen.text}",
            hint="wait, or quiesce it",
        )
    return Outcome(f"{stopped.text}; nothing of it runs any more", seen)
