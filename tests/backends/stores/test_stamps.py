"""Time and rights of files: what a copy in a tree has of the file or object it is made of."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.ssh.pool import SshPool
from backends.stores import tree
from backends.stores.base import ObjectInfo, Store
from backends.stores.checksum import crc64nvme
from backends.stores.errors import StoreError
from backends.stores.local import LocalStore
from backends.stores.local_files import LocalFiles
from backends.stores.sftp import SftpStore
from tests.peers.openssh import openssh

BODY = b"#!/bin/sh\necho\n"
THEN_NS = 1_577_836_800_123_456_789


def like(mode: int, mtime_ns: int | None = THEN_NS) -> ObjectInfo:
    return ObjectInfo("run.sh", len(BODY), mtime_ns=mtime_ns, metadata=tree.told_of(mode, mtime_ns))


async def write(store: Store, of: ObjectInfo, *, in_parts: bool) -> ObjectInfo:
    if not in_parts:
        return await store.write("run.sh", BODY, crc64nvme=crc64nvme(BODY), like=of)
    upload = await store.create_upload("run.sh", like=of)
    part = await store.write_part("run.sh", upload, 1, 0, BODY, crc64nvme=crc64nvme(BODY))
    return await store.complete_upload("run.sh", upload, [part], size=len(BODY), crc64nvme=crc64nvme(BODY), like=of)


@pytest.mark.parametrize("in_parts", [False, True])
async def test_a_copy_has_the_time_and_the_rights_of_its_original(tree_store: Store, tmp_path: Path, *, in_parts: bool) -> None:
    await tree_store.prepare()
    written = await write(tree_store, like(stat.S_IFREG | 0o751), in_parts=in_parts)
    status = (tmp_path / "root" / "run.sh").stat()
    assert stat.S_IMODE(status.st_mode) == 0o751
    kept = THEN_NS if isinstance(tree_store, LocalStore) else THEN_NS // 10**9 * 10**9
    assert status.st_mtime_ns == kept
    told = await tree_store.head("run.sh")
    assert told is not None
    assert told.identity == written.identity, "the next round takes it for what was written"
    assert told.metadata == {"mode": "0100751", "mtime": f"1577836800.{kept % 10**9:09}"}
    (listed,) = [found async for page in tree_store.list_pages() for found in page]
    assert await tree_store.fetch(listed) == (listed._replace(metadata=told.metadata), BODY)
    assert not tree_store.notes


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("mode", [0o400, 0o444, 0o555])
async def test_what_nobody_may_write_is_made_all_the_same(
    tree_store: Store, tmp_path: Path, mode: int, *, in_parts: bool
) -> None:
    await tree_store.prepare()
    written = await write(tree_store, like(mode), in_parts=in_parts)
    assert stat.S_IMODE((tmp_path / "root" / "run.sh").stat().st_mode) == mode
    told = await tree_store.head("run.sh")
    assert told is not None
    assert told.identity == written.identity
    await write(tree_store, like(0o640), in_parts=in_parts)
    assert stat.S_IMODE((tmp_path / "root" / "run.sh").stat().st_mode) == 0o640


async def test_a_death_just_before_its_move_leaves_what_its_owner_can_go_on_with(
    tree_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is not root cannot open a file for writing that its owner may not write."""
    await tree_store.prepare()
    upload = await tree_store.create_upload("run.sh", like=like(0o444))
    part = await tree_store.write_part("run.sh", upload, 1, 0, BODY, crc64nvme=crc64nvme(BODY))

    def complete() -> Coroutine[None, None, ObjectInfo]:
        return tree_store.complete_upload("run.sh", upload, [part], size=len(BODY), crc64nvme=crc64nvme(BODY), like=like(0o444))

    def dies(*_: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "_move_in", dies)
        patch.setattr(SftpStore, "_move_in", dies)
        with pytest.raises(StoreError):
            await complete()
    assert stat.S_IMODE((tmp_path / "root" / tree.WORK / upload).stat().st_mode) == 0o644
    await complete()
    assert stat.S_IMODE((tmp_path / "root" / "run.sh").stat().st_mode) == 0o444


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o755])
async def test_in_the_making_it_is_open_to_nobody_who_may_not_read_it_then(tree_store: Store, tmp_path: Path, mode: int) -> None:
    await tree_store.prepare()
    await tree_store.create_upload("run.sh", like=like(mode))
    (made,) = [path for path in (tmp_path / "root" / tree.WORK).iterdir() if tree.is_upload(path.name)]
    assert stat.S_IMODE(made.stat().st_mode) == mode | 0o600, "and its owner goes on with it after a death"


@pytest.mark.parametrize("in_parts", [False, True])
async def test_what_nothing_is_known_of_has_the_rights_that_new_files_have(
    tree_store: Store, tmp_path: Path, *, in_parts: bool
) -> None:
    await tree_store.prepare()
    odd = {"mode": "train", "mtime": "yesterday\x1b[31m"}
    changed = datetime(2024, 2, 29, 12, 30, 1, tzinfo=UTC)
    await write(tree_store, ObjectInfo("run.sh", len(BODY), mtime=changed, metadata=odd), in_parts=in_parts)
    status = (tmp_path / "root" / "run.sh").stat()
    assert status.st_mtime == changed.timestamp(), "an object has its own time"
    assert stat.S_IMODE(status.st_mode) == 0o644


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("0100755", 0o755),
        ("100644", 0o644),
        ("755", 0o755),
        ("0104755", 0o755),  # setuid
        ("0100000", 0o400),  # its owner proves what arrived
        ("0100222", 0o622),
        ("0040755", None),  # a folder's
        ("0120777", None),  # a link's
        ("33188", None),  # s3fs has it in tens
        ("-644", None),
        ("", None),
        ("0o755", None),
        ("٧٥٥", None),  # digits of another script
        ("777777777777", None),
    ],
)
def test_rights_are_taken_from_what_says_them(told: str, kept: int | None) -> None:
    assert tree.stamp_of(ObjectInfo("k", 0, metadata={"mode": told})) == (kept, None)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("1577836800.123456789", THEN_NS),
        ("1577836800.1", 1_577_836_800_100_000_000),
        ("1577836800", 1_577_836_800_000_000_000),
        ("-1.5", -1_500_000_000),
        ("1577836800.1234567891", None),
        ("1e9", None),
        ("nan", None),
        ("999999999999", None),
        ("2020-01-01T00:00:00Z", None),
    ],
)
def test_a_time_is_taken_from_what_says_one(told: str, kept: int | None) -> None:
    assert tree.stamp_of(ObjectInfo("k", 0, metadata={"mtime": told})) == (None, kept)


@given(st.integers(0, 0o777), st.integers(1 - 10**20, 10**20 - 1))
def test_what_is_told_is_what_is_taken(mode: int, mtime_ns: int) -> None:
    told = tree.told_of(stat.S_IFREG | mode, mtime_ns)
    assert tree.stamp_of(ObjectInfo("k", 0, metadata=told)) == (mode | stat.S_IRUSR, mtime_ns)


@given(st.text(), st.text())
def test_rubbish_is_no_error(mode: str, mtime: str) -> None:
    found = tree.stamp_of(ObjectInfo("k", 0, metadata={"mode": mode, "mtime": mtime}))
    assert found.mode is None or 0o400 <= found.mode <= 0o777


@pytest.mark.parametrize("in_parts", [False, True])
async def test_a_file_system_that_takes_neither_has_the_copy_and_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_parts: bool
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchmod", refused)
    monkeypatch.setattr(os, "utime", refused)
    async with LocalStore("corpus", tmp_path / "root") as store:
        await store.prepare()
        written = await write(store, like(0o751), in_parts=in_parts)
        assert await store.read("run.sh", if_match=written.identity) == BODY
        assert store.notes == (tree.KEEPS_NO_STAMPS,)


async def test_a_time_that_no_file_can_have_leaves_the_rights(tmp_path: Path) -> None:
    async with LocalStore("corpus", tmp_path / "root") as store:
        await store.prepare()
        await write(store, like(0o751, 10**30), in_parts=False)
        assert stat.S_IMODE((tmp_path / "root" / "run.sh").stat().st_mode) == 0o751
        assert store.notes == (tree.KEEPS_NO_STAMPS,)


@pytest.mark.parametrize("in_parts", [False, True])
async def test_a_server_that_takes_neither_has_the_copy_and_a_note(tmp_path: Path, *, in_parts: bool) -> None:
    options = "Subsystem sftp internal-sftp -P setstat,fsetstat\n"
    async with (
        openssh(tmp_path / "sshd", options=options) as server,
        SshPool(server.settings, [server.host("box")]) as pool,
        SftpStore("corpus", pool, "box", str(tmp_path / "root")) as store,
    ):
        await store.prepare()
        written = await write(store, like(0o751), in_parts=in_parts)
        assert await store.read("run.sh", if_match=written.identity) == BODY
        assert store.notes == (tree.KEEPS_NO_STAMPS,)


@pytest.mark.parametrize("mtime_ns", [-1_500_000_000, 1 << 62])
async def test_a_time_that_sftp_cannot_tell_leaves_the_rights(tree_store: Store, tmp_path: Path, mtime_ns: int) -> None:
    await tree_store.prepare()
    await write(tree_store, like(0o751, mtime_ns), in_parts=False)
    status = (tmp_path / "root" / "run.sh").stat()
    assert stat.S_IMODE(status.st_mode) == 0o751
    if isinstance(tree_store, LocalStore):
        assert status.st_mtime_ns == mtime_ns
    else:
        assert abs(status.st_mtime - time.time()) < 60, "its own"
