"""What a local tree meets in a full, forbidden or restarted machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.stores import local_files, tree
from backends.stores.base import ObjectInfo
from backends.stores.checksum import crc64nvme
from backends.stores.errors import KeyRefused, StoreDenied, StoreError, StoreFull
from backends.stores.local import LocalStore

MEBIBYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("may not mount a tmpfs here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


async def put(store: LocalStore, key: str, body: bytes) -> None:
    await store.write(key, body, crc64nvme=crc64nvme(body))


async def test_a_full_disk_fails_the_object_that_has_no_room_and_no_other(small_disk: Path) -> None:
    async with LocalStore("corpus", small_disk / "root") as store:
        await store.prepare()
        await put(store, "first", b"x" * MEBIBYTE)
        with pytest.raises(StoreFull):
            await put(store, "too-large", b"y" * 2 * MEBIBYTE)
        await put(store, "small", b"z" * 1000)
        assert [o.key async for page in store.list_pages() for o in page] == ["first", "small"]
        assert os.listdir(small_disk / "root" / tree.WORK) == []


async def test_an_object_in_parts_without_room_is_refused_before_a_byte_is_sent(small_disk: Path) -> None:
    async with LocalStore("corpus", small_disk / "root") as store:
        await store.prepare()
        with pytest.raises(StoreFull, match="are free"):
            await store.create_upload("big", like=ObjectInfo("big", 3 * MEBIBYTE))
        assert await store.list_uploads() == []
        assert await store.create_upload("fits", like=ObjectInfo("fits", MEBIBYTE))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_may_not_be_written_fails_its_object(tmp_path: Path) -> None:
    async with LocalStore("corpus", tmp_path) as store:
        await store.prepare()
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(StoreDenied):
            await put(store, "closed/k", b"x")
        await put(store, "open/k", b"x")


async def test_a_file_that_became_a_folder_on_the_way_fails_its_object_and_no_other(tmp_path: Path) -> None:
    async with LocalStore("corpus", tmp_path) as store:
        await store.prepare()
        (tmp_path / "k").mkdir()
        with pytest.raises(KeyRefused):
            await put(store, "k", b"x")
        await put(store, "other", b"x")
        assert not [p for p in (tmp_path / tree.WORK).iterdir()]


async def test_a_part_that_a_power_cut_took_is_not_taken_for_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with LocalStore("corpus", tmp_path) as store:
        await store.prepare()
        upload = await store.create_upload("big")
        for number, body in ((1, b"abc"), (2, b"def")):
            await store.write_part("big", upload, number, 3 * (number - 1), body, crc64nvme=crc64nvme(body))
        with (tmp_path / tree.WORK / upload).open("r+b") as file:
            file.seek(3)
            file.write(b"\0\0\0")
        monkeypatch.setattr(local_files, "boot_id", lambda: "another boot")
        parts = await store.list_parts("big", upload)
        assert parts is not None
        assert [p.number for p in parts] == [1]


async def test_folders_are_not_held_open_beyond_the_store(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else set()
    async with LocalStore("corpus", tmp_path / "root") as store:
        await store.prepare()
        for number in range(200):
            await put(store, f"d{number}/k", b"x")
            assert len(os.listdir("/proc/self/fd")) < len(before) + 8 * 80
    assert len(os.listdir("/proc/self/fd")) <= len(before)


async def test_a_folder_replaced_by_a_link_is_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    async with LocalStore("corpus", tmp_path / "root") as store:
        await store.prepare()
        await put(store, "dir/a", b"x")
        (tmp_path / "root" / "dir").rename(tmp_path / "root" / "was")
        (tmp_path / "root" / "dir").symlink_to(outside)
        for thread in range(20):  # in each thread: in the folder that was held open, or refused, but never outside
            try:
                await put(store, f"dir/{thread}", b"x")
            except KeyRefused:
                continue
        assert list(outside.iterdir()) == []


async def test_a_thread_that_outlives_its_part_never_writes_into_the_file_that_has_its_number_now(tmp_path: Path) -> None:
    """Ctrl-C, or a part beside it that failed, closes the file while the thread that receives is still between two pieces."""
    async with LocalStore("tree", tmp_path / "tree") as store:
        await store.prepare()
        upload = await store.create_upload("k")
        async with store.part_file("k", upload, 0) as file:
            await asyncio.to_thread(file.write, memoryview(b"first"))
        innocent = [(tmp_path / f"other{n}").open("w+b") for n in range(20)]  # one of them has its number
        try:
            with pytest.raises(StoreError):
                await asyncio.to_thread(file.write, memoryview(b"too late"))
            assert [held.read() for held in innocent] == [b""] * 20
        finally:
            for held in innocent:
                held.close()
