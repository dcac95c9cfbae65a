"""What trees of files add to the contract, local and over OpenSSH."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from backends.ssh.pool import SshPool
from backends.stores import descriptors, tree
from backends.stores.base import ObjectInfo, Store
from backends.stores.checksum import crc64nvme
from backends.stores.descriptors import from_os
from backends.stores.errors import (
    KeyRefused,
    ListingFailed,
    ObjectMissing,
    RootMissing,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnreachable,
    UploadGone,
)
from backends.stores.local import LocalStore
from backends.stores.sftp import SftpStore
from tests.peers.openssh import OpenSsh, openssh


async def keys_of(store: Store) -> list[str]:
    return [found.key async for page in store.list_pages() for found in page]


async def put(store: Store, key: str, body: bytes = b"x") -> None:
    await store.write(key, body, crc64nvme=crc64nvme(body))


async def test_a_missing_root_is_not_an_empty_one(tree_store: Store, tmp_path: Path) -> None:
    with pytest.raises(RootMissing):
        await keys_of(tree_store)
    await tree_store.prepare()
    assert await keys_of(tree_store) == []
    assert (tmp_path / "root").is_dir()


async def test_a_root_whose_parent_is_missing_is_not_made(tmp_path: Path, tree_server: object) -> None:
    from tests.backends.stores.conftest import _tree

    async with _tree(tree_server, tmp_path / "no" / "root") as store:
        with pytest.raises(StoreError):
            await store.prepare()
    assert not (tmp_path / "no").exists()


async def test_a_root_that_is_a_file_fails_the_listing(tree_store: Store, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("not a folder")
    with pytest.raises(ListingFailed):
        await keys_of(tree_store)


async def test_links_and_sockets_are_told_and_never_followed(tree_store: Store, tmp_path: Path) -> None:
    await tree_store.prepare()
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (root / "file").write_text("f")
    (root / "dirlink").symlink_to(outside)
    (root / "filelink").symlink_to(outside / "secret")
    (root / "sub").mkdir()
    os.mkfifo(root / "sub" / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(root / "sock"))
        assert await keys_of(tree_store) == ["file"]
    told = {s.key: s.reason for s in tree_store.skipped}
    assert told.keys() == {"dirlink", "filelink", "sub/pipe", "sock"}
    assert "symlink" in told["dirlink"]
    for key in ("dirlink/secret", "filelink", "sub/pipe"):
        with pytest.raises((KeyRefused, ObjectMissing)):
            await tree_store.read(key)
        assert await tree_store.head(key) is None
    with pytest.raises(KeyRefused):
        await put(tree_store, "dirlink/new")
    await tree_store.delete("dirlink/secret")
    assert [p.name for p in outside.iterdir()] == ["secret"]


async def test_a_link_of_the_name_is_replaced_and_not_written_through(tree_store: Store, tmp_path: Path) -> None:
    await tree_store.prepare()
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "root" / "k").symlink_to(tmp_path / "victim")
    await put(tree_store, "k", b"mine")
    assert (tmp_path / "victim").read_text() == "untouched"
    assert await tree_store.read("k") == b"mine"


async def test_names_that_are_not_utf8_are_kept(tree_store: Store, tmp_path: Path) -> None:
    await tree_store.prepare()
    raw = os.fsencode(tmp_path / "root") + b"/\xff\xfe.bin"
    Path(os.fsdecode(raw)).write_bytes(b"odd")
    [key] = await keys_of(tree_store)
    assert key.encode("utf-8", "surrogateescape") == b"\xff\xfe.bin"
    assert await tree_store.read(key) == b"odd"
    await put(tree_store, "again/" + key, b"odd")
    assert (tmp_path / "root" / "again" / os.fsdecode(b"\xff\xfe.bin")).read_bytes() == b"odd"


async def test_a_file_and_a_folder_of_one_name_are_refused(tree_store: Store) -> None:
    await tree_store.prepare()
    await put(tree_store, "a/b")
    await put(tree_store, "c")
    with pytest.raises(KeyRefused):
        await put(tree_store, "a")
    with pytest.raises(KeyRefused):
        await put(tree_store, "c/d")
    assert await keys_of(tree_store) == ["a/b", "c"]


async def test_what_is_being_written_is_never_listed_and_leaves_nothing(tree_store: Store, tmp_path: Path) -> None:
    await tree_store.prepare()
    await put(tree_store, "k")
    upload = await tree_store.create_upload("big")
    await tree_store.write_part("big", upload, 1, 0, b"abc", crc64nvme=crc64nvme(b"abc"))
    assert (tmp_path / "root" / tree.WORK / upload).exists()
    assert await keys_of(tree_store) == ["k"]
    await tree_store.abort_upload("big", upload)
    await tree_store.close()
    assert sorted(p.name for p in (tmp_path / "root").iterdir()) == ["k"]


async def test_an_upload_goes_on_after_the_death_of_its_process(tree_store: Store, tree_server: object, tmp_path: Path) -> None:
    from tests.backends.stores.conftest import _tree

    await tree_store.prepare()
    upload = await tree_store.create_upload("dir/big")
    await tree_store.write_part("dir/big", upload, 2, 3, b"def", crc64nvme=crc64nvme(b"def"))
    async with _tree(tree_server, tmp_path / "root") as again:
        assert await again.list_uploads() == [("dir/big", upload)]
        parts = await again.list_parts("dir/big", upload)
        assert parts is not None
        assert [(p.number, p.size, p.checksum) for p in parts] == [(2, 3, crc64nvme(b"def"))]
        assert await again.list_parts("other", upload) is None
        first = await again.write_part("dir/big", upload, 1, 0, b"abc", crc64nvme=crc64nvme(b"abc"))
        whole = crc64nvme(b"abcdef")
        await again.complete_upload("dir/big", upload, [*parts, first], size=6, crc64nvme=whole, like=None)
        assert await again.read("dir/big") == b"abcdef"


async def test_a_log_that_broke_off_lacks_that_part_only(tree_store: Store, tmp_path: Path) -> None:
    await tree_store.prepare()
    upload = await tree_store.create_upload("big")
    for number in (1, 2):
        await tree_store.write_part("big", upload, number, 3 * (number - 1), b"abc", crc64nvme=crc64nvme(b"abc"))
    log = tmp_path / "root" / tree.WORK / (upload + tree.LOG_SUFFIX)
    log.write_bytes(log.read_bytes()[:-5])
    parts = await tree_store.list_parts("big", upload)
    assert parts is not None
    assert [p.number for p in parts] == [1]
    with pytest.raises(UploadGone):
        await tree_store.complete_upload("big", upload, parts, size=6, crc64nvme=crc64nvme(b"abcabc"), like=None)


async def test_writes_that_a_death_left_are_forgotten_after_a_day(
    tree_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tree_store.prepare()
    work = tmp_path / "root" / tree.WORK
    work.mkdir()
    left = work / tree.new_whole()
    left.touch()
    await tree_store.prepare()
    assert left.exists()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + tree.STALE_SECONDS + 10)
    await tree_store.prepare()
    assert not left.exists()


async def test_a_copy_of_an_old_file_in_the_making_is_nobodys_leftover(tmp_path: Path) -> None:
    async with LocalStore("corpus", tmp_path / "root") as store:
        await store.prepare()
        made = tmp_path / "root" / tree.WORK / tree.new_whole()
        made.parent.mkdir()
        made.touch()
        os.utime(made, (0, 0))  # as it is just before it is moved to its place
        await store.prepare()
        assert made.exists()


async def test_a_folder_removed_between_two_writes_is_made_again(tree_store: Store, tmp_path: Path) -> None:
    await tree_store.prepare()
    await put(tree_store, "dir/a")
    (tmp_path / "root" / "dir" / "a").unlink()
    (tmp_path / "root" / "dir").rmdir()
    (tmp_path / "root" / tree.WORK).rmdir()
    await put(tree_store, "dir/b", b"there")
    assert await tree_store.read("dir/b") == b"there"


async def test_a_listing_of_many_folders_comes_in_pages_and_whole(tree_store: Store, tmp_path: Path) -> None:
    await tree_store.prepare()
    expected = []
    for folder in range(25):
        path = tmp_path / "root" / f"d{folder:02}"
        path.mkdir()
        for number in range(50):
            (path / f"f{number:02}").touch()
            expected.append(f"d{folder:02}/f{number:02}")
    pages = [page async for page in tree_store.list_pages()]
    assert len(pages) == 2
    assert [found.key for page in pages for found in page] == expected


async def test_a_folder_too_deep_is_told_and_the_rest_is_listed(tree_store: Store, tmp_path: Path) -> None:
    await tree_store.prepare()
    deep = tmp_path / "root" / "/".join(["d"] * (tree.DEEPEST + 3))
    deep.mkdir(parents=True)
    (deep / "lost").touch()
    await put(tree_store, "z")
    assert await keys_of(tree_store) == ["z"]
    [told] = tree_store.skipped
    assert "too deep" in told.reason


async def test_a_listing_that_is_left_in_the_middle_leaves_nothing_running(sshd: OpenSsh, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for number in range(30):
        (root / f"d{number:02}").mkdir(parents=True)
        for name in range(60):
            (root / f"d{number:02}" / f"f{name:02}").touch()
    async with SshPool(sshd.settings, [sshd.host("box")]) as pool, SftpStore("corpus", pool, "box", str(root)) as store:
        pages = store.list_pages()
        assert len(await anext(pages)) == 1000
        await pages.aclose()  # type: ignore[attr-defined]
        assert [t.get_name() for t in asyncio.all_tasks() if t.get_name() == "sftp listing"] == []


async def test_a_root_replaced_under_the_listing_fails_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for number in range(1500):
        (root / f"f{number:04}").touch()
    async with LocalStore("corpus", root) as store:
        pages = store.list_pages()
        await anext(pages)
        root.rename(tmp_path / "gone")
        root.mkdir()
        with pytest.raises(ListingFailed, match="replaced"):
            [page async for page in pages]


async def test_a_folder_on_another_file_system_is_written_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, refused, modes = os.replace, [], set[int]()
    write = descriptors.write_all

    def noted(file: int, body: bytes | memoryview, offset: int) -> None:
        modes.add(os.fstat(file).st_mode & 0o777)
        write(file, body, offset)

    monkeypatch.setattr(descriptors, "write_all", noted)

    def across(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if src_dir_fd != dst_dir_fd:
            refused.append(new)
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        replace(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "replace", across)
    async with LocalStore("corpus", tmp_path / "root") as store:
        await store.prepare()
        like = ObjectInfo("k", 4, mtime_ns=10**18 + 5, metadata=tree.told_of(0o700, None))
        written = await store.write("mount/k", b"body", crc64nvme=crc64nvme(b"body"), like=like)
        assert refused == ["k"]
        assert modes == {0o700}, "while it is copied it is open to nobody else either"
        assert written.identity == (await store.head("mount/k") or written._replace(size=0)).identity
        assert (tmp_path / "root" / "mount" / "k").stat().st_mode & 0o777 == 0o700
        assert await store.read("mount/k") == b"body"
        (tmp_path / "root" / "mount" / tree.new_beside()).touch()
        assert await keys_of(store) == ["mount/k"]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EACCES, StoreDenied),
        (errno.EROFS, StoreDenied),
        (errno.ELOOP, KeyRefused),
        (errno.ENAMETOOLONG, KeyRefused),
        (errno.ENOENT, ObjectMissing),
        (errno.EIO, StoreUnreachable),
        (errno.ESTALE, StoreUnreachable),
        (errno.ENXIO, StoreError),
    ],
)
def test_an_error_of_the_system_says_what_to_do(number: int, kind: type[StoreError]) -> None:
    assert type(from_os(OSError(number, os.strerror(number)), "corpus: writing k")) is kind


async def test_a_session_that_was_lost_is_unreachable_for_a_write_once_and_then_opened_anew(
    sshd: OpenSsh, tmp_path: Path
) -> None:
    async with SshPool(sshd.settings, [sshd.host("box")]) as pool, SftpStore("corpus", pool, "box", str(tmp_path / "r")) as store:
        await store.prepare()
        await put(store, "k", b"body")
        sshd.kill_sessions()
        with pytest.raises(StoreUnreachable):
            await put(store, "k", b"other")
        await put(store, "k", b"other")
        assert await store.read("k") == b"other"


async def test_a_host_that_nobody_knows_is_unreachable_and_its_listing_fails(sshd: OpenSsh) -> None:
    async with SshPool(sshd.settings, []) as pool, SftpStore("corpus", pool, "no-such-host.invalid", "/x") as store:
        with pytest.raises(StoreUnreachable):
            await store.head("k")
        with pytest.raises(ListingFailed):
            await keys_of(store)


async def test_a_server_without_posix_rename_still_replaces(
    sshd: OpenSsh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SshPool(sshd.settings, [sshd.host("box")]) as pool, SftpStore("corpus", pool, "box", str(tmp_path / "r")) as store:
        await store.prepare()
        client = await pool.sftp("box")
        monkeypatch.setattr(client._handler, "_supports_posix_rename", False)
        await put(store, "k", b"first")
        await put(store, "k", b"second")
        assert await store.read("k") == b"second"


async def test_a_server_that_was_killed_in_the_middle_of_many_writes_is_unreachable_and_then_goes_on(
    sshd: OpenSsh, tmp_path: Path
) -> None:
    bodies = {f"d{n % 5}/f{n:03}": os.urandom(30_000 + n) for n in range(120)}
    async with SshPool(sshd.settings, [sshd.host("box")]) as pool, SftpStore("corpus", pool, "box", str(tmp_path / "r")) as store:
        await store.prepare()
        written = asyncio.Event()

        async def write(key: str) -> None:
            await put(store, key, bodies[key])
            written.set()

        async def kill() -> None:
            await written.wait()
            sshd.kill_sessions()

        *results, _ = await asyncio.gather(*map(write, bodies), kill(), return_exceptions=True)
        assert {type(r) for r in results} <= {type(None), StoreUnreachable}
        for key, result in zip(bodies, results, strict=True):
            if result is not None:
                await put(store, key, bodies[key])
        for key, body in bodies.items():
            assert await store.read(key) == body
        assert await keys_of(store) == sorted(bodies)


@pytest.mark.parametrize("size", [30_000, 2 << 20], ids=["first-lane", "lanes"])
async def test_what_changes_nothing_goes_on_where_the_connection_had_died_unnoticed(
    sshd: OpenSsh, tmp_path: Path, size: int
) -> None:
    bodies = {f"f{n}": os.urandom(size + n) for n in range(4)}
    async with SshPool(sshd.settings, [sshd.host("box")]) as pool, SftpStore("corpus", pool, "box", str(tmp_path / "r")) as store:
        await store.prepare()
        for key, body in bodies.items():
            await put(store, key, body)
        assert await asyncio.gather(*(store.read(key, length=len(body)) for key, body in bodies.items())) == list(bodies.values())
        sshd.kill_sessions()  # the event loop has no turn between this and the next requests
        assert await asyncio.gather(*(store.read(key, length=len(body)) for key, body in bodies.items())) == list(bodies.values())
        sshd.kill_sessions()
        assert await store.head("f0") is not None
        sshd.kill_sessions()
        assert await keys_of(store) == sorted(bodies)


async def test_a_read_from_a_host_that_has_gone_for_good_is_unreachable(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with openssh(tmp_path / "ssh") as server:
            pool = await stack.enter_async_context(SshPool(server.settings, [server.host("box")]))
            store = await stack.enter_async_context(SftpStore("corpus", pool, "box", str(tmp_path / "r")))
            await store.prepare()
            await put(store, "k")
            assert await store.read("k") == b"x"
        with pytest.raises(StoreUnreachable):
            await store.read("k")


async def test_writes_that_are_called_off_close_no_handle_of_another_file(sshd: OpenSsh, tmp_path: Path) -> None:
    bodies = {f"f{n:03}": bytes([n]) * (20_000 + n) for n in range(100)}
    async with SshPool(sshd.settings, [sshd.host("box")]) as pool, SftpStore("corpus", pool, "box", str(tmp_path / "r")) as store:
        await store.prepare()
        kept = [asyncio.create_task(put(store, key, body)) for key, body in bodies.items()]
        lost = [asyncio.create_task(put(store, f"lost-{key}", body)) for key, body in bodies.items()]
        for task, called_off in zip(kept, lost, strict=True):
            await task
            called_off.cancel()
        await asyncio.gather(*lost, return_exceptions=True)
        for key, body in bodies.items():
            assert await store.read(key) == body
        async for page in store.list_pages():
            for found in page:
                assert await store.read(found.key) == bodies[found.key.removeprefix("lost-")]


async def test_parts_written_before_the_host_started_again_are_sent_again(tree_store: Store, tmp_path: Path) -> None:
    if not isinstance(tree_store, SftpStore):
        pytest.skip("a local tree reads them again instead: test_local_faults")
    await tree_store.prepare()
    upload = await tree_store.create_upload("big")
    await tree_store.write_part("big", upload, 1, 0, b"abc", crc64nvme=crc64nvme(b"abc"))
    assert len(await tree_store.list_parts("big", upload) or []) == 1
    log = tmp_path / "root" / tree.WORK / (upload + tree.LOG_SUFFIX)
    boot = Path(tree.BOOT_ID).read_text().strip()
    log.write_text(log.read_text().replace(boot, "another"))
    assert await tree_store.list_parts("big", upload) == []
