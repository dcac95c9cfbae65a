"""Two bastions with one plan: two real engines in folders of their own, their lease in a real store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from backends.cutover.events import Event, Kind
from backends.engine.client import EngineClient
from backends.engine.journal import readable_events, verify_chain
from backends.engine.lock import is_locked
from backends.engine.paths import log_of, socket_of
from backends.engine.process import start_engine
from backends.errors import CutoverError, RefusedByRule
from backends.snapshot import State
from tests.backends.stores.conftest import new_bucket, s3_store
from tests.faults.small_world import SmallWorld, kill_engine
from tests.faults.table import fault_case
from tests.faults.test_failpoints import advance, until
from tests.faults.test_window import CONFIRM, assert_home, cutover, dual, pid_of, seen, soaking
from tests.peers.fault_proxy import FaultProxy, fault_proxy
from tests.peers.seaweedfs import SeaweedFs

LASTS = 2.0
MOMENT = 0.6  # seconds after which an advance is somewhere between its first step and its last


class Bastion:
    """One machine's engine of the world's plan, in a folder of its own."""

    def __init__(self, world: SmallWorld, name: str) -> None:
        self.world = world
        self.state = world.folder / name

    async def start(self, *, take_over: bool = False) -> None:
        await asyncio.to_thread(start_engine, self.state, self.world.plan, take_over=take_over)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[EngineClient]:
        async with EngineClient(socket_of(self.state)) as client:
            yield client

    async def pid(self) -> int:
        async with self.client() as client:
            return await pid_of(client)

    async def gone(self) -> None:
        async with asyncio.timeout(20):
            while await asyncio.to_thread(is_locked, self.state):  # noqa: ASYNC110 - a process of its own: nothing else tells
                await asyncio.sleep(0.05)

    def copy_from(self, other: Bastion) -> None:
        """As to another machine, where none of the processes are that it tells of."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(other.state, self.state, ignore=shutil.ignore_patterns("*.sock", "lock", "children.json"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SmallWorld]:
    made = SmallWorld(tmp_path)
    with made.served():
        yield made


@pytest_asyncio.fixture
async def link(world: SmallWorld, weed: SeaweedFs) -> AsyncIterator[FaultProxy]:
    """The way to the store of the lease; the world's plan names it."""
    bucket = new_bucket()
    async with s3_store(weed, bucket) as made:
        await made.create_bucket()
    async with fault_proxy(weed.endpoint) as proxy:
        stores = {s: {"url": f"file://{world.folder}/{s}/ckpt/"} for s in ("legacy", "target")}
        keys = {"endpoint": proxy.endpoint, "access_key": weed.access_key, "secret_key": weed.secret_key}
        stores["shared"] = {"url": f"s3://{bucket}/leases/", **keys}
        world.write_plan(world.port, stores=stores, lease={"store": "shared", "duration": f"{LASTS:g}s"})
        yield proxy


@pytest_asyncio.fixture
async def bastions(world: SmallWorld, link: FaultProxy) -> AsyncIterator[tuple[Bastion, Bastion]]:
    one, two = Bastion(world, "one"), Bastion(world, "two")
    yield one, two
    for bastion in (one, two):
        with suppress(CutoverError):
            pid = await bastion.pid()
            kill_engine(pid)
            os.kill(pid, signal.SIGCONT)


@fault_case("a second bastion starts the same migration", "refused, and told whose engine has it")
async def test_a_second_bastion_is_refused_while_the_first_lives(bastions: tuple[Bastion, Bastion]) -> None:
    one, two = bastions
    await one.start()
    with pytest.raises(RefusedByRule, match=rf"LEASE: the engine of .*{one.state} has this migration") as refused:
        await two.start()
    assert refused.value.exit_code == 3
    async with one.client() as client:
        now = await client.snapshot()
        assert now.lease is not None
        assert (now.lease.held, now.lease.note) == (True, "")
        await client.command("down", {})
    await one.gone()
    await two.start()  # given up: at once


@pytest.mark.slow  # a lease is waited out twice
@fault_case(
    "the engine's machine dies; a second bastion has its folder", "takes over when the lease has ended, brings production home"
)
async def test_another_bastion_brings_home_what_a_dead_one_had_moved(
    world: SmallWorld, bastions: tuple[Bastion, Bastion]
) -> None:
    one, two = bastions
    await one.start()
    async with one.client() as client:
        await dual(client)
        kill_engine(await pid_of(client))
    await one.gone()
    with pytest.raises(RefusedByRule, match="LEASE: the journal of this migration"):
        await two.start()
    two.copy_from(one)
    await two.start()
    async with two.client() as client:
        assert (await until(client, State.DUAL)).state is State.DUAL
        assert (await client.command("rollback", CONFIRM))["state"] == "rolled_back"
    assert_home(world)
    assert world.errors == 0
    verify_chain(two.state)


@fault_case("the holder is stopped, loses its lease and wakes (SIGSTOP)", "sends nothing any more, ends, says who has it")
async def test_a_holder_that_wakes_after_its_lease_was_taken_acts_no_more(
    world: SmallWorld, bastions: tuple[Bastion, Bastion]
) -> None:
    await stopped_and_taken(world, bastions, lambda client: asyncio.sleep(MOMENT))


@fault_case(
    "the holder is stopped between its last look at a route and its change, loses its lease and wakes (SIGSTOP)",
    "the change is not sent",
)
async def test_a_holder_that_wakes_in_the_midst_of_sending_sends_no_more(
    world: SmallWorld, bastions: tuple[Bastion, Bastion], link: FaultProxy
) -> None:
    script = world.folder / "route.py"
    slow = 'if sys.argv[2] == "get":\n    import time; said = open(path).read(); time.sleep(0.6)'
    script.write_text(
        script.read_text().replace('if sys.argv[2] == "get":', slow).replace("open(path).read().strip()", "said.strip()")
    )

    async def being_read(client: EngineClient) -> None:
        await seen(client, lambda now: any(route.name == "chat" and route.in_flight for route in now.routes))
        await asyncio.sleep(0.2)

    await stopped_and_taken(world, bastions, being_read, link, route="chat")
    assert last_op(bastions[0]).kind == Kind.FAILED


def last_op(bastion: Bastion) -> Event:
    return [event for event in readable_events(bastion.state)[0] if event.kind.startswith("op.")][-1]


async def stopped_and_taken(
    world: SmallWorld,
    bastions: tuple[Bastion, Bastion],
    moment: Callable[[EngineClient], Awaitable[None]],
    link: FaultProxy | None = None,
    **args: str,
) -> None:
    """The holder is stopped at the `moment` of an advance; another takes its lease and brings all home; it wakes. `link`: the lease cannot
    be asked until what it was at has ended."""
    one, two = bastions
    await one.start()
    async with one.client() as client:
        await soaking(client)
        pid = await pid_of(client)
        sent = asyncio.create_task(advance(client, **args))
        await moment(client)
        os.kill(pid, signal.SIGSTOP)
        two.copy_from(one)
        await two.start()
        async with two.client() as other:
            # What the stopped one had in flight is settled here, and all of it taken home.
            await until(other, *State)
            assert (await other.command("rollback", CONFIRM))["state"] == "rolled_back"
            assert_home(world)
            rule = link.add("refuse", times=None) if link is not None else None
            os.kill(pid, signal.SIGCONT)
            if link is not None and rule is not None:
                async with asyncio.timeout(20):
                    while last_op(one).kind == Kind.INTENT:  # noqa: ASYNC110 - of a process of its own: nothing else tells
                        await asyncio.sleep(0.05)
                link.rules.remove(rule)
            await one.gone()
            with contextlib.suppress(CutoverError):  # it may have been answered before the stop
                await sent
            assert_home(world)
            assert (await other.snapshot()).state is State.ROLLED_BACK
    code, out, _ = await cutover_at(world, one, "history")
    assert code == 0
    assert f"{two.state} has it since" in out


async def cutover_at(world: SmallWorld, bastion: Bastion, *args: str) -> tuple[int, str, str]:
    before, world.state = world.state, bastion.state
    try:
        return await cutover(world, *args)
    finally:
        world.state = before


@pytest.mark.slow
@fault_case("an operator takes the lease from a living engine (--take-over)", "that one ends; nothing is done before")
async def test_typed_a_second_bastion_takes_over_and_the_first_ends(world: SmallWorld, bastions: tuple[Bastion, Bastion]) -> None:
    one, two = bastions
    await one.start()
    code, _, err = await cutover_at(world, two, "up", str(world.plan), "--detach", "--take-over", "smal")
    assert (code, "CONFIRM" in err) == (3, True), err
    code, _, err = await cutover_at(world, two, "up", str(world.plan), "--detach", "--take-over", "small")
    assert code == 0, err
    await one.gone()
    async with two.client() as client:
        await advance(client)


@pytest.mark.slow
@fault_case("the store of the lease is gone", "nothing moves forward, a rollback goes, and it goes on when it is back")
async def test_without_the_store_nothing_moves_forward_and_a_rollback_goes(
    world: SmallWorld, link: FaultProxy, bastions: tuple[Bastion, Bastion]
) -> None:
    one, _ = bastions
    await one.start()
    async with one.client() as client:
        await soaking(client)
        rule = link.add("refuse", times=None)
        now = await seen(client, lambda now: now.lease is not None and not now.lease.held)
        assert any("the lease at store shared" in w for w in now.rollback.warnings), "readiness is lowered before it is needed"
        with pytest.raises(RefusedByRule, match="LEASE"):
            await client.command("advance", {"reason": "test"})
        began = time.monotonic()
        assert (await client.command("rollback", CONFIRM))["state"] == "rolled_back"
        assert time.monotonic() - began < 20
        assert_home(world)
        link.rules.remove(rule)
        await seen(client, lambda now: now.lease is not None and now.lease.held)
    assert world.errors == 0


@pytest.mark.slow
async def test_an_engine_that_is_killed_and_started_again_has_its_lease_at_once(
    world: SmallWorld, bastions: tuple[Bastion, Bastion]
) -> None:
    one, _ = bastions
    await one.start()
    kill_engine(await one.pid())
    await one.gone()
    await one.start()
    async with one.client() as client:
        now = await client.snapshot()
        assert now.lease is not None
        assert (now.lease.held, now.lease.epoch) == (True, 0)
    assert "Traceback" not in log_of(one.state).read_text()


@pytest.mark.slow
async def test_a_place_that_is_gone_at_the_start_does_not_keep_an_engine_from_rolling_back(
    world: SmallWorld, link: FaultProxy, bastions: tuple[Bastion, Bastion]
) -> None:
    one, _ = bastions
    await one.start()
    async with one.client() as client:
        await dual(client)
        kill_engine(await pid_of(client))
    await one.gone()
    link.add("refuse", times=None)
    await one.start()
    async with one.client() as client:
        await until(client, State.DUAL)
        assert (await client.command("rollback", CONFIRM))["state"] == "rolled_back"
    assert_home(world)
