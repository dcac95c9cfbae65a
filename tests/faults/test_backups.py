"""Backups by a real engine of a process of its own: in staging by themselves, a gate, watched, and killed on the way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.errors import RefusedByRule
from backends.snapshot import Snapshot
from backends.verdict import Verdict
from console.status_text import status_lines
from tests.faults.small_world import SmallWorld, client_of, start, wait_until_gone
from tests.faults.test_failpoints import advance

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
        assert any(line.startswith("✓ backup ckpt 1: 6 objects, 24.0 KiB, taken ") for line in status_lines(now))
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


def damage(world: SmallWorld, name: str = "step-002.bin") -> tuple[bytes, bytes]:
    """What a disk does: other bytes of the same size, the times as they were. What stood there before, and stands there now."""
    path = world.folder / "legacy" / "ckpt" / name
    before, was, body = path.stat(), path.read_bytes(), os.urandom(path.stat().st_size)
    path.write_bytes(body)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return was, body


def on_legacy(world: SmallWorld, name: str = "step-002.bin") -> bytes:
    return (world.folder / "legacy" / "ckpt" / name).read_bytes()


def kept_aside(world: SmallWorld, name: str = "step-002.bin") -> list[bytes]:
    return [p.read_bytes() for p in world.folder.glob(f"backups/ckpt-damaged-*/{name}")]


async def to_armed(client: EngineClient) -> None:
    await to_staging(client)
    await until(client, lambda s: gate(s) is Verdict.PASS and s.datasets[0].lag.objects == 0)
    await advance(client)


async def test_a_graceful_rollback_restores_what_is_damaged_on_legacy(world: BackedUp) -> None:
    for path in (world.folder / "legacy" / "ckpt").iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    start(world)
    async with client_of(world) as client:
        await to_armed(client)
        await advance(client)
        was, body = damage(world)
        plan = await client.preview("rollback", {"mode": "graceful"})
        assert [s.text for s in plan.steps][-2:] == [
            "dataset ckpt: compare both sides",
            "dataset ckpt: restore from its backup what is damaged on legacy",
        ]
        assert (await client.command("rollback", {"confirm": "small"}))["state"] == "rolled_back"
        assert (on_legacy(world), kept_aside(world)) == (was, [body])
        now = await client.snapshot()
        assert now.run is not None
        assert "1 restored, what stood there is kept under" in now.run.steps[-1].detail
        assert world.journal().compared == {"ckpt": True}
        await client.command("down", {})
    wait_until_gone(world)
    assert world.errors == 0


async def test_an_operator_restores_by_hand_what_a_rollback_would_leave(world: BackedUp) -> None:
    start(world)
    async with client_of(world) as client:
        await to_armed(client)
        path = world.folder / "legacy" / "ckpt" / "step-004.bin"
        was = path.read_bytes()
        await client.command("hold", {"reason": "no round may copy it"})
        target = (world.folder / "target" / "ckpt" / "step-004.bin").read_bytes()
        assert target == was
        path.unlink()
        shown = (await client.command("restore", {"dataset": "ckpt", "dry_run": True}))["restore"]
        assert (shown["objects"], shown["keys"], shown["left"]) == (1, ["step-004.bin"], [])
        assert not path.exists()
        done = (await client.command("restore", {"dataset": "ckpt"}))["restore"]
        assert (done["keys"], done["left"]) == (["step-004.bin"], [])
        assert path.read_bytes() == was
        with pytest.raises(RefusedByRule, match="the migration's name was not typed"):
            await client.command("restore", {"dataset": "ckpt", "whole": True})
        with pytest.raises(RefusedByRule, match="no backup 7 of ckpt whose trial was good"):
            await client.command("restore", {"dataset": "ckpt", "number": 7})
        await client.command("down", {})
    wait_until_gone(world)


POINTS = ["restore.before-staged", "restore.after-staged", "restore.after-aside", "restore.after-swapped", "restore.after-told"]


@pytest.mark.parametrize("point", POINTS)
async def test_killed_while_it_restores_a_second_restore_finishes_it(world: BackedUp, point: str) -> None:
    start(world, failpoint=point)
    async with client_of(world) as client:
        await to_armed(client)
        was, body = damage(world)
        with pytest.raises(EngineGone):
            await client.command("restore", {"dataset": "ckpt"})
    wait_until_gone(world)
    assert on_legacy(world) in (was, body)
    assert on_legacy(world) == body or kept_aside(world) == [body], "nothing is lost"
    start(world)
    async with client_of(world) as client:
        await until(client, lambda s: True)
        done = (await client.command("restore", {"dataset": "ckpt"}))["restore"]
        assert done["left"] == []
        await client.command("down", {})
    wait_until_gone(world)
    assert on_legacy(world) == was
    assert set(kept_aside(world)) == {body}
    world.journal()


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [
        *(f"restore.backward.{b}" for b in ("before-intent", "after-intent", "after-send", "after-sent", "after-observed")),
        *("restore.backward.after-confirmed", "restore.after-staged", "restore.after-aside", "restore.after-swapped"),
    ],
)
async def test_killed_while_a_rollback_restores_it_goes_on_by_itself(world: BackedUp, point: str) -> None:
    for path in (world.folder / "legacy" / "ckpt").iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    start(world, failpoint=point)
    async with client_of(world) as client:
        await to_armed(client)
        await advance(client)
        was, body = damage(world)
        with pytest.raises(EngineGone):
            await client.command("rollback", {"confirm": "small"})
    wait_until_gone(world)
    start(world)
    async with client_of(world) as client:
        await until(client, lambda s: s.state.value == "rolled_back")
        await client.command("down", {})
    wait_until_gone(world)
    assert on_legacy(world) == was
    assert set(kept_aside(world)) == {body}
    assert world.journal().compared == {"ckpt": True}
