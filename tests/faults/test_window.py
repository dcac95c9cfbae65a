"""What goes wrong in a cutover's window, with the real engine process and the real command line on the small world."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.cutover.story import describe
from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone, StateLocked
from backends.engine.journal import read_events
from backends.engine.paths import journal_of
from backends.engine.process import start_engine
from backends.errors import CutoverError, RefusedByRule
from backends.snapshot import Health, Snapshot, State
from tests.faults.small_world import SmallWorld, client_of, kill_engine, start, wait_until_gone
from tests.faults.test_failpoints import advance, until

LIMIT = 60.0
CUTOVER = Path(sys.executable).parent / "cutover"
CONFIRM = {"confirm": "small", "reason": "test"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SmallWorld]:
    made = SmallWorld(tmp_path)
    with made.served():
        yield made


async def cutover(world: SmallWorld, *args: str) -> tuple[int, str, str]:
    """The real command: exit code, stdout, stderr."""
    argv = [str(CUTOVER), *args, "--state", str(world.state)]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=LIMIT)
    return done.returncode, done.stdout, done.stderr


@asynccontextmanager
async def running(world: SmallWorld) -> AsyncIterator[EngineClient]:
    """An engine, ended with the test."""
    await asyncio.to_thread(start, world)
    async with client_of(world) as client:
        yield client
        await client.command("down", {"anyway": True})
    await asyncio.to_thread(wait_until_gone, world)


async def soaking(client: EngineClient) -> Snapshot:
    """Chat at 50 %, nothing handed over."""
    for _ in range(4):
        await advance(client)
    await client.command("advance", {"route": "chat"})
    return await until(client, State.SOAKING)


async def dual(client: EngineClient) -> Snapshot:
    """Everything on target."""
    for _ in range(6):
        await advance(client)
    return await until(client, State.DUAL)


async def seen(client: EngineClient, good: Callable[[Snapshot], bool]) -> Snapshot:
    """The first snapshot for which `good` holds."""
    async with asyncio.timeout(LIMIT):
        async for now in client.events():
            if good(now):
                return now
    raise EngineGone("the stream ended")


async def pid_of(client: EngineClient) -> int:
    engine = (await client.snapshot()).engine
    assert engine is not None
    return engine.pid


def assert_home(world: SmallWorld) -> None:
    assert world.weights == {"chat": 0, "jobs": 0}
    assert world.writers == {"legacy": True, "target": False}


@pytest.mark.parametrize("seed", [1, 2])
async def test_an_engine_killed_at_a_random_moment_of_a_rollback_finishes_it(world: SmallWorld, seed: int) -> None:
    await asyncio.to_thread(start, world)
    async with client_of(world) as client:
        await dual(client)
        pid = await pid_of(client)
        rollback = asyncio.create_task(client.command("rollback", CONFIRM))
        await seen(client, lambda now: now.state in (State.ROLLING_BACK, State.ROLLED_BACK))
        await asyncio.sleep(random.Random(seed).random() * 0.6)
        kill_engine(pid)
        await asyncio.gather(rollback, return_exceptions=True)
    await asyncio.to_thread(wait_until_gone, world)
    async with running(world) as client:
        await until(client, State.ROLLED_BACK)
        assert_home(world)
        assert world.errors == 0
    world.journal()


async def test_a_second_engine_is_refused_and_told_who_holds_the_folder(world: SmallWorld) -> None:
    async with running(world) as client:
        pid = await pid_of(client)
        with pytest.raises(CutoverError, match=rf"in use by the engine \(pid {pid}\)") as refused:
            await asyncio.to_thread(start_engine, world.state, world.plan)
        assert refused.value.exit_code == StateLocked.exit_code
        assert await pid_of(client) == pid


async def test_cutover_rollback_starts_a_dead_engine_says_so_and_brings_production_home(world: SmallWorld) -> None:
    await asyncio.to_thread(start, world)
    async with client_of(world) as client:
        await dual(client)
        kill_engine(await pid_of(client))
    await asyncio.to_thread(wait_until_gone, world)
    code, out, err = await cutover(world, "rollback", "--confirm", "small", "--json")
    assert (code, json.loads(out)["state"]) == (0, "rolled_back"), err
    assert "started it" in err
    assert_home(world)
    code, _, err = await cutover(world, "down")
    assert code == 0, err
    await asyncio.to_thread(wait_until_gone, world)


async def test_a_client_that_hangs_up_in_the_middle_stops_nothing(world: SmallWorld) -> None:
    async with running(world) as client:
        for _ in range(4):
            await advance(client)
        async with client_of(world) as hasty:
            going = asyncio.create_task(advance(hasty))
            async with asyncio.timeout(LIMIT):
                # The journal and not a snapshot: the whole advance takes less time than lies between two of those.
                while world.journal().open_run is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)
        now = await until(client, State.SOAKING)
        assert not now.held
        assert world.weights == {"chat": 50, "jobs": 100}


async def test_somebody_elses_weight_holds_and_a_rollback_takes_it_and_goes_on(world: SmallWorld) -> None:
    async with running(world) as client:
        await soaking(client)
        (world.folder / "chat").write_text("70")
        now = await seen(client, lambda now: any(r.foreign for r in now.routes))
        assert [h.by for h in now.held] == ["route chat"]
        assert "holds 70, not 50" in now.held[0].reason
        with pytest.raises(RefusedByRule) as refused:
            await client.command("advance")
        assert refused.value.rule == "HELD"
        assert (await client.command("rollback", CONFIRM))["state"] == "rolled_back"
        assert_home(world)


async def test_a_dead_legacy_blocks_the_rollback_with_exit_3_until_it_is_back(world: SmallWorld) -> None:
    async with running(world) as client:
        await soaking(client)
        world.dead.add("legacy")
        await seen(client, lambda now: now.sides["legacy"].health is Health.DEAD)
        code, out, _ = await cutover(world, "rollback", "--confirm", "small", "--json")
        assert (code, json.loads(out)["refused_by"]) == (3, "SR1")
        now = await until(client, State.ROLLBACK_BLOCKED)
        assert not now.rollback.ready
        assert world.weights["chat"] == 50
        world.dead.clear()
        await seen(client, lambda now: now.sides["legacy"].health is Health.ALIVE)
        code, out, err = await cutover(world, "rollback", "--confirm", "small", "--json")
        assert (code, json.loads(out)["state"]) == (0, "rolled_back"), err
        assert_home(world)


async def test_a_legacy_that_cannot_be_seen_needs_accept_unknown(world: SmallWorld) -> None:
    async with running(world) as client:
        await soaking(client)
        kill_engine(await pid_of(client))
        await asyncio.to_thread(wait_until_gone, world)
        world.silent.add("legacy")
        await asyncio.to_thread(start, world)
        with pytest.raises(RefusedByRule, match="--accept-unknown"):
            await client.command("rollback", CONFIRM)
        assert world.weights["chat"] == 50
        answer = await client.command("rollback", CONFIRM | {"accept_unknown": True})
        assert answer["state"] == "rolled_back"
        assert_home(world)
        world.silent.clear()


async def test_a_target_that_cannot_be_stopped_is_unfenced_until_it_can(world: SmallWorld) -> None:
    stuck = world.folder / "stuck"
    script = world.folder / "writer.py"
    lines = script.read_text().splitlines(keepends=True)
    lines.insert(
        3, f'if act == "stop" and path.endswith("target") and os.path.exists({str(stuck)!r}): sys.exit("does not listen")\n'
    )
    script.write_text("".join(lines))
    async with running(world) as client:
        await dual(client)
        stuck.touch()
        answer = await client.command("rollback", CONFIRM | {"mode": "emergency"})
        assert answer["state"] == "reconciling"
        now = await client.snapshot()
        assert now.rollback.unfenced
        assert world.weights == {"chat": 0, "jobs": 0}
        stuck.unlink()
        now = await until(client, State.ROLLED_BACK)
        assert not now.rollback.unfenced
        assert_home(world)


async def test_a_full_disk_stops_what_moves_forward_and_no_rollback(world: SmallWorld) -> None:
    async with running(world) as client:
        await soaking(client)
        pid = await pid_of(client)
        # No file of the engine may grow beyond what its journal already has: as on a full disk, writing the journal fails.
        size = (world.state / "journal.db-wal").stat().st_size
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
        with pytest.raises(CutoverError, match=r"the disk is full|journal cannot be written"):
            await advance(client)
        assert world.weights["chat"] == 50
        world.dead.add("target")  # and now the target dies: it comes home by itself
        now = await until(client, State.ROLLED_BACK)
        assert_home(world)
        assert not now.journal_ok
        assert "events go to" in now.journal_note
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        await client.command("hold", {"reason": "written again"})
        assert (await client.snapshot()).journal_ok
    m = world.journal()
    assert m.state is State.ROLLED_BACK
    assert any(e.kind == "journal.merged" for e in read_events(world.state))


async def test_a_spoilt_journal_keeps_the_engine_from_starting_and_names_the_event(world: SmallWorld) -> None:
    async with running(world) as client:
        await advance(client)
    db = sqlite3.connect(journal_of(world.state))
    db.execute('UPDATE events SET data = \'{"name": "other"}\' WHERE seq = 1')
    db.commit()
    db.close()
    with pytest.raises(CutoverError, match="event 1") as broken:
        await asyncio.to_thread(start_engine, world.state, world.plan)
    assert broken.value.exit_code == 4
    code, _, err = await cutover(world, "status")
    assert code == 4
    assert "event 1" in err


async def test_down_is_refused_while_target_carries_traffic(world: SmallWorld) -> None:
    async with running(world) as client:
        await soaking(client)
        code, _, err = await cutover(world, "down")
        assert code == 3
        assert "target carries traffic" in err
        assert await pid_of(client)


async def test_a_hold_blocks_an_advance_and_not_a_rollback(world: SmallWorld) -> None:
    async with running(world) as client:
        await soaking(client)
        await client.command("hold", {"reason": "lunch"})
        code, _, err = await cutover(world, "advance")
        assert code == 3
        assert "HELD" in err
        assert "lunch" in err
        assert (await client.command("rollback", CONFIRM))["state"] == "rolled_back"
        assert_home(world)


async def test_another_plan_is_refused_once_it_is_armed(world: SmallWorld) -> None:
    async with running(world) as client:
        await soaking(client)
    world.plan.write_text(world.plan.read_text().replace('"300ms"', '"301ms"'))
    with pytest.raises(RefusedByRule, match="the plan is pinned"):
        await asyncio.to_thread(start_engine, world.state, world.plan)
    await asyncio.to_thread(start_engine, world.state, None)
    async with client_of(world) as client:
        assert (await client.command("rollback", CONFIRM))["state"] == "rolled_back"
        await client.command("down")
    await asyncio.to_thread(wait_until_gone, world)


HOSTILE = ["a\x1b[2Jb.bin", "new\nline.bin", "[red]x[/red].bin", "<script>alert(1)</script>.bin", "p|pe.bin", "`tick`.bin"]


async def test_hostile_names_only_show_as_text(world: SmallWorld) -> None:
    tree = world.folder / "legacy" / "ckpt"
    for name in HOSTILE:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    async with running(world) as client:
        await advance(client)
        await seen(client, lambda now: now.datasets[0].round >= 1)
        for name in HOSTILE:
            await client.command("hold", {"reason": name})
            await client.command("resume", {"reason": name})
        await client.command("hold", {"reason": HOSTILE[3] + HOSTILE[0] + HOSTILE[4]})
        for command in ("status", "history", "report"):
            code, out, err = await cutover(world, command)
            assert code == 0, err
            assert not [c for c in out if ord(c) < 32 and c not in "\n\t"], command
            if command == "report":
                assert "<script" not in out.replace("\\<", "")
        code, out, _ = await cutover(world, "history")
        assert "[red]x[/red].bin" in out
        assert "\\x1b[2J" in out
    for event in read_events(world.state):
        assert "\x1b" not in describe(event)[0]


async def test_rollback_right_after_a_start_waits_for_its_first_look_at_legacy(world: SmallWorld) -> None:
    await asyncio.to_thread(start, world)
    async with client_of(world) as client:
        await soaking(client)
        kill_engine(await pid_of(client))
        await asyncio.to_thread(wait_until_gone, world)
        world.slow = 0.7
        await asyncio.to_thread(start, world)
        assert (await client.preview("rollback")).allowed
        assert (await client.command("rollback", CONFIRM))["state"] == "rolled_back"
        world.slow = 0.0
        assert_home(world)
        await client.command("down")
    await asyncio.to_thread(wait_until_gone, world)
