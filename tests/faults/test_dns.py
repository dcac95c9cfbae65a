"""kill -9 at the boundaries of every operation on a record, over a real Knot (cutover.md, section 5).

After the restart the record is legacy's or target's, never between, and the engine knows which. A rollback finishes by itself, waits for the
TTL of what was given out, and gives the record its own TTL back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.engine.journal import read_events
from backends.errors import RefusedByRule
from backends.snapshot import State
from backends.traffic.nameserver import NameServer, RecordSet
from tests.faults.record_world import RecordWorld, advance, knot_way
from tests.faults.small_world import client_of, start, wait_until_gone
from tests.faults.test_failpoints import BOUNDARIES, until
from tests.peers.knot import knot, knotd_path
from tests.peers.name_server import CHAT, LEGACY, TARGET, ZONE, Server, Zone

OLD_TTL, TTL = 3, 1
SETTLED = (State.PLANNED, State.PREPARING, State.ARMED, State.SOAKING, State.DUAL, State.ROLLED_BACK)


class DnsWorld(RecordWorld):
    """Behind a record of a Knot."""

    def __init__(self, folder: Path, server: Server) -> None:
        super().__init__(folder, knot_way(folder, server, TTL))
        self.server = server

    async def record(self) -> RecordSet:
        return await NameServer.at(self.server.at).record(CHAT, "A")


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[DnsWorld]:
    if knotd_path() is None:
        pytest.skip("server missing: knotd (knot)")
    zone = Zone((f"chat {OLD_TTL} IN A {LEGACY}",))
    async with knot(tmp_path / "knot", zone) as server:
        made = DnsWorld(tmp_path, server)
        with made.served():
            yield made


async def whole_way(client: EngineClient) -> None:
    """Planned to dual, and all the way back."""
    for _ in range(5):
        await advance(client)
    await until(client, State.DUAL)
    await client.command("rollback", {"confirm": "small", "reason": "test"})


async def home_again(world: DnsWorld, client: EngineClient) -> None:
    now = await client.snapshot()
    if now.state is not State.ROLLED_BACK and world.journal().has_effects:
        await client.command("rollback", {"confirm": "small", "reason": "test"})
    found = await world.record()
    assert (found.values, found.ttl) == ((LEGACY,), OLD_TTL)


async def kill_and_look(world: DnsWorld, point: str) -> None:
    await asyncio.to_thread(start, world, point)
    async with client_of(world) as client:
        with pytest.raises(EngineGone):
            await whole_way(client)
    await asyncio.to_thread(wait_until_gone, world)
    was_going_back = world.journal().state is State.ROLLING_BACK
    await asyncio.to_thread(start, world)
    async with client_of(world) as client:
        now = await until(client, *((State.ROLLED_BACK,) if was_going_back else SETTLED))
        m, found = world.journal(), await world.record()
        assert not m.ops, "no operation is left open"
        assert found.values == ((TARGET,) if m.route("chat").confirmed == 100 else (LEGACY,))
        if was_going_back:
            assert m.route("chat").confirmed == 0
        lost = "forward" in point and any(w in point for w in ("intent", "send", "sent", "observed"))
        if lost and now.state is not State.DUAL:
            assert now.held, "a forward step that was lost waits for the operator"
        await home_again(world, client)
        assert world.errors == 0
        await client.command("down", {"anyway": True})
    await asyncio.to_thread(wait_until_gone, world)


async def test_there_and_back_over_a_real_name_server(world: DnsWorld, tmp_path: Path) -> None:
    log = tmp_path / "points"
    await asyncio.to_thread(start, world, None, log)
    async with client_of(world) as client:
        for _ in range(3):
            await advance(client)
        assert (await world.record()).ttl == TTL, "lowered on the way into staging"
        with pytest.raises(RefusedByRule, match="until the last answer with the old one ends") as refused:
            await client.command("advance", {})
        assert refused.value.rule == "GATE"
        await advance(client)
        await advance(client)
        await until(client, State.DUAL)
        assert (await world.record()).values == (TARGET,)
        await client.command("rollback", {"confirm": "small", "reason": "test"})
        found = await world.record()
        assert (found.values, found.ttl) == ((LEGACY,), OLD_TTL)
        await client.command("down", {})
    await asyncio.to_thread(wait_until_gone, world)
    passed = {line.split("@")[0] for line in log.read_text().split()}
    assert {f"{k}.{b}" for k in POINTS for b in BOUNDARIES} <= passed
    events = list(read_events(world.state))
    back = next(e for e in events if e.kind == "op.confirmed" and e.data["kind"] == "weight" and e.data["args"]["weight"] == 0)
    drained = next(e for e in events if e.kind == "op.confirmed" and e.data["kind"] == "drain")
    assert (drained.at - back.at).total_seconds() > TTL / 2, "the TTL of what was given out is waited for"


@pytest.mark.slow  # a TTL is waited out
async def test_somebody_elses_record_holds_and_a_rollback_takes_it(world: DnsWorld) -> None:
    from backends.traffic.nameserver import Update
    from backends.traffic.tsig import parse_key

    await asyncio.to_thread(start, world)
    async with client_of(world) as client:
        for _ in range(5):
            await advance(client)
        await until(client, State.DUAL)
        stranger = Update(ZONE, CHAT, "A", (TARGET,), (TARGET, "203.0.113.66"), 60)
        await NameServer.at(world.server.at).update(stranger, parse_key(world.server.key))
        now = await until(client, held=True)
        assert "203.0.113.66" in now.held[0].reason
        answer = await client.command("rollback", {"confirm": "small", "reason": "test"})
        assert answer["state"] == "rolled_back"
        assert (await world.record()).values == (LEGACY,)
        await client.command("down", {})
    await asyncio.to_thread(wait_until_gone, world)


POINTS = ("note_ttl.forward", "ttl.forward", "weight.forward", "weight.backward", "drain.backward", "ttl.backward")
FIRST = ["ttl.forward.after-send", "weight.forward.after-send", "weight.backward.after-send"]


@pytest.mark.parametrize("point", FIRST)
async def test_killed_with_the_update_sent_and_not_noted(world: DnsWorld, point: str) -> None:
    await kill_and_look(world, point)


@pytest.mark.slow
@pytest.mark.parametrize("point", [p for k in POINTS for b in BOUNDARIES if (p := f"{k}.{b}") not in FIRST])
async def test_killed_at(world: DnsWorld, point: str) -> None:
    await kill_and_look(world, point)
