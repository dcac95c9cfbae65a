"""A local target that runs full, may not be written, or holds what is no file: that object fails with its reason, the others go on."""

from __future__ import annotations

import os
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.stores.errors import StoreFull
from backends.stores.local import LocalStore
from backends.transfer.index import Index
from tests.faults.transfer.rig import BIG, SMALL, Rig, assert_same, contents, go, put, verified

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "cutover-test", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"a small tmpfs cannot be mounted: {done.stderr.decode(errors='replace').strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(folder: Path, mebibytes: int) -> None:
    """Make room, as an operator does."""
    subprocess.run(["mount", "-o", f"remount,size={mebibytes}m", str(folder)], check=True)


async def test_a_full_disk_fails_what_does_not_fit_and_takes_it_when_there_is_room(rig: Rig, small_disk: Path) -> None:
    """The large object (10 MiB) can never fit beside the ballast; the small ones do, and nothing half-written is left."""
    await put(rig.old, SMALL | BIG)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (2 * MIB))
    async with LocalStore("tree", small_disk / "tree") as tree:
        await tree.prepare()
        result = await go(rig.source, tree, rig.index)
        assert [f.key for f in result.failures] == ["big"]
        assert "space" in result.failures[0].reason.lower() or "room" in result.failures[0].reason.lower()
        assert result.copied == len(SMALL)
        await assert_same(tree, SMALL)
        ballast.unlink()
        enlarge(small_disk, 32)
        rig.legacy.seen.clear()
        retried = await go(rig.source, tree, rig.index, retry_failed=True)
        assert (retried.listed, retried.copied, retried.failed) == (1, 1, 0)
        assert {seen.request.path for seen in rig.legacy.seen} == {rig.path_of("big")}
        await assert_same(tree, SMALL | BIG)
        assert await tree.list_uploads() == []
        assert (await verified(rig.source, tree, rig.index)).problems == ()


async def test_a_disk_that_is_full_for_all_ends_the_round_with_its_reason_and_the_next_goes_on(
    rig: Rig, small_disk: Path
) -> None:
    many = {f"{i:03}": random.Random(i).randbytes(MIB // 2) for i in range(60)}
    await put(rig.old, many)
    async with LocalStore("tree", small_disk / "tree") as tree:
        await tree.prepare()
        with pytest.raises(StoreFull):
            await go(rig.source, tree, rig.index)
        held = await contents(tree)
        assert 0 < len(held) < 17
        assert held.items() <= many.items()
        enlarge(small_disk, 64)
        result = await go(rig.source, tree, rig.index)
        assert (result.failed, result.lag_objects) == (0, 0)
        assert result.copied == len(many) - len(held)
        await assert_same(tree, many)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_folder_that_may_not_be_written_fails_what_belongs_there(rig: Rig, tmp_path: Path) -> None:
    await put(rig.old, SMALL | {"closed/a": b"1"})
    (tmp_path / "tree" / "closed").mkdir(parents=True, mode=0o500)
    async with LocalStore("tree", tmp_path / "tree") as tree:
        result = await go(rig.source, tree, rig.index)
        assert [f.key for f in result.failures] == ["closed/a"]
        await assert_same(tree, SMALL)


async def test_what_is_no_file_fails_by_name_and_retry_takes_only_that(rig: Rig, index: Index, tmp_path: Path) -> None:
    """azcopy 1515: no way to retry only what failed."""
    root = tmp_path / "tree"
    async with LocalStore("tree", root) as tree:
        await tree.prepare()
        await put(tree, SMALL)
        os.mkfifo(root / "pipe")
        (root / "link").symlink_to("empty")
        listening = socket.socket(socket.AF_UNIX)
        here = Path.cwd()
        os.chdir(root)  # a socket's address holds 107 bytes
        try:
            listening.bind("sock")
        finally:
            os.chdir(here)
        with listening:
            result = await go(tree, rig.target, index)
        assert {f.key: f.reason for f in result.failures} == {
            "link": "is a symlink, which is not followed; exclude it, or put a file in its place",
            "pipe": "is a FIFO; exclude it, or put a file in its place",
            "sock": "is a socket; exclude it, or put a file in its place",
        }
        assert result.copied == len(SMALL)
        await assert_same(rig.new, SMALL)
        (root / "pipe").unlink()
        (root / "pipe").write_bytes(b"a file now")
        (root / "link").unlink()
        (root / "sock").unlink()
        rig.other.seen.clear()
        retried = await go(tree, rig.target, index, retry_failed=True)
        assert (retried.copied, retried.vanished, retried.failed) == (1, 2, 0)
        assert not [seen for seen in rig.other.seen if seen.request.is_listing]
        await assert_same(rig.new, SMALL | {"pipe": b"a file now"})
