"""Every scenario of the sandbox, with the engine killed every few seconds: each ends as it does without, and no client notices.

A restarted engine holds a forward step that it cannot be sure of; the test is the person who looks and lifts that hold.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backends.cutover.events import Event, Kind
from backends.cutover.fold import fold
from backends.cutover.migration import Migration
from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.engine.journal import read_events, verify_chain
from backends.engine.lock import is_locked
from backends.engine.paths import socket_of
from backends.engine.process import start_engine
from backends.errors import RefusedByRule
from backends.plan.load import load_plan
from backends.sandbox.operator import EXPECTED, Operator
from backends.sandbox.process import SandboxProcess, start_sandbox
from backends.snapshot import State
from tests.faults.small_world import kill_engine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LIMIT = 400.0
BETWEEN = (2.0, 5.0)  # seconds from a start to the next kill, on a machine that starts an engine within `QUIET`
QUIET = 1.5
MAKES_ERRORS = {"error-burst", "legacy-dies"}
FROM_A_RESTART = {"restart", "advance"}  # who holds because an engine was killed, and nothing else


class Killer:
    """Kills the engine again and again, starts it again, and holds the new one to what the old one had confirmed."""

    def __init__(self, state: Path, seed: int) -> None:
        self.state = state
        self.kills = 0
        self._random = random.Random(seed)
        self._starting: asyncio.Future[Any] | None = None

    async def run(self) -> None:
        slowness = 1.0  # an engine that gets a tenth of a core is given ten times as long, or none would come to anything
        while True:
            await asyncio.sleep(slowness * self._random.uniform(*BETWEEN))
            before = await self._kill()
            began = time.monotonic()
            self._starting = asyncio.ensure_future(asyncio.to_thread(start_engine, self.state, None))
            await asyncio.shield(self._starting)
            slowness = max(1.0, (time.monotonic() - began) / QUIET)
            await self._recovered()
            self._assert_kept(before)
            self.kills += 1

    async def end(self) -> None:
        """No engine is left, not even one that was being started."""
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        if is_locked(self.state):
            await self._kill()

    async def _kill(self) -> Migration:
        found = re.search(r"pid (\d+)", (self.state / "lock").read_text())
        assert found is not None
        kill_engine(int(found[1]))
        await asyncio.to_thread(wait_until_gone, self.state)
        verify_chain(self.state)
        return fold(read_events(self.state))

    async def _recovered(self) -> None:
        async with asyncio.timeout(120), EngineClient(socket_of(self.state)) as client:
            while True:
                engine = (await client.snapshot()).engine
                if engine is not None and not engine.recovering:
                    return
                await asyncio.sleep(0.1)

    def _assert_kept(self, before: Migration) -> None:
        """Until anything new begins, a weight that was confirmed and not in flight is what it was; only a handover that was past its commit point
        is finished."""
        if before.state is State.ROLLING_BACK:
            return
        events = read_events(self.state)
        old, new = events[: before.seq], takewhile(_is_recovery, events[before.seq :])
        after = fold([*old, *new])
        finished = {100} if before.open_run is not None and before.open_run.committed else set[int]()
        for name, route in before.routes.items():
            if not route.in_flight:
                assert after.route(name).confirmed in finished | {route.confirmed}, name
        for name, token in before.tokens.items():
            if token.writer == "target":
                assert after.token(name).writer == "target", name


def _is_recovery(event: Event) -> bool:
    return event.kind != Kind.RUN_STARTED


def wait_until_gone(state: Path) -> None:
    """Until no engine holds the folder."""
    deadline = time.monotonic() + 20
    while is_locked(state):
        assert time.monotonic() < deadline, "the engine still holds the folder"
        time.sleep(0.05)


class Person:
    """Lifts the holds of a restart, and no others."""

    def __init__(self, state: Path) -> None:
        self.state = state

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            async with EngineClient(socket_of(self.state)) as client:
                try:
                    now = await client.snapshot(timeout=5.0)
                    if now.held and {h.by for h in now.held} <= FROM_A_RESTART and now.state is not State.ROLLED_BACK:
                        await client.command("resume", {"reason": "looked: it was the restart"}, timeout=10.0)
                except (EngineGone, RefusedByRule):
                    continue


@asynccontextmanager
async def sandbox_of(folder: Path, scenario: str) -> AsyncIterator[SandboxProcess]:
    sandbox = await start_sandbox(folder, scenario)
    try:
        yield sandbox
    finally:
        await sandbox.stop()


async def clients_of(plan_path: Path) -> dict[str, Any]:
    """What the front door's own clients saw."""
    plan = load_plan(plan_path).plan
    assert plan is not None
    admin = next(r.sandbox.admin for r in plan.routes if r.sandbox is not None)
    async with aiohttp.ClientSession() as session, session.get(f"{admin}/clients") as answer:
        figures: dict[str, Any] = await answer.json()
        return figures


@pytest.mark.parametrize("scenario", list(EXPECTED))
async def test_killed_every_few_seconds(tmp_path: Path, scenario: str) -> None:
    state = tmp_path / "state"
    async with sandbox_of(tmp_path / "sandbox", scenario) as sandbox:
        await asyncio.to_thread(start_engine, state, sandbox.plan_path)
        killer, person = Killer(state, seed=len(scenario)), Person(state)
        others = [asyncio.create_task(killer.run()), asyncio.create_task(person.run())]
        play = asyncio.create_task(Operator(socket_of(state), limit=LIMIT).play())
        try:
            await asyncio.wait([play, *others], return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                assert not task.done(), await task
            ended = await play
        finally:
            for task in (*others, play):
                task.cancel()
            await asyncio.gather(*others, play, return_exceptions=True)
            await killer.end()
        figures = await clients_of(sandbox.plan_path)
    verify_chain(state)
    assert ended == EXPECTED[scenario]
    assert killer.kills >= 3
    if scenario not in MAKES_ERRORS:
        assert figures["errors"] == 0
