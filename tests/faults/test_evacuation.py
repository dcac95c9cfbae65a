"""Legacy dies, the operator evacuates, and the engine is killed with -9 at the boundaries of that: production ends on target whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.errors import RefusedByRule
from backends.snapshot import Health, Snapshot, State
from tests.faults.small_world import SmallWorld, client_of, start, wait_until_gone
from tests.faults.test_failpoints import advance, until

POINTS = [
    "state.shifting.after@2",
    "run.evacuate.after-started",
    "weight.safety.after-intent",
    "weight.safety.after-send",
    "fence.safety.after-sent",
    "token.safety.after-confirmed",
    "token.safety.after-confirmed@2",
    "resume.safety.after-intent",
    "weight.safety.after-confirmed@2",
    "run.evacuate.before-ended",
    "run.evacuate.after-ended",
]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SmallWorld]:
    made = SmallWorld(tmp_path)
    with made.served():
        yield made


async def seen_dead(client: EngineClient) -> Snapshot:
    async with asyncio.timeout(30):
        async for now in client.events():
            if "legacy" in now.sides and now.sides["legacy"].health is Health.DEAD:
                return now
    raise EngineGone("the stream ended")


async def half_way(world: SmallWorld, client: EngineClient) -> None:
    """Chat half on target; then legacy dies, its writer with it."""
    for _ in range(4):
        await advance(client)
    async with asyncio.timeout(30):
        while True:
            try:
                await client.command("advance", {"route": "chat"})
                break
            except RefusedByRule as refused:
                if refused.rule not in ("SR3", "BUSY", "PREFLIGHT"):
                    raise
                await asyncio.sleep(0.1)
    world.dead.add("legacy")
    await seen_dead(client)


async def evacuated(client: EngineClient) -> Snapshot:
    now = await until(client, State.DUAL, State.ROLLBACK_BLOCKED)
    assert now.state is State.DUAL, [(e.seq, e.text) for e in now.events]
    assert now.held
    return now


def is_there(world: SmallWorld) -> None:
    assert world.weights == {"chat": 100, "jobs": 100}
    assert world.writers == {"legacy": False, "target": True}
    m = world.journal()
    assert not m.ops
    assert (m.token("ckpt").writer, m.forced) == ("target", {"ckpt"})


async def test_evacuation_on_a_real_engine_and_home_again_by_emergency(world: SmallWorld) -> None:
    start(world)
    async with client_of(world) as client:
        await half_way(world, client)
        preview = await client.preview("evacuate")
        answer = await client.command("evacuate", {"confirm": "small", "preview_hash": preview.hash})
        assert answer["state"] == "dual"
        is_there(world)
        newest = world.folder / "legacy" / "ckpt" / "step-000.bin"
        newest.write_bytes(b"what legacy alone holds")
        world.dead.clear()
        async with asyncio.timeout(30):
            async for now in client.events():
                if now.sides["legacy"].health is Health.ALIVE:
                    break
        with pytest.raises(RefusedByRule, match="handed over by force"):
            await client.command("rollback", {"confirm": "small"})
        await client.command("rollback", {"confirm": "small", "mode": "emergency"})
        await until(client, State.ROLLED_BACK)
        assert newest.read_bytes() == b"what legacy alone holds", "nothing newer on legacy is overwritten"
    assert world.weights == {"chat": 0, "jobs": 0}
    assert world.writers == {"legacy": True, "target": False}


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
async def test_an_evacuation_killed_here_goes_on_to_target(world: SmallWorld, point: str) -> None:
    start(world, failpoint=point)
    async with client_of(world) as client:
        await half_way(world, client)
        with pytest.raises(EngineGone):
            await client.command("evacuate", {"confirm": "small"})
    wait_until_gone(world)
    start(world)
    async with client_of(world) as client:
        await evacuated(client)
    is_there(world)
