"""Backups by a real engine of a process of its own: in staging by themselves, a gate, watched, and killed on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.errors import RefusedByRule
from backends.snapshot import Snapshot
from backends.verdict import Verdict
from tests.faults.small_world import SmallWorld, client_of, start, wait_until_gone

LIMIT = 30.0
BACKUP = {"dataset": "ckpt", "kind": "snapshot", "to": "backups"}


class BackedUp(SmallWorld):
    """The small world with a backup of its dataset."""

    def write_plan(self, port: int, **more: object) -> None:
        (self.folder / "backups").mkdir()
        stores = {s: {"url": f"file://{self.folder}/{s}/ckpt/"} for s in ("legacy", "target")}
        stores["backups"] = {"url": f"file://{self.folder}/backups/"}
        super().write_plan(port, stores=stores, backups=[BACKUP], **more)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BackedUp]:
    made = BackedUp(tmp_path)
    with made.served():
        yield made


async def until(client: EngineClient, is_so: Callable[[Snapshot], bool]) -> Snapshot:
    async with asyncio.timeout(LIMIT):
        async for now in client.events():
            if now.engine is not None and not now.engine.recovering and is_so(now):
                return now
    raise EngineGone("the stream ended")


def gate(now: Snapshot) -> Verdict:
    return next(g.verdict for g in now.gates if g.name == "backup ckpt")


async def to_staging(client: EngineClient) -> None:
    await until(client, lambda s: True)
    for _ in range(3):
        await client.command("advance", {"reason": "test"})


async def until_killed(client: EngineClient) -> None:
    await to_staging(client)
    await until(client, lambda s: False)


async def test_staging_is_left_only_with_a_backup_that_was_taken_and_tried(world: BackedUp) -> None:
    start(world)
    async with client_of(world) as client:
        assert gate(await client.snapshot()) is Verdict.INCONCLUSIVE
        await to_staging(client)
        now = await until(client, lambda s: gate(s) is Verdict.PASS)
        (shown,) = now.backups
        assert (shown.number, shown.objects, shown.bytes) == (1, 6, 6 * 4096)
        assert "6 of 6 objects read back; 6 restored on trial" in shown.reason
        m = world.journal()
        assert (m.backups["ckpt"].good, m.backups["ckpt"].kind) == (True, "snapshot")
        again = await client.command("backup", {"dataset": "ckpt"})
        assert (again["backup"]["number"], again["backup"]["good"]) == (2, True)
        assert len(list((world.folder / "backups").glob("ckpt-backup-*/*.bin"))) == 12
        await client.command("down", {})
    wait_until_gone(world)


async def test_a_backup_that_has_gone_closes_the_gate_and_is_told_to_who_would_roll_back(world: BackedUp) -> None:
    start(world)
    async with client_of(world) as client:
        await to_staging(client)
        await until(client, lambda s: gate(s) is Verdict.PASS)
        await client.command("down", {})
    wait_until_gone(world)
    for held in (world.folder / "backups" / "ckpt-backup-1").iterdir():
        if held.is_file():
            held.write_bytes(bytes(4096))
    start(world)
    async with client_of(world) as client:
        now = await until(client, lambda s: gate(s) is Verdict.BREACH)
        assert "is not in the backup what was backed up" in now.backups[0].reason
        with pytest.raises(RefusedByRule, match="backup ckpt BREACH") as refused:
            await client.command("advance", {"reason": "test"})
        assert refused.value.rule == "GATE"
        await client.command("backup", {"dataset": "ckpt"})
        assert gate(await client.snapshot()) is Verdict.PASS
        await client.command("down", {})
    wait_until_gone(world)


@pytest.mark.parametrize("point", ["before-taken", "after-copied", "after-taken", "after-tried"])
async def test_killed_while_it_is_backed_up_the_next_engine_finishes_it(world: BackedUp, point: str) -> None:
    start(world, failpoint=f"backup.{point}")
    async with client_of(world) as client:
        with pytest.raises(EngineGone):
            await until_killed(client)
    wait_until_gone(world)
    start(world)
    async with client_of(world) as client:
        now = await until(client, lambda s: gate(s) is Verdict.PASS)
        assert now.backups[0].number == 1
        await client.command("down", {})
    wait_until_gone(world)
    assert world.journal().backups["ckpt"].good is True
    assert len(list((world.folder / "backups" / "ckpt-backup-1").glob("*.bin"))) == 6
