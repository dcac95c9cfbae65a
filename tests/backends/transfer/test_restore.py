"""Objects of real stores restored from their backup: only where that is shown to be right, nothing lost, wherever it is cut off."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.ssh.pool import SshPool
from backends.stores.base import ObjectInfo
from backends.stores.checksum import crc64nvme
from backends.transfer.backup import Places, take
from backends.transfer.restore import Choice, Extent, Restored, choose, restore, restore_steps, restored_words
from backends.transfer.session import TransferSession
from tests.backends.transfer.test_backup import (
    BESIDE,
    SNAPSHOT,
    VERSIONS,
    MiniStack,
    OpenSsh,
    SeaweedFs,
    buckets,
    fill,
    server,
    trees,
    versioned,
)

__all__ = ["server"]
STAMP = "20260314T101500Z"
LARGE = 17 << 20


class Cut(Exception):
    """The process ends here."""


class Tree:
    """A dataset of two trees in step, backed up; `damage` is what a disk does."""

    def __init__(self, folder: Path, session: TransferSession, made: dict[str, bytes]) -> None:
        self.folder = folder
        self.session = session
        self.made = made

    @property
    def legacy(self) -> dict[str, bytes]:
        root = self.folder / "legacy"
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and ".cutover" not in p.parts}

    def damage(self, key: str) -> bytes:
        """Other bytes of the same size, and nothing of the file's times shows it."""
        path = self.folder / "legacy" / key
        before, body = path.stat(), os.urandom(path.stat().st_size)
        path.write_bytes(body)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return body

    async def choose(self, places: Places, extent: Extent) -> Choice:
        return await choose(places, extent, (await self.session.verify("ckpt")).problems)

    async def restore(self, places: Places, extent: Extent) -> Restored:
        return await restore(places, await self.choose(places, extent), STAMP)


@asynccontextmanager
async def backed_up(
    folder: Path, spec: object = SNAPSHOT, prefix: str = "file://", ssh: SshPool | None = None
) -> AsyncIterator[tuple[Tree, Places]]:
    plan = trees(folder, prefix)
    made = fill(folder / "legacy", 12)
    for key in made:
        os.utime(folder / "legacy" / key, (1_700_000_000, 1_700_000_000))
    async with TransferSession(plan, folder, folder / "state", ssh) as session:
        assert (await session.round("ckpt")).is_proven
        async with session.backup_places(spec, 1) as places:  # type: ignore[arg-type]
            await take(places)
            yield Tree(folder, session, made), places


def aside(folder: Path, key: str) -> bytes:
    (found,) = folder.rglob(f"*damaged-{STAMP}/{key}")
    return found.read_bytes()


@pytest.mark.parametrize("spec", [SNAPSHOT, BESIDE], ids=["elsewhere", "beside"])
async def test_what_a_disk_damaged_comes_back_and_the_damaged_is_kept(tmp_path: Path, spec: object) -> None:
    async with backed_up(tmp_path, spec) as (tree, places):
        odd = tree.damage("step-0/part-003")
        done = await tree.restore(places, "unwritten")
        assert done.keys == ("step-0/part-003",)
        assert done.left == ()
        assert tree.legacy == tree.made
        assert aside(tmp_path, "step-0/part-003") == odd
        assert (await tree.session.verify("ckpt")).problems == ()
        assert [p for d in tmp_path.rglob("*restore-1") for p in d.rglob("*") if p.is_file()] == []


async def test_by_sftp_too(tmp_path: Path, sshd: OpenSsh) -> None:
    async with (
        SshPool(sshd.settings, [sshd.host("box")]) as pool,
        backed_up(tmp_path, SNAPSHOT, "ssh://box", pool) as (tree, places),
    ):
        odd = tree.damage("latest")
        assert (await tree.restore(places, "unwritten")).keys == ("latest",)
        assert tree.legacy == tree.made
        assert aside(tmp_path, "latest") == odd


async def test_what_legacys_writer_wrote_since_is_never_taken_for_damage(tmp_path: Path) -> None:
    async with backed_up(tmp_path) as (tree, places):
        (tmp_path / "legacy" / "latest").write_bytes(b"step-3")
        (tmp_path / "legacy" / "step-0/part-001").unlink()
        written = tree.legacy
        done = await tree.restore(places, "unwritten")
        assert {left.key for left in done.left} == {"latest", "step-0/part-001"}
        assert "cutover restore ckpt, if that is meant" in done.left[0].reason
        assert tree.legacy == written
        meant = await tree.restore(places, "damaged")
        assert set(meant.keys) == {"latest", "step-0/part-001"}
        assert tree.legacy == tree.made
        assert aside(tmp_path, "latest") == b"step-3"


async def test_where_target_has_something_newer_the_backup_stays_in_its_place(tmp_path: Path) -> None:
    async with backed_up(tmp_path) as (tree, places):
        (tmp_path / "target" / "latest").write_bytes(b"step-4")
        (tmp_path / "target" / "new").write_bytes(b"of target alone")
        before = tree.legacy
        done = await tree.restore(places, "damaged")
        assert {left.key: left.reason for left in done.left} == {
            "latest": "target has not what the backup has: written since, or damaged there",
            "new": "it is not in the backup",
        }
        assert done.keys == ()
        assert tree.legacy == before


async def test_the_whole_brings_all_back_and_takes_nothing_away(tmp_path: Path) -> None:
    async with backed_up(tmp_path) as (tree, places):
        for side in ("legacy", "target"):
            (tmp_path / side / "latest").write_bytes(b"step-5")
        (tmp_path / "legacy" / "step-1/part-011").unlink()
        (tmp_path / "legacy" / "mine").write_bytes(b"since")
        choice = await choose(places, "whole")
        assert set(choice.rows) == {"latest", "step-1/part-011"}
        assert "latest, step-1/part-011" in restore_steps(places, choice)[0]
        assert "of 1 of them aside" in restore_steps(places, choice)[2]
        await restore(places, choice, STAMP)
        assert tree.legacy == tree.made | {"mine": b"since"}
        assert aside(tmp_path, "latest") == b"step-5"


async def test_an_object_that_is_written_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    async with backed_up(tmp_path) as (tree, places):
        tree.damage("latest")
        tree.damage("step-0/part-000")
        choice = await tree.choose(places, "unwritten")
        (tmp_path / "legacy" / "latest").write_bytes(b"step-6")
        done = await restore(places, choice, STAMP)
        assert done.keys == ("step-0/part-000",)
        assert "latest is not what was there" in done.left[0].reason
        assert tree.legacy == tree.made | {"latest": b"step-6"}
        assert "1 restored" in restored_words(done)
        assert "1 left as they are: latest" in restored_words(done)


async def test_from_a_backup_that_is_damaged_itself_nothing_is_swapped_in(tmp_path: Path) -> None:
    async with backed_up(tmp_path) as (tree, places):
        odd = tree.damage("latest")
        tree.damage("step-0/part-000")
        (tmp_path / "backups/ckpt-backup-1/latest").write_bytes(b"step-9")
        done = await tree.restore(places, "unwritten")
        assert [(left.key, left.reason) for left in done.left] == [("latest", "it is not in the backup what was backed up")]
        assert tree.legacy == tree.made | {"latest": odd}


@pytest.mark.parametrize("point", ["after-staged", "after-aside", "after-swapped"])
async def test_cut_off_anywhere_a_second_run_finishes_it_and_nothing_is_lost(tmp_path: Path, point: str) -> None:
    def passing(name: str) -> None:
        if name == f"restore.{point}":
            raise Cut

    async with backed_up(tmp_path) as (tree, places):
        odd = {key: tree.damage(key) for key in ("latest", "step-0/part-003")}
        with pytest.raises(Cut):
            await restore(places, await tree.choose(places, "unwritten"), STAMP, passing)
        for key, body in odd.items():
            assert tree.legacy[key] == (tree.made if point == "after-swapped" else odd)[key]
            if point != "after-staged":
                assert aside(tmp_path, key) == body
        await restore(places, await tree.choose(places, "unwritten"), "later")
        assert tree.legacy == tree.made
        assert (await tree.session.verify("ckpt")).problems == ()


async def test_a_large_object_is_swapped_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "legacy").mkdir()
    body = os.urandom(1 << 20) * 17
    (tmp_path / "legacy" / "large").write_bytes(body)
    os.utime(tmp_path / "legacy" / "large", (1_700_000_000, 1_700_000_000))
    async with backed_up(tmp_path) as (tree, places):
        odd = tree.damage("large")
        assert (await tree.restore(places, "unwritten")).keys == ("large",)
        assert tree.legacy["large"] == body
        assert aside(tmp_path, "large") == odd
        tree.damage("large")
        choice = await tree.choose(places, "unwritten")
        (tmp_path / "legacy" / "large").write_bytes(b"written meanwhile")
        assert (await restore(places, choice, "again")).keys == ()
        assert tree.legacy["large"] == b"written meanwhile"


@pytest.mark.parametrize("prefix", ["data/", ""], ids=["below", "whole"])
async def test_versions_come_back_with_all_that_belongs_to_them(
    server: SeaweedFs | MiniStack, tmp_path: Path, prefix: str
) -> None:
    async with (
        TransferSession(buckets(server, f"back-{len(prefix)}", prefix), tmp_path, tmp_path / "state", None) as session,
        session.backup_places(VERSIONS, 1) as places,
    ):
        await versioned(places.bucket)
        await versioned(places.target)  # type: ignore[arg-type]
        bodies = {f"k{n}": os.urandom(100 + n) for n in range(4)} | {"large": os.urandom(1 << 20) * 17}
        like = ObjectInfo("", 0, content_type="application/x-ckpt", metadata={"step": "2"})
        for key, body in bodies.items():
            await places.bucket.write(key, body, crc64nvme=crc64nvme(body), like=like)
        assert (await session.round("ckpt")).is_proven
        await take(places)
        for key in ("k1", "large"):
            await places.bucket.write(key, b"overwritten", crc64nvme=crc64nvme(b"overwritten"))
        bad = await places.bucket.head("k1")
        await places.bucket.delete("k2")
        problems = (await session.verify("ckpt")).problems
        assert {p.key for p in problems} == {"k1", "k2", "large"}
        assert (await choose(places, "unwritten", problems)).rows == {}, "whoever wrote it may have meant it"
        done = await restore(places, await choose(places, "damaged", problems), STAMP)
        assert set(done.keys) == {"k1", "k2", "large"}, done
        assert (await session.verify("ckpt", re_read=True)).problems == ()
        for key in ("k1", "k2", "large"):
            told = await places.bucket.head(key)
            assert told is not None
            assert (told.content_type, told.metadata) == ("application/x-ckpt", {"step": "2"})
        assert bad is not None
        assert (await places.bucket.fetch(bad))[1] == b"overwritten", "what was overwritten is a version still"
