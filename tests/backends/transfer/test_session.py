"""The session that the engine and `cutover sync` share, over local trees; and rounds of several datasets."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import deque
from pathlib import Path

import pytest

from backends.errors import CutoverError, UsageError
from backends.plan.models import Dataset, Plan, Side, Store, Transfer
from backends.ssh.models import SshSettings
from backends.ssh.pool import SshPool
from backends.stores.errors import RootMissing, StoreUnreachable
from backends.transfer.models import Progress, RoundResult
from backends.transfer.rounds import SyncReport, SyncRequest, added_up, run_rounds
from backends.transfer.session import TransferSession
from tests.backends.transfer.memory import MemoryStore


def plan_of(folder: Path, *names: str, **dataset: object) -> Plan:
    """A plan whose datasets each have two folders."""
    stores, datasets = {}, []
    for name in names:
        for side in ("old", "new"):
            (folder / f"{name}-{side}").mkdir(exist_ok=True)
            stores[f"{name}-{side}"] = Store(url=f"file://{folder}/{name}-{side}/")
        spec = {"name": name, "from": f"{name}-old", "to": f"{name}-new", "follow": "1s", **dataset}
        datasets.append(Dataset.model_validate(spec))
    sides = {"legacy": Side(provider="a"), "target": Side(provider="b")}
    return Plan(version=1, name="try", **sides, stores=stores, datasets=tuple(datasets), transfer=Transfer(parallel=3))  # type: ignore[arg-type]


def no_ssh() -> SshPool:
    return SshPool(SshSettings(), [])


def session_of(plan: Plan, folder: Path) -> TransferSession:
    return TransferSession(plan, folder, folder / "state", no_ssh())


async def test_a_dry_run_before_the_first_round_makes_no_folder_and_says_who_will(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "ckpt", reverse=True)
    (tmp_path / "ckpt-old" / "a").write_bytes(b"1")
    os.utime(tmp_path / "ckpt-old" / "a", (1e9, 1e9))  # what is written this moment is looked at once more
    new = tmp_path / "ckpt-new"
    new.rmdir()
    progress = Progress()
    async with session_of(plan, tmp_path) as session:
        dry = await session.round("ckpt", progress=progress, dry_run=True)
        assert (dry.listed, dry.lag_objects, dry.failed) == (1, 1, 0)
        assert not new.exists()
        assert [note for note in progress.notes if "the first round makes it" in note]
        assert (await session.round("ckpt")).copied == 1
        assert not (await session.round("ckpt", progress=(after := Progress()), dry_run=True)).lag_objects
        assert not after.notes
        shutil.rmtree(new)
        for direction in ("forward", "reverse"):
            with pytest.raises(RootMissing):  # it was there: a mount may have gone
                await session.round("ckpt", direction, dry_run=True)
        new.mkdir()  # the end syncs what was written there


async def test_a_dry_run_from_a_folder_that_is_missing_finds_nothing_out(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "ckpt")
    (tmp_path / "ckpt-old").rmdir()
    async with session_of(plan, tmp_path) as session:
        with pytest.raises(RootMissing):
            await session.round("ckpt", dry_run=True)


async def test_a_session_copies_verifies_and_keeps_the_handover_index(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "ckpt", reverse=True)
    (tmp_path / "ckpt-old" / "a").write_bytes(b"1")
    progress = Progress()
    async with session_of(plan, tmp_path) as session:
        first = await session.round("ckpt", progress=progress)
        assert (first.copied, first.is_proven) == (1, True)
        assert await session.keep_handover_index("ckpt", 1) == 1
        (tmp_path / "ckpt-new" / "b").write_bytes(b"22")
        back = await session.round("ckpt", "reverse")
        assert (back.copied, back.listed) == (1, 2)
        verified = await session.verify("ckpt")
        assert (verified.checked, verified.equal) == (2, 2)
    assert (tmp_path / "ckpt-old" / "b").read_bytes() == b"22"
    assert (progress.status, progress.objects_done, progress.copied_bytes) == ("in sync", 1, 1)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


async def test_rounds_of_one_dataset_wait_for_each_other(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "d")
    for i in range(20):
        (tmp_path / "d-old" / f"{i}").write_bytes(b"1")
    async with session_of(plan, tmp_path) as session:
        results = await asyncio.gather(*(session.round("d") for _ in range(3)))
    assert sum(r.copied for r in results) == 20


async def test_workers_do_not_carry_a_tree_of_this_machine(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "d").model_copy(update={"transfer": Transfer(workers=("box",))})
    (tmp_path / "d-old" / "a").write_bytes(b"1")
    async with session_of(plan, tmp_path) as session:
        assert (await session.round("d")).carried == {}
        with pytest.raises(UsageError, match="no dataset other"):
            await session.round("other")


async def test_a_dataset_that_cannot_be_listed_does_not_keep_the_others(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "a", "b")
    (tmp_path / "b-old" / "x").write_bytes(b"1")
    (tmp_path / "a-old").rmdir()
    report, told = SyncReport(), list[str]()

    def failed(name: str, error: CutoverError) -> None:
        told.append(name)

    await run_rounds(plan, tmp_path, tmp_path / "state", no_ssh(), SyncRequest(), report, failed=failed)
    assert told == ["a"]
    assert list(report.errors) == ["a"]
    assert report.results["b"].copied == 1
    assert report.exit_code == 4


async def test_following_goes_on_until_it_is_stopped_and_mends_what_failed(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "a")
    (tmp_path / "a-old").rmdir()
    report, seen = SyncReport(), asyncio.Queue[RoundResult | str]()
    follow = asyncio.create_task(
        run_rounds(
            plan,
            tmp_path,
            tmp_path / "state",
            no_ssh(),
            SyncRequest(follow=True),
            report,
            done=seen.put_nowait,
            failed=lambda name, error: seen.put_nowait(name),
        )
    )
    async with asyncio.timeout(50):
        assert await seen.get() == "a"
        (tmp_path / "a-old").mkdir()
        (tmp_path / "a-old" / "x").write_bytes(b"1")
        while not report.results.get("a") or report.results["a"].copied == 0:
            await seen.get()
    follow.cancel()
    await asyncio.gather(follow, return_exceptions=True)
    assert report.errors == {}
    assert (tmp_path / "a-new" / "x").read_bytes() == b"1"


async def test_in_reverse_only_datasets_that_the_plan_lets_go_back_are_taken(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "a")
    with pytest.raises(UsageError, match="reverse: true"):
        await run_rounds(plan, tmp_path, tmp_path / "state", no_ssh(), SyncRequest(direction="reverse"), SyncReport())


def test_several_rounds_add_up_what_was_done_and_keep_what_is_true_now() -> None:
    def result(copied: int, listed: int, failed: int) -> RoundResult:
        return RoundResult(
            "d", "forward", listed, copied, 0, 0, failed, copied * 10, 1.0, {"manifest": copied}, (), (), failed, 0, 0.0, listed, 0
        )  # fmt: skip

    both = added_up(result(2, 2, 1), result(3, 5, 0))
    assert (both.copied, both.bytes, both.seconds, both.proofs) == (5, 50, 2.0, {"manifest": 5})
    assert (both.listed, both.failed, both.lag_objects) == (5, 0, 0)


async def test_a_store_that_does_not_answer_at_once_is_made_ready_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.transfer.pace.jittered", lambda seconds: 0.0)
    stores = {"d-old": MemoryStore("d-old", {"a": b"1"}), "d-new": MemoryStore("d-new")}
    stores["d-new"].fail["prepare"] = deque([StoreUnreachable("d-new"), StoreUnreachable("d-new")])
    plan = plan_of(tmp_path, "d")
    async with TransferSession(plan, tmp_path, tmp_path / "state", None, opener=lambda name, spec: stores[name]) as session:
        assert (await session.round("d")).copied == 1
    assert stores["d-new"].calls["prepare"] == 3


async def test_datasets_run_side_by_side_and_are_told_in_the_order_of_the_plan(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "slow", "quick")
    for i in range(300):
        (tmp_path / "slow-old" / f"{i}").write_bytes(b"1")
    (tmp_path / "quick-old" / "a").write_bytes(b"1")
    report, ended = SyncReport(), list[str]()
    await run_rounds(
        plan, tmp_path, tmp_path / "state", no_ssh(), SyncRequest(), report, done=lambda result: ended.append(result.dataset)
    )
    assert ended == ["quick", "slow"]
    assert list(report.results) == ["slow", "quick"]
    assert report.exit_code == 0
