"""Old snapshots go and backups by a command stay, by a real engine of a process of its own: removed, killed on the way, restored from."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.cutover.events import Kind
from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.engine.journal import read_events
from backends.errors import RefusedByRule
from backends.verdict import Verdict
from console.status_text import status_lines
from tests.faults.small_world import SmallWorld, client_of, start, wait_until_gone
from tests.faults.table import fault_case
from tests.faults.test_backups import BackedUp, damage, gate, kept_aside, on_legacy, to_armed, to_staging, until
from tests.faults.test_failpoints import advance
from tests.faults.test_window import cutover

# A snapshot of the file system, say: it leaves out what is open, and goes where the file FAIL says what is wrong.
COMMAND = """#!{python} -SE
import os, shutil, sys
place, number = sys.argv[1:3]
here, to = "{folder}/legacy/ckpt", place.removeprefix("file://")
if os.path.exists("{folder}/fail"): sys.exit(open("{folder}/fail").read())
for name in sorted(os.listdir(here)):
    if name.startswith("step-") and name != "step-005.bin": shutil.copy2(os.path.join(here, name), to)
with open("{folder}/made", "a") as told: print(number, file=told)
"""


class Kept(BackedUp):
    """Of the snapshots of its dataset only the last good one is kept."""

    def write_plan(self, port: int, **more: object) -> None:
        super().write_plan(port, **more)
        plan = json.loads(self.plan.read_text())
        plan["backups"][0]["keep"] = 1
        self.plan.write_text(json.dumps(plan))

    def snapshots(self) -> dict[int, int]:
        """Objects of each snapshot that has any, by its number."""
        folders = {int(f.name.rpartition("-")[2]): f for f in (self.folder / "backups").glob("ckpt-backup-*")}
        return {number: count for number, f in sorted(folders.items()) if (count := len(list(f.glob("*.bin"))))}


class ByCommand(BackedUp):
    """Its backup is made by a command."""

    def write_plan(self, port: int, **more: object) -> None:
        super().write_plan(port, **more)
        script = self.folder / "snapshot.py"
        script.write_text(COMMAND.format(python=sys.executable, folder=self.folder))
        script.chmod(stat.S_IRWXU)
        plan = json.loads(self.plan.read_text())
        argv = ["./snapshot.py", "{place}", "{number}"]
        plan["backups"] = [{"dataset": "ckpt", "kind": "command", "to": "backups", "command": argv, "timeout": "10s"}]
        self.plan.write_text(json.dumps(plan))

    @property
    def made(self) -> list[str]:
        """The numbers that the command was given, one a call."""
        return (self.folder / "made").read_text().split()

    @property
    def backup(self) -> Path:
        return self.folder / "backups" / "ckpt-backup-1"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path)
    with made.served():
        yield made


@pytest.fixture
def by_command(tmp_path: Path) -> Iterator[ByCommand]:
    made = ByCommand(tmp_path)
    with made.served():
        yield made


async def removed(world: SmallWorld, count: int) -> list[int]:
    """The numbers that the journal tells as removed, as soon as they are so many."""
    async with asyncio.timeout(30):
        while len(told := [e.data["number"] for e in read_events(world.state) if e.kind == Kind.BACKUP_REMOVED]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return told


async def two_taken(client: EngineClient) -> None:
    """And on, until the engine is killed."""
    await to_staging(client)
    await until(client, lambda s: gate(s) is Verdict.PASS)
    await client.command("backup", {"dataset": "ckpt"})
    await until(client, lambda s: False)


async def test_older_snapshots_than_the_plan_keeps_go_and_what_is_not_ours_stays(kept: Kept) -> None:
    start(kept)
    async with client_of(kept) as client:
        await to_staging(client)
        await until(client, lambda s: gate(s) is Verdict.PASS)
        first = kept.folder / "backups" / "ckpt-backup-1"
        (first / "note.txt").write_text("an operator's")
        (first / "step-003.bin").write_bytes(b"written over")
        await client.command("backup", {"dataset": "ckpt"})
        assert await removed(kept, 1) == [1]
        assert (kept.snapshots(), sorted(p.name for p in first.iterdir())) == ({1: 1, 2: 6}, ["note.txt", "step-003.bin"])
        m = kept.journal()
        assert sorted(m.backups_taken) == [("ckpt", 2)]
        with pytest.raises(RefusedByRule, match="no backup 1 of ckpt"):
            await client.command("restore", {"dataset": "ckpt", "number": 1})
        code, out, _ = await cutover(kept, "history")
        assert code == 0
        assert "backup 1 of ckpt is no longer kept" in out
        assert "backup 1 of ckpt removed: 5 objects; 1 left" in out
        await client.command("down", {})
    wait_until_gone(kept)


@pytest.mark.slow
async def test_the_last_good_backup_stays_where_a_newer_one_fails_its_trial(kept: Kept) -> None:
    start(kept, failpoint="backup.after-taken@2")
    async with client_of(kept) as client:
        with pytest.raises(EngineGone):
            await two_taken(client)
    wait_until_gone(kept)
    (kept.folder / "backups" / "ckpt-backup-2" / "step-001.bin").write_bytes(bytes(4096))
    start(kept)
    async with client_of(kept) as client:
        await until(client, lambda s: gate(s) is Verdict.BREACH)
        assert kept.snapshots() == {1: 6, 2: 6}
        await client.command("backup", {"dataset": "ckpt"})
        assert await removed(kept, 2) == [1, 2]
        assert kept.snapshots() == {2: 1, 3: 6}, "of the one that failed what is not ours is left"
        await client.command("down", {})
    wait_until_gone(kept)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["after-ending", "after-deleted", "after-removed"])
@fault_case(
    "kill -9 at backup.{point}: an old snapshot is being removed",
    "none is restored from it any more; the next engine finishes it",
)
async def test_killed_while_an_old_snapshot_is_removed_the_next_engine_finishes_it(kept: Kept, point: str) -> None:
    start(kept, failpoint=f"backup.{point}")
    async with client_of(kept) as client:
        with pytest.raises(EngineGone):
            await two_taken(client)
    wait_until_gone(kept)
    held = kept.journal().backups_taken.get(("ckpt", 1))
    assert held is None or (held.good, held.ends) == (None, True)
    start(kept)
    async with client_of(kept) as client:
        await until(client, lambda s: True)
        assert await removed(kept, 1) == [1]
        assert kept.snapshots() == {2: 6}
        await client.command("down", {})
    wait_until_gone(kept)
    assert kept.journal().backups["ckpt"].good is True


async def test_a_backup_by_a_command_is_made_tried_watched_and_restored_from(by_command: ByCommand) -> None:
    world = by_command
    for path in (world.folder / "legacy" / "ckpt").iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    start(world)
    async with client_of(world) as client:
        await to_armed(client)
        now = await client.snapshot()
        (shown,) = now.backups
        assert (shown.kind, shown.number, shown.objects, shown.bytes) == ("command", 1, 6, 6 * 4096)
        assert "6 of 6 objects read back; 6 restored on trial" in shown.reason
        assert any(line.startswith("✓ backup ckpt 1: 6 objects, 24.0 KiB, taken ") for line in status_lines(now))
        assert (world.made, (world.backup / "step-005.bin").exists()) == (["1"], True), "what it left out was copied"
        await advance(client)
        was, body = damage(world)
        code, _, err = await cutover(world, "rollback", "--confirm", "small")
        assert code == 0, err
        assert (on_legacy(world), kept_aside(world)) == (was, [body])
        await client.command("down", {})
    wait_until_gone(world)
    assert world.errors == 0


async def test_a_command_that_fails_is_told_at_the_gate_and_one_whose_copy_is_spoilt_is_found_out(by_command: ByCommand) -> None:
    world = by_command
    (world.folder / "fail").write_text("no space left for a snapshot")
    start(world)
    async with client_of(world) as client:
        await to_staging(client)
        now = await until(client, lambda s: gate(s) is Verdict.ERROR)
        assert "`./snapshot.py` ended with 1: no space left for a snapshot" in now.backups[0].reason
        with pytest.raises(RefusedByRule, match="backup ckpt ERROR"):
            await client.command("advance", {"reason": "test"})
        (world.folder / "fail").unlink()
        code, out, err = await cutover(world, "backup", "ckpt")
        assert code == 0, err
        assert "backup 1 of ckpt: 6 objects" in out
        await client.command("down", {})
    wait_until_gone(world)
    for name in ("step-000.bin", "step-003.bin"):
        (world.backup / name).write_bytes(bytes(4096))
    start(world)
    async with client_of(world) as client:
        now = await until(client, lambda s: gate(s) is Verdict.BREACH)
        assert "is not in the backup what was backed up" in now.backups[0].reason
        await client.command("backup", {"dataset": "ckpt"})
        assert gate(await client.snapshot()) is Verdict.PASS
        await client.command("down", {})
    wait_until_gone(world)
    assert world.made == ["1", "2"]
