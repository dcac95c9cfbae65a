"""What users of other tools complain of (repository # issue) and no other file here has: progress, hanging, dry runs, doubled bytes."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from backends.stores import s3_client
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round
from tests.faults.transfer.rig import BIG, SMALL, Rig, assert_same, go, is_get, is_part, put, s3_store
from tests.peers.fault_proxy import Request

BOTH = SMALL | BIG


async def watched(rig: Rig, progress: Progress) -> tuple[RoundResult, list[tuple[int, int, int, int]]]:
    """A round, and its (copied bytes, to copy, objects done, of) at each request of it."""
    looks: list[tuple[int, int, int, int]] = []

    def look(request: Request) -> None:
        if progress.status == "copying":
            looks.append((progress.copied_bytes, progress.to_copy_bytes, progress.objects_done, progress.objects_total))

    for proxy in (rig.legacy, rig.other):
        proxy.add("call", times=None, then=look)
    result = await sync_round("d", rig.source, rig.target, rig.index, RoundOptions(parallel=6), progress)
    looks.append((progress.copied_bytes, progress.to_copy_bytes, progress.objects_done, progress.objects_total))
    return result, looks


async def test_progress_never_goes_over_100_percent_nor_backwards_after_a_resume_on_a_bad_wire(rig: Rig) -> None:
    """azcopy 2975: over 100 % after a resume. Here parts are taken over, sent twice, damaged, and one object is begun anew."""
    await put(rig.old, BOTH)
    rig.other.add("refuse", is_part, times=None, after=1)
    assert (await rig.round()).failed == 1
    await put(rig.old, {"set/01.bin": b"another size"})
    rig.other.rules.clear()
    rig.other.add("flip_up", is_part)
    rig.other.add("lose", is_part)
    rig.legacy.add("flip_down", is_get, times=2)
    result, looks = await watched(rig, Progress())
    assert (result.failed, result.lag_objects) == (0, 0)
    assert len(looks) > 5
    assert all(copied <= total and done <= objects for copied, total, done, objects in looks)
    assert [look[0] for look in looks] == sorted(look[0] for look in looks)
    assert [look[2] for look in looks] == sorted(look[2] for look in looks)
    assert looks[-1][2] == looks[-1][3] == len(BOTH)


async def test_a_server_that_never_answers_for_the_last_object_does_not_hang_the_round(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """juicefs 5701, skyplane 845: a hang at the last object. The silence is noticed and the object asked for again."""
    monkeypatch.setattr(s3_client, "IDLE_SECONDS", 1.0)
    await put(rig.old, SMALL)
    path = rig.path_of(max(SMALL))
    silent = asyncio.Event()

    async def say_nothing(request: Request) -> None:
        await silent.wait()

    rule = rig.legacy.add("call", lambda r: is_get(r) and r.path == path, then=say_nothing)
    async with s3_store("source", rig.server, f"{rig.prefix}old/", endpoint=rig.legacy.endpoint) as source:
        result = await go(source, rig.target, rig.index)
    silent.set()
    assert rule.struck == 1
    assert (result.copied, result.failed) == (len(SMALL), 0)
    await assert_same(rig.new, SMALL)


async def test_a_dry_run_asks_for_nothing_that_changes_anything(rig: Rig, tmp_path: Path) -> None:
    """rclone 5681: a dry run that changed state."""
    await put(rig.old, BOTH)
    await rig.round()
    await put(rig.old, {"later": b"1", "set/02.bin": b"changed"})
    await rig.new.delete("set/03.bin")
    rig.legacy.seen.clear()
    rig.other.seen.clear()
    before = rows(tmp_path)
    result = await rig.round(dry_run=True)
    assert (result.dry_run, result.copied, result.lag_objects) == (True, 0, 3)
    assert {seen.request.method for seen in (*rig.legacy.seen, *rig.other.seen)} <= {"GET", "HEAD"}
    assert rows(tmp_path) == before


def rows(folder: Path) -> list[object]:
    """All that the index holds."""
    with contextlib.closing(sqlite3.connect(f"file:{folder / 'index.db'}?mode=ro", uri=True)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table' ORDER BY name")]
        return [(name, db.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()) for name in names]
