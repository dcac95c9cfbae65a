"""A whole cutover and its way back over a real HAProxy, with clients that keep their connections and count what they lose."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from backends.cutover.fold import fold
from backends.cutover.migration import Migration
from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.engine.journal import read_events, verify_chain
from backends.engine.lock import is_locked
from backends.engine.paths import socket_of
from backends.engine.process import start_engine
from backends.errors import RefusedByRule
from backends.snapshot import State
from tests.faults.small_world import kill_engine
from tests.faults.table import fault_case
from tests.faults.test_failpoints import advance, until
from tests.peers.haproxy import Haproxy, haproxy

LIMIT = 60.0
STEPS = (5, 25, 50, 100)
DOCS = Path(__file__).parents[2] / "docs" / "rollback.md"


@dataclass
class World:
    """A migration of one route by HAProxy, its clients running throughout."""

    folder: Path
    proxy: Haproxy
    seen: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def journal(self) -> Migration:
        verify_chain(self.state)
        return fold(read_events(self.state))

    def client(self) -> EngineClient:
        return EngineClient(socket_of(self.state))

    async def share(self) -> float:
        """Percent of HAProxy's weight that target has, by its own word."""
        rows = [line.split() for line in (await self.proxy.tell("show servers state chat")).splitlines() if "chat" in line]
        weights = {row[3]: 0 if int(row[6]) else int(row[7]) for row in rows}
        return 100 * weights["t0"] / sum(weights.values())

    def write_plan(self) -> Path:
        servers = {
            "legacy": f"http://127.0.0.1:{self.proxy.legacy[0]}/now",
            "target": f"http://127.0.0.1:{self.proxy.target[0]}/now",
        }
        plan = {
            "version": 1, "name": "small", "simulation": True,
            "legacy": {"provider": "old"}, "target": {"provider": "new"},
            "workloads": [{"name": "chat", "class": "batch"}],
            "routes": [{
                "name": "chat", "workload": "chat", "steps": list(STEPS), "soak": {"at_least": "100ms"},
                "haproxy": {
                    "socket": str(self.proxy.socket), "backend": "chat", "legacy": "l0", "target": "t0",
                    "state_file": str(self.proxy.state_file), "drain": "2s",
                },
                "probe": {"url": self.proxy.url, "timeout": "1s", **servers},
            }],
            "gates": {phase: [] for phase in ("development", "testing", "staging", "cutover")},
            "windows": {"dual": "1s", "retire": "1s", "spacing": "100ms"},
        }  # fmt: skip
        path = self.folder / "plan.yaml"
        path.write_text(json.dumps(plan, indent=1))
        return path

    async def _clients(self) -> None:
        """Keep-alive clients: one request after the other on a connection that is kept."""

        async def one(session: aiohttp.ClientSession) -> None:
            while True:
                try:
                    async with session.get(self.proxy.url) as answer:
                        said = await answer.json()
                        if answer.status == 200:
                            self.seen[said["side"]] += 1
                        else:
                            self.lost.append(f"status {answer.status}")
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    self.lost.append(repr(error))
                await asyncio.sleep(0.005)

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session, asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(one(session))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with haproxy(tmp_path / "ha") as proxy:
        made = World(tmp_path, proxy)
        made.write_plan()
        clients = asyncio.create_task(made._clients())
        try:
            yield made
        finally:
            clients.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await clients
            if (made.state / "lock").exists() and is_locked(made.state):
                found = re.search(r"pid (\d+)", (made.state / "lock").read_text())
                if found:
                    kill_engine(int(found[1]))


async def started(world: World, failpoint: str | None = None) -> None:
    import os

    if failpoint:
        os.environ["CUTOVER_FAILPOINT"] = failpoint
    try:
        await asyncio.to_thread(start_engine, world.state, world.folder / "plan.yaml")
    finally:
        os.environ.pop("CUTOVER_FAILPOINT", None)


async def armed(client: EngineClient) -> None:
    for _ in range(4):
        await advance(client)
    await until(client, State.ARMED)


async def all_the_way(client: EngineClient) -> None:
    await armed(client)
    for _ in STEPS:
        await advance(client)


async def gone(world: World) -> None:
    async with asyncio.timeout(LIMIT):
        while is_locked(world.state):  # noqa: ASYNC110 - another process ends
            await asyncio.sleep(0.02)


async def killed_in_a_rollback(world: World, point: str) -> None:
    """With part of the traffic on target; at this failpoint of the way back."""
    await started(world, point)
    async with world.client() as client:
        await armed(client)
        for _ in STEPS[:2]:
            await advance(client)
        with pytest.raises(EngineGone):
            await client.command("rollback", {"confirm": "small", "reason": "test"})
    await gone(world)


async def test_no_request_is_lost_on_the_way_there_and_back(world: World) -> None:
    await started(world)
    async with world.client() as client:
        await armed(client)
        for weight in STEPS:
            await advance(client)
            assert await world.share() == weight
        await until(client, State.DUAL)
        began = time.monotonic()
        await client.command("rollback", {"confirm": "small", "reason": "test"})
        took = time.monotonic() - began
        assert (await client.snapshot()).state is State.ROLLED_BACK
        assert await world.share() == 0
        world.seen.clear()
        async with asyncio.timeout(LIMIT):
            while world.seen["legacy"] < 50:  # noqa: ASYNC110 - clients go on
                await asyncio.sleep(0.02)
        assert world.seen["target"] == 0, "nobody is on target any more"
        await client.command("down", {})
    await gone(world)
    assert world.lost == []
    print(f"back at legacy by HAProxy, data plane seen, sessions ended: {took:.2f} s")


BOUNDARIES = ("before-intent", "after-intent", "after-send", "after-sent", "after-observed", "after-confirmed")
FIRST = ("after-send", "after-sent")  # where the world may be ahead of the journal: in every run, the others in the slow ones


@pytest.mark.parametrize(
    ("boundary", "weight"),
    [
        pytest.param(boundary, weight, marks=() if boundary in FIRST and weight == 3 else pytest.mark.slow)
        for boundary in BOUNDARIES
        for weight in (1, 3)
    ],
)
async def test_kill_9_at_a_step_forward_leaves_before_or_after(world: World, boundary: str, weight: int) -> None:
    await started(world, f"weight.forward.{boundary}@{weight}")
    async with world.client() as client:
        with pytest.raises(EngineGone):
            await all_the_way(client)
    await gone(world)
    before, after = (0, *STEPS)[weight - 1], STEPS[weight - 1]
    await started(world)
    async with world.client() as client:
        now = await until(client, State.ARMED, State.SOAKING, State.DUAL, held=True)
        share = await world.share()
        assert share in (before, after)
        assert {r.name: r.observed for r in now.routes}["chat"] in (None, share)
        if world.journal().has_effects:
            await client.command("rollback", {"confirm": "small", "reason": "test"})
        await client.command("down", {})
    await gone(world)
    m = world.journal()
    assert (m.route("chat").confirmed, await world.share(), not m.ops) == (0, 0, True)
    assert world.lost == []


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        pytest.param(kind, boundary, marks=() if boundary == "after-send" else pytest.mark.slow)
        for kind in ("weight", "expel")
        for boundary in BOUNDARIES
    ],
)
async def test_kill_9_in_a_rollback_ends_at_home(world: World, kind: str, boundary: str) -> None:
    await killed_in_a_rollback(world, f"{kind}.backward.{boundary}")
    await started(world)
    async with world.client() as client:
        await until(client, State.ROLLED_BACK)
        await client.command("down", {})
    await gone(world)
    assert await world.share() == 0
    assert world.lost == []


async def test_somebody_elses_weight_holds_and_a_rollback_takes_it(world: World) -> None:
    await started(world)
    async with world.client() as client:
        await armed(client)
        await advance(client)
        await world.proxy.tell("set weight chat/t0 90")
        async with asyncio.timeout(LIMIT):
            async for now in client.events():
                if now.routes[0].foreign and now.held:
                    break
        with pytest.raises(RefusedByRule, match="HELD"):
            await client.command("advance", {"reason": "test"})
        await client.command("rollback", {"confirm": "small", "reason": "test"})
        assert (await client.snapshot()).state is State.ROLLED_BACK
        await client.command("down", {})
    await gone(world)
    assert await world.share() == 0
    assert world.lost == []


async def test_a_reload_in_the_middle_keeps_the_weight_and_the_clients(world: World) -> None:
    await started(world)
    async with world.client() as client:
        await armed(client)
        await advance(client)
        await advance(client)
        await world.proxy.reload()
        assert await world.share() == 25
        await advance(client)
        assert await world.share() == 50
        assert not (await client.snapshot()).held
        await client.command("rollback", {"confirm": "small", "reason": "test"})
        await client.command("down", {})
    await gone(world)
    assert world.lost == []


async def test_a_dead_haproxy_blocks_a_rollback_until_it_is_back(world: World) -> None:
    """Its clients are lost with it, which is not ours; the way back is told as blocked, and goes on once it can."""
    await started(world)
    async with world.client() as client:
        await armed(client)
        await advance(client)
        await world.proxy.kill()
        with pytest.raises(RefusedByRule) as blocked:
            await client.command("rollback", {"confirm": "small", "reason": "test"})
        assert "HAProxy" in blocked.value.message
        assert (await client.snapshot()).state is State.ROLLBACK_BLOCKED
        await world.proxy.start()
        await client.command("rollback", {"confirm": "small", "reason": "test"})
        assert (await client.snapshot()).state is State.ROLLED_BACK
        await client.command("down", {})
    await gone(world)
    assert await world.share() == 0


@pytest.mark.slow
@fault_case("real, in a rollback: HAProxy's socket is gone", "blocked, no client is lost; home once it is back")
async def test_a_socket_that_is_gone_in_the_middle_of_a_rollback_blocks_it_until_it_is_back(world: World) -> None:
    await killed_in_a_rollback(world, "weight.backward.before-intent")
    away = world.proxy.socket.rename(world.proxy.folder / "away.sock")
    await started(world)
    async with world.client() as client:
        await until(client, State.ROLLBACK_BLOCKED)
        away.rename(world.proxy.socket)
        assert await world.share() == STEPS[1]
        await client.command("rollback", {"confirm": "small", "reason": "test"})
        assert (await client.snapshot()).state is State.ROLLED_BACK
        await client.command("down", {})
    await gone(world)
    assert await world.share() == 0
    assert world.lost == []


@pytest.mark.slow
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("kind", ["weight", "expel"])
@fault_case(
    "real: kill -9 at {kind}.backward.{boundary}, and HAProxy's socket is gone", "no client is lost; home once it is back"
)
async def test_killed_in_a_rollback_while_the_socket_goes_too(world: World, kind: str, boundary: str) -> None:
    await killed_in_a_rollback(world, f"{kind}.backward.{boundary}")
    before = await world.share()
    away = world.proxy.socket.rename(world.proxy.folder / "away.sock")
    await started(world)
    async with world.client() as client:
        async with asyncio.timeout(LIMIT):
            async for now in client.events():
                if now.routes[0].error:
                    break
        assert now.state in (State.ROLLING_BACK, State.ROLLBACK_BLOCKED), "nobody can have seen that it is home"
        away.rename(world.proxy.socket)
        assert await world.share() in (before, 0)
        await until(client, State.ROLLED_BACK)
        await client.command("down", {})
    await gone(world)
    assert await world.share() == 0
    assert world.lost == []


async def test_the_night_page_brings_haproxy_home_by_hand(world: World) -> None:
    """docs/rollback.md, word by word, with the engine dead."""
    await started(world)
    async with world.client() as client:
        await armed(client)
        await advance(client)
        await advance(client)
        pid = (await client.snapshot()).engine
        assert pid is not None
        kill_engine(pid.pid)
    await gone(world)
    lines = [
        line.strip()
        for line in DOCS.read_text().splitlines()
        if "/run/haproxy/admin.sock" in line and line.startswith("        ")
    ]
    assert len(lines) >= 4
    for line in lines:
        here = (
            line.replace("/run/haproxy/admin.sock", str(world.proxy.socket))
            .replace("chat/gcp-a1", "chat/l0")
            .replace("chat/lam-b1", "chat/t0")
        )
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", here, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, (shlex.quote(here), out)
    assert await world.share() == 0
    state = await world.proxy.tell("show stat chat 4 -1")
    assert re.search(r"^chat,t0,.*MAINT", state, re.MULTILINE)
    assert world.lost == []
