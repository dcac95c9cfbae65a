"""A record's authority dies in the middle of a rollback, and the engine with it (kill -9): a real Knot, which is killed too and started
again, and a real API of Route 53, which cannot be reached and whose answer to a change that it has made is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.errors import RefusedByRule
from backends.snapshot import State
from tests.faults.record_world import (
    Authority,
    KnotAuthority,
    RecordWorld,
    Route53Authority,
    advance,
    knot_way,
    route53_way,
    route53_zone,
)
from tests.faults.small_world import client_of, start, wait_until_gone
from tests.faults.table import fault_case
from tests.faults.test_failpoints import BOUNDARIES, until
from tests.faults.test_window import CONFIRM, seen
from tests.peers.knot import knotd_path
from tests.peers.name_server import LEGACY, TARGET

OLD_TTL, TTL = 4, 2
LIMIT = 60.0
KINDS = ("Knot", "Route 53")
BACK = [f"{kind}.backward.{b}" for kind in ("weight", "drain", "ttl") for b in BOUNDARIES]
FORTH = [f"weight.forward.{b}" for b in ("after-intent", "after-send", "after-sent")]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
both = pytest.mark.parametrize("kind", KINDS)


class GoneWorld(RecordWorld):
    """The small world behind an authority that dies."""

    authority: Authority


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def world(tmp_path: Path, kind: str) -> AsyncIterator[GoneWorld]:
    if kind == "Knot":
        if knotd_path() is None:
            pytest.skip("server missing: knotd (knot)")
        name_server = KnotAuthority(tmp_path / "knot", OLD_TTL)
        async with name_server.started() as server:
            made = GoneWorld(tmp_path, knot_way(tmp_path, server, TTL))
            made.authority = name_server
            with made.served():
                yield made
    else:
        pytest.importorskip("ministack", reason="server missing: ministack")
        async with route53_zone(tmp_path / "route53", OLD_TTL) as zone:
            made = GoneWorld(tmp_path, route53_way(zone, TTL))
            made.authority = zone
            with made.served():
                yield made


async def dual(client: EngineClient) -> None:
    for _ in range(5):
        await advance(client)
    await until(client, State.DUAL)


async def under_way(world: GoneWorld, kind: str) -> None:
    """Until an operation of this kind is open in the journal."""
    async with asyncio.timeout(LIMIT):
        while not any(op.kind == kind for op in world.journal().ops.values()):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)


async def found_gone(client: EngineClient) -> None:
    """Until the engine has seen that the authority does not answer."""
    await seen(client, lambda now: bool(now.routes[0].error))


async def assert_home(world: GoneWorld, client: EngineClient) -> None:
    """The record is legacy's, the journal knows, and its own TTL is back: at once, or by the same command again."""
    value, ttl = await world.authority.held()
    m = world.journal()
    assert (value, m.route("chat").confirmed, m.ops) == (LEGACY, 0, {})
    assert (ttl == OLD_TTL) is not bool(m.ttls), "the journal says whether the TTL is what it was"
    if m.ttls:
        await client.command("rollback", CONFIRM)
        assert await world.authority.held() == (LEGACY, OLD_TTL)
    assert world.errors == 0


async def ended(world: GoneWorld, client: EngineClient) -> None:
    await client.command("down", {"anyway": True})
    await asyncio.to_thread(wait_until_gone, world)


@pytest.mark.parametrize(("kind", "step"), [("Knot", "weight"), ("Knot", "drain"), ("Route 53", "weight")])
@fault_case(
    "real, in a rollback: {kind} is gone while the {step} is under way", "it waits, and goes home by itself when it is back"
)
async def test_an_authority_that_is_gone_for_a_while_is_waited_for(world: GoneWorld, kind: str, step: str) -> None:
    await asyncio.to_thread(start, world)
    async with client_of(world) as client:
        await dual(client)
        if step == "weight":
            await world.authority.die()
        rollback = asyncio.create_task(client.command("rollback", CONFIRM))
        await under_way(world, step)
        if step == "drain":
            await world.authority.die()
        await found_gone(client)
        assert not rollback.done()
        assert (await client.snapshot()).state is State.ROLLING_BACK
        await world.authority.come_back()
        async with asyncio.timeout(LIMIT):
            assert (await rollback)["state"] == "rolled_back"
        await assert_home(world, client)
        await ended(world, client)


@pytest.mark.parametrize("kind", ["Knot"])
@fault_case("real: {kind} stays away longer than a rollback waits", "blocked and told; home by itself when it is back")
async def test_an_authority_that_stays_away_blocks_the_rollback_until_it_is_back(world: GoneWorld, kind: str) -> None:
    await asyncio.to_thread(start, world)
    async with client_of(world) as client:
        await dual(client)
        await world.authority.die()
        with pytest.raises(RefusedByRule, match="all is home but chat, tried again and again"):
            await client.command("rollback", CONFIRM)
        await world.authority.come_back()
        assert (await world.authority.held())[0] == TARGET
        await until(client, State.ROLLED_BACK)
        await assert_home(world, client)
        await ended(world, client)


async def started_without_authority(world: GoneWorld) -> None:
    """The engine, which was killed, comes up where the authority is gone too."""
    await asyncio.to_thread(wait_until_gone, world)
    await world.authority.die()
    await asyncio.to_thread(start, world)


@both
@pytest.mark.parametrize("point", BACK)
@fault_case("real: kill -9 at {point}, and {kind} is gone", "the rollback goes on by itself, home when it is back")
async def test_killed_in_a_rollback_while_the_authority_dies_too(world: GoneWorld, kind: str, point: str) -> None:
    await asyncio.to_thread(start, world, point)
    async with client_of(world) as client:
        await dual(client)
        with pytest.raises(EngineGone):
            await client.command("rollback", CONFIRM)
    await started_without_authority(world)
    async with client_of(world) as client:
        await found_gone(client)
        await world.authority.come_back()
        await until(client, State.ROLLED_BACK)
        await assert_home(world, client)
        await ended(world, client)


@both
@pytest.mark.parametrize("point", FORTH)
@fault_case("real: kill -9 at {point}, and {kind} is gone", "back to what it was, or held and told; a rollback brings it home")
async def test_killed_going_forward_while_the_authority_dies_too(world: GoneWorld, kind: str, point: str) -> None:
    await asyncio.to_thread(start, world, point)
    async with client_of(world) as client:
        with pytest.raises(EngineGone):
            await dual(client)
    await started_without_authority(world)
    async with client_of(world) as client:
        await found_gone(client)
        await world.authority.come_back()
        now = await until(client, State.ARMED, State.DUAL, State.SOAKING)
        m, (value, _) = world.journal(), await world.authority.held()
        assert value == (TARGET if m.route("chat").confirmed == 100 else LEGACY)
        assert now.held or now.state is State.DUAL, "a forward step that was lost waits for the operator"
        if m.has_effects:
            await client.command("rollback", CONFIRM)
        await assert_home(world, client)
        await ended(world, client)


@pytest.mark.parametrize("kind", ["Route 53"])
@fault_case(
    "real, in a rollback: {kind} makes a change, its answer is lost, and it is gone", "seen when it is back; home by itself"
)
async def test_a_change_whose_answer_is_lost_is_seen_and_not_made_twice(world: GoneWorld, kind: str) -> None:
    assert isinstance(world.authority, Route53Authority)
    await asyncio.to_thread(start, world)
    async with client_of(world) as client:
        await dual(client)
        world.authority.lose_the_next_answer(refused=8)
        assert (await client.command("rollback", CONFIRM))["state"] == "rolled_back"
        assert all(rule.struck for rule in world.authority.link.rules)
        await assert_home(world, client)
        await ended(world, client)
