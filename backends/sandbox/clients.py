"""The clients: a steady, seeded stream of requests to the front door, with what they saw; and the parallel run on the target.

`Clients.figures()` is what the admin address gives: counts since the start, and the share of the last five seconds that the
target answered. `ParallelRun` asks the target directly while it serves no client, as a team does before it shifts traffic: its
log then has figures to compare. It counts for no client.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import deque
from typing import Any

import aiohttp

from backends.sandbox.layout import Layout
from backends.sandbox.state import World

RATE = 100.0  # requests a second
PARALLEL_RATE = 12.0
_WINDOW = 5.0
_TIMEOUT = aiohttp.ClientTimeout(total=5)
_AT_ONCE = 400


class Clients:
    """The stream of clients and what they saw."""

    def __init__(self, world: World, layout: Layout) -> None:
        self._url = layout.url("front") + "/"
        self._rng = random.Random(f"{world.seed}:clients")
        self._requests = 0
        self._errors = 0
        self._by_side = {"legacy": 0, "target": 0}
        self._recent: deque[tuple[float, str, bool, float]] = deque()  # when, side, failed, seconds

    def figures(self) -> dict[str, Any]:
        """Counts since the start and of the last five seconds; `target_share` is None where nobody was answered."""
        self._forget(time.monotonic())
        answered = [side for _, side, _, _ in self._recent if side]
        share = answered.count("target") / len(answered) if answered else None
        seconds = [s for _, _, failed, s in self._recent if not failed]
        return {
            "requests": self._requests,
            "errors": self._errors,
            "target_share": share,
            "by_side": dict(self._by_side),
            "window": {
                "seconds": _WINDOW,
                "requests": len(self._recent),
                "errors": sum(1 for _, _, failed, _ in self._recent if failed),
                "latency_p50_ms": round(statistics.median(seconds) * 1000, 2) if seconds else None,
            },
        }

    async def run(self) -> None:
        """Send until cancelled. Open loop: a slow answer delays no other client."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session, asyncio.TaskGroup() as group:
            loop = asyncio.get_running_loop()
            due = loop.time()
            running: set[asyncio.Task[None]] = set()
            while True:
                due = max(due + self._rng.uniform(0.6, 1.4) / RATE, loop.time() - 1.0)
                await asyncio.sleep(max(0.0, due - loop.time()))
                if len(running) < _AT_ONCE:
                    task = group.create_task(self._one(session))
                    running.add(task)
                    task.add_done_callback(running.discard)

    async def _one(self, session: aiohttp.ClientSession) -> None:
        started = time.monotonic()
        side, failed = "", True
        try:
            async with session.get(self._url) as answer:
                body = await answer.json()
                side = str(body.get("side", ""))
                failed = answer.status != 200
        except (aiohttp.ClientError, TimeoutError, ValueError):
            failed = True
        now = time.monotonic()
        self._requests += 1
        self._errors += failed
        if side in self._by_side:
            self._by_side[side] += 1
        self._recent.append((now, side, failed, now - started))
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - _WINDOW:
            self._recent.popleft()


class ParallelRun:
    """Requests straight to the target while no client is sent there."""

    def __init__(self, world: World, layout: Layout) -> None:
        self._world = world
        self._url = layout.url("chat-target") + "/"

    async def run(self) -> None:
        """Ask until cancelled, one request after the other."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while True:
                await asyncio.sleep(1.0 / PARALLEL_RATE - 0.03)
                if self._world.chat_weight == 0:
                    await self._ask(session)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(self._url) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            # The service is down; its log says nothing, which is what the comparison is to see.
            return
