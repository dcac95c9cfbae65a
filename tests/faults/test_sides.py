"""Faults that begin in the middle of a rollback, on real processes: sides with networks, machines and stores of their own, a wall clock
that jumps, a disk that runs full, a second operator. How each ends stands in docs/faults.md, "On real processes"."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from backends.cutover.events import Kind
from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.engine.journal import read_events
from backends.errors import CutoverError, RefusedByRule
from backends.snapshot import Health, Snapshot, State
from backends.vocabulary import SIDES, SideName
from console.view import may_evacuate
from tests.faults.pairs import DOCS
from tests.faults.sides_world import SidesWorld
from tests.faults.small_world import client_of, wait_until_gone
from tests.faults.table import fault_case
from tests.faults.test_failpoints import until
from tests.faults.test_full_disk import fill
from tests.faults.test_window import CONFIRM, assert_home, dual, seen
from tests.peers.network import network
from tests.peers.wall_clock import wall_clock

HOUR = 3600
PATIENCE = 45.0  # seconds; every step here but a round of sync has a shorter limit
ENDS = {"rolled_back": "home", "rollback_blocked": "blocked", "reconciling": "reconciling"}
Act = Callable[[SidesWorld, EngineClient], Awaitable[None]]


async def nothing(world: SidesWorld, client: EngineClient) -> None:
    """Does not have to be mended."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`name` as docs/faults.md has it. It begins while `waits`, a command on a host (`SIDE ACT`), is under way."""

    name: str
    begin: Act
    mend: Act = nothing
    waits: str = "target stop"
    jumps: tuple[int, ...] = ()  # hours, as the journal has them


def servers(*names: tuple[SideName, str]) -> tuple[Act, Act]:
    """Killed, and started again."""

    async def kill(world: SidesWorld, client: EngineClient) -> None:
        for key in names:
            await world.servers[key].kill()

    async def start(world: SidesWorld, client: EngineClient) -> None:
        for key in names:
            await world.servers[key].start()

    return kill, start


def machine(side: SideName) -> tuple[Act, Act]:
    return servers(*((side, name) for name in ("probe", "host", "store")))


def link(side: SideName) -> tuple[Act, Act]:
    async def cut(world: SidesWorld, client: EngineClient) -> None:
        await asyncio.to_thread(world.net.cut, side)

    async def join(world: SidesWorld, client: EngineClient) -> None:
        await asyncio.to_thread(world.net.join, side)

    return cut, join


def clock(seconds: int) -> Act:
    async def jump(world: SidesWorld, client: EngineClient) -> None:
        assert world.clock is not None
        world.clock.jump(seconds)

    return jump


async def disk_fills(world: SidesWorld, client: EngineClient) -> None:
    await asyncio.to_thread(fill, world.state)


async def disk_has_room(world: SidesWorld, client: EngineClient) -> None:
    (world.state / "ballast").unlink()


async def commands(world: SidesWorld, client: EngineClient) -> None:
    """Somebody else does what comes to mind, each refused or without harm."""
    async with client_of(world) as other:
        for command, args in (
            ("advance", {}),
            ("hold", {"reason": "mine"}),
            ("resume", {"reason": "mine"}),
            ("evacuate", CONFIRM),
            ("seat", {}),
        ):
            with contextlib.suppress(CutoverError):
                await other.command(command, args)


async def by_hand(world: SidesWorld, client: EngineClient) -> None:
    (world.folder / "chat").write_text("30")


FAULTS = (
    Fault("legacy dies", *machine("legacy"), waits="legacy start"),
    Fault("target dies", *machine("target")),
    Fault("SSH is gone", *servers(*((side, "host") for side in SIDES))),
    Fault("target's store is gone", *servers(("target", "store"))),
    Fault("the network between bastion and legacy is cut", *link("legacy"), waits="legacy start"),
    Fault("the network between bastion and target is cut", *link("target")),
    Fault("the wall clock jumps an hour ahead", clock(HOUR), jumps=(1,)),
    Fault("the wall clock jumps an hour back", clock(-HOUR), jumps=(-1,)),
    Fault("the disk is full", disk_fills, disk_has_room),
    Fault("a second operator gives commands", commands),
    Fault("a second operator sets a route by hand", by_hand),
)
MODES = ("graceful", "emergency")


def expected() -> dict[tuple[str, str], str]:
    """What docs/faults.md says: fault and mode, and how it ends."""
    out = {}
    for line in DOCS.read_text().splitlines():
        fields = [f.strip() for f in line.strip("|").split("|")]
        if len(fields) == 4:
            out |= {(fields[0], mode): text for mode, text in zip(MODES, fields[2:], strict=True)}
    return out


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own, that a test can fill; with the room that preflight asks for."""
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=320m,mode=0700", "cutover-test", str(folder)]
    done = subprocess.run(argv, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small tmpfs cannot be mounted: {done.stderr.decode(errors='replace').strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[SidesWorld]:
    async with network() as net:
        made = SidesWorld(tmp_path, net)
        made.clock = wall_clock(tmp_path)
        with small_disk(made.state), made.served():
            async with made.machines():
                yield made
                made.end_engine()


@contextlib.asynccontextmanager
async def running(world: SidesWorld) -> AsyncIterator[EngineClient]:
    await asyncio.to_thread(world.start_engine)
    async with client_of(world) as client:
        yield client
        await client.command("down", {"anyway": True})
    await asyncio.to_thread(wait_until_gone, world)


async def begun(world: SidesWorld, client: EngineClient, mode: str, waits: str) -> asyncio.Task[str]:
    """A rollback from dual, up to where a command on a host is under way."""
    side, act = waits.split()
    gate = world.folder / f"writer-{side}.{act}.wait"
    gate.touch()
    body = CONFIRM | {"mode": mode}

    async def asked() -> str:
        with contextlib.suppress(RefusedByRule):
            await client.command("rollback", body)
        return (await client.snapshot()).state.value

    task = asyncio.create_task(asked())
    arrived = world.folder / f"writer-{side}.{act}.came"
    async with asyncio.timeout(60):
        while not arrived.exists() and not task.done():  # noqa: ASYNC110 - another process comes there
            await asyncio.sleep(0.02)
    return task


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
@fault_case("real, in a {mode} rollback: {fault.name}", "as docs/faults.md says; home once it is mended")
async def test_a_fault_in_the_middle_of_a_rollback(world: SidesWorld, fault: Fault, mode: str) -> None:
    async with running(world) as client:
        await dual(client)
        rollback = await begun(world, client, mode, fault.waits)
        await fault.begin(world, client)
        for gate in world.folder.glob("writer-*.wait"):
            gate.unlink()
        assert await end_of(rollback) == expected()[fault.name, mode]
        await fault.mend(world, client)
        await come_home(client, mode)
        assert_home(world)
        assert world.errors == 0
        await told_of(world, fault.jumps)
    world.journal()


@pytest.mark.slow
@pytest.mark.timeout(240)
@fault_case(
    "real: legacy goes silent while its writer is being started, and the operator evacuates",
    "target has it all again; legacy is fenced",
)
async def test_an_evacuation_takes_the_place_of_a_rollback_that_waits_for_legacy(world: SidesWorld) -> None:
    async with running(world) as client:
        await dual(client)
        rollback = await begun(world, client, "graceful", "legacy start")
        await asyncio.to_thread(world.net.cut, "legacy")
        now = await seen(client, may_evacuate)
        assert (now.state, now.sides["legacy"].health) == (State.ROLLING_BACK, Health.ALIVE), (
            "not waited for until its last proof is old"
        )
        async with asyncio.timeout(90):
            answer = await client.command("evacuate", CONFIRM | {"accept_unknown": True})
        assert answer["state"] == "dual"
        assert (world.weights, world.writers["target"]) == ({"chat": 100, "jobs": 100}, True)
        await asyncio.gather(rollback, return_exceptions=True)
        await asyncio.to_thread(world.net.join, "legacy")
        for gate in world.folder.glob("writer-*.wait"):
            gate.unlink()  # what was under way on legacy comes about now, and two would write
        await seen(client, lambda now: both_alive(now) and not world.journal().unfenced_legacy)
        assert world.writers == {"legacy": False, "target": True}
        assert world.errors == 0
        assert (await client.snapshot()).held
    assert world.journal().token("ckpt").writer == "target"


WRITERS_WAY = ("quiesce", "last_round", "resume")
HALF_WAY = ("after-intent", "after-send", "after-sent")
KILLS = [("graceful", f"{kind}.backward.{where}") for kind in WRITERS_WAY for where in HALF_WAY]
KILLS += [("emergency", f"{kind}.backward.{where}") for kind in ("fence", "resume") for where in HALF_WAY]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("mode", "point"), KILLS)
@fault_case("real: kill -9 at {point} of a {mode} rollback, and SSH is gone", "told; home once it is mended, no client is lost")
async def test_killed_in_a_rollback_and_ssh_is_gone_too(world: SidesWorld, mode: str, point: str) -> None:
    gone, back = servers(*((side, "host") for side in SIDES))
    await asyncio.to_thread(world.start_engine, point)
    async with client_of(world) as client:
        await dual(client)
        with pytest.raises(EngineGone):
            await client.command("rollback", CONFIRM | {"mode": mode})
        await asyncio.to_thread(wait_until_gone, world)
        await gone(world, client)
    async with running(world) as client:
        now = await seen(client, lambda now: any(h.health in ("refused", "silent") for h in now.hosts))
        assert now.state is not State.ROLLED_BACK, "nobody can have started legacy's writer"
        await back(world, client)
        await come_home(client, mode)
        assert_home(world)
        assert world.errors == 0
    world.journal()


async def told_of(world: SidesWorld, hours: tuple[int, ...]) -> None:
    """A jump of the wall clock is in the journal by the next tick, and nothing else is taken for one."""
    async with asyncio.timeout(20):
        while len(found := jumps_of(world)) < len(hours):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.1)
    assert found == hours


def jumps_of(world: SidesWorld) -> tuple[int, ...]:
    return tuple(round(e.data["seconds"] / HOUR) for e in read_events(world.state) if e.kind == Kind.CLOCK_JUMP)


async def end_of(rollback: asyncio.Task[str]) -> str:
    """`waits` where it goes on longer than any step but the last round does."""
    try:
        return ENDS[await asyncio.wait_for(asyncio.shield(rollback), PATIENCE)]
    except TimeoutError:
        return "waits"


def both_alive(now: Snapshot) -> bool:
    return all(side.health is Health.ALIVE for side in now.sides.values())


async def come_home(client: EngineClient, mode: str) -> None:
    """What an operator does once it is mended: nothing, or the same command again."""
    now = await seen(client, lambda now: now.state is not State.ROLLING_BACK and both_alive(now))
    if now.state is State.ROLLBACK_BLOCKED:
        await client.command("rollback", CONFIRM | {"mode": mode})
    await until(client, State.ROLLED_BACK)
