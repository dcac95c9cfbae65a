"""A tree over SFTP as a store: `ssh://HOST/PATH/`, through the one SSH pool.

asyncssh splits each read and write into blocks that are under way together. Files appear whole: written into the work folder,
those in parts synced where the server can (`fsync@openssh.com`), renamed over the old one (`posix-rename@openssh.com`; where a server lacks that, the
old one is removed first and a reader may find nothing for a moment). Times are whole seconds with OpenSSH.
"""

from __future__ import annotations

import asyncio
import contextlib
import stat
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import cast

import asyncssh

from backends.escape import plain
from backends.ssh.pool import SshPool
from backends.ssh.sftp_session import read_range, write_range
from backends.stores import tree
from backends.stores.base import Body, Capabilities, Note, ObjectInfo, PartInfo, Plain, Skipped, check_target
from backends.stores.checksum import crc64nvme_of
from backends.stores.errors import (
    ChecksumRefused,
    KeyRefused,
    ObjectMissing,
    ShortBody,
    SourceChanged,
    StoreError,
    StoreFull,
    StoreUnreachable,
    UploadGone,
    of_the_object,
)
from backends.stores.sftp_errors import FOREIGN, from_foreign, is_gone
from backends.stores.sftp_tree import CALL_SECONDS, SftpTree, info, kind_of, kind_text

_PAGE = 1000
_SLOWEST = 16 * 1024  # bytes a second below which a body counts as stuck
_NEW = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL
_APPEND = asyncssh.FXF_WRITE | asyncssh.FXF_APPEND
_LOG_BYTES = 16 << 20
_NOT_TAKEN = (asyncssh.SFTPOpUnsupported, asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure)


class SftpStore(Plain):
    """The files below a folder of a host."""

    def __init__(self, name: str, pool: SshPool, host: str, root: str) -> None:
        self._name = name
        self._tree = SftpTree(name, pool, host, root)
        self._skipped: list[Skipped] = []
        self._has_written = False
        self._is_case_blind = False
        self._is_form_blind = False
        self._boot: str | None = None  # None until asked
        self._keeps_stamps = True  # until the server refuses one

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return plain(f"ssh://{self._tree.host}{self._tree.root.rstrip('/')}/")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            parts=True, metadata=True, folders=True, case_blind=self._is_case_blind, form_blind=self._is_form_blind
        )

    @property
    def notes(self) -> Sequence[Note]:
        return () if self._keeps_stamps else (tree.KEEPS_NO_STAMPS,)

    @property
    def latency(self) -> float | None:
        return self._tree.latency

    @property
    def skipped(self) -> Sequence[Skipped]:
        return tuple(self._skipped)

    async def prepare(self) -> None:
        """Make the root where absent, and forget single writes that a death left a day ago."""
        root = self._tree.path(())
        try:
            there = await self._tree.ask(lambda c: c.exists(root))
            if not there:
                await self._tree.ask(lambda c: c.mkdir(root))
            await self._forget_stale()
            await self._find_blindness()
        except FOREIGN as error:
            raise self._error("making", self._tree.root, error) from error

    async def _forget_stale(self) -> None:
        if await self._tree.lstat((tree.WORK,)) is None:
            return
        before = time.time() - tree.STALE_SECONDS
        for entry in await self._tree.ask(lambda c: c.readdir(self._tree.path((tree.WORK,)))):
            name = entry.filename.decode("utf-8", "replace") if isinstance(entry.filename, bytes) else entry.filename
            if tree.is_whole(name) and entry.attrs.mtime is not None and entry.attrs.mtime < before:
                await self._remove((tree.WORK, name))

    async def _find_blindness(self) -> None:
        """Whether names that differ in case, or in Unicode form, are one name here: found out with a file of our own."""
        name, other_case, other_form = ((tree.WORK, probe) for probe in tree.probe_names())
        await self._tree.has_folder((tree.WORK,), make=True)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._put(name, b"")
            self._is_case_blind = await self._tree.lstat(other_case) is not None
            self._is_form_blind = await self._tree.lstat(other_form) is not None
        finally:
            await self._forget(name)
        await self._forget_work()

    async def _forget_work(self) -> None:
        """Take the work folder away where nothing is left in it."""
        self._tree.look_again()
        with contextlib.suppress(*FOREIGN):
            await self._tree.ask(lambda c: c.rmdir(self._tree.path((tree.WORK,))), 5)

    async def list_pages(self, start_after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        skipped: list[Skipped] = []
        self._skipped = skipped
        page: list[ObjectInfo] = []
        async with aclosing(self._tree.walk(start_after, skipped)) as objects:
            async for found in objects:
                page.append(found)
                if len(page) == _PAGE:
                    yield page
                    page = []
        if page:
            yield page

    async def head(self, key: str) -> ObjectInfo | None:
        names = tree.split_key(self._name, key)
        try:
            attrs = await self._tree.look(lambda: self._attrs(names))
        except KeyRefused:
            return None  # a link or a file stands where a folder should: nothing of this name is in the tree
        except FOREIGN as error:
            raise self._error("looking at", key, error) from error
        return _told(info(key, attrs), attrs) if attrs is not None and kind_of(attrs) == stat.S_IFREG else None

    async def _attrs(self, names: tuple[str, ...]) -> asyncssh.SFTPAttrs | None:
        return await self._tree.lstat(names) if await self._tree.has_folder(names[:-1]) else None

    async def read(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None, version: str | None = None
    ) -> Body:
        """A range. The file is looked at before and after: one that changed under the read is `SourceChanged`."""
        return (await self._with_attrs(key, start, length, if_match))[1]

    async def fetch(self, listed: ObjectInfo) -> tuple[ObjectInfo, Body]:
        attrs, body = await self._with_attrs(listed.key, 0, listed.size, listed.identity)
        return _told(listed, attrs), body

    async def _with_attrs(
        self, key: str, start: int, length: int | None, if_match: str | None
    ) -> tuple[asyncssh.SFTPAttrs, Body]:
        names = tree.split_key(self._name, key)
        try:
            return await self._tree.look(lambda: self._read(key, names, start, length, if_match))
        except FOREIGN as error:
            raise of_the_object(self._error("reading", key, error)) from error

    async def _read(
        self, key: str, names: tuple[str, ...], start: int, length: int | None, if_match: str | None
    ) -> tuple[asyncssh.SFTPAttrs, Body]:
        if not await self._tree.has_folder(names[:-1]):
            raise ObjectMissing(f"{self._name}: reading {plain(key, 300)}: no such file")
        async with asyncio.timeout(CALL_SECONDS + (length or 0) / _SLOWEST), self._tree.carrier(length or 0) as client:
            attrs, file = await self._open_file(client, key, names, is_listed=if_match is not None)
            async with _open_until_done(file):
                before = info(key, attrs)
                self._same(before, if_match)
                if start and start >= before.size and length != 0:
                    raise SourceChanged(f"{self._name}: {plain(key, 300)} has no byte {start}: it is {before.size} bytes")
                wanted = max(before.size - start, 0) if length is None else length
                body: Body = await read_range(file, start, wanted) if wanted else b""
            after, _ = await asyncio.gather(file.stat(), file.close())
        self._same(info(key, after), if_match or before.identity)
        if len(body) != wanted:
            raise ShortBody(f"{self._name}: reading {plain(key, 300)}: {len(body)} bytes came, {wanted} were asked for")
        return after, body

    async def _open_file(
        self, client: asyncssh.SFTPClient, key: str, names: tuple[str, ...], *, is_listed: bool
    ) -> tuple[asyncssh.SFTPAttrs, asyncssh.SFTPClientFile]:
        """A regular file, looked at and opened. What a listing gave as one is looked at while it is opened; anything else before:
        a server that opens a FIFO answers nothing more."""
        path = self._tree.path(names)
        looking = client.lstat(path)
        if not is_listed:
            attrs = self._regular(key, await looking)
            return attrs, await client.open(path, asyncssh.FXF_READ, encoding=None)
        seen, opened = await asyncio.gather(looking, client.open(path, asyncssh.FXF_READ, encoding=None), return_exceptions=True)
        try:
            if isinstance(seen, BaseException):
                raise seen
            attrs = self._regular(key, seen)
            if isinstance(opened, BaseException):
                raise opened
        except BaseException:
            if isinstance(opened, asyncssh.SFTPClientFile):
                await opened.close()
            raise
        return attrs, opened

    def _regular(self, key: str, attrs: asyncssh.SFTPAttrs) -> asyncssh.SFTPAttrs:
        if kind_of(attrs) != stat.S_IFREG:
            raise KeyRefused(f"{self._name}: {plain(key, 300)}: {kind_text(attrs)}")
        return attrs

    async def _content(self, path: bytes, most: int) -> bytes:
        """A small file, at most `most` bytes of it."""
        async with asyncio.timeout(CALL_SECONDS):
            client = await self._tree.client()
            async with client.open(path, asyncssh.FXF_READ, encoding=None) as file:
                return cast(bytes, await file.read(most, 0))

    def _same(self, found: ObjectInfo, if_match: str | None) -> None:
        if if_match and found.identity != if_match:
            raise SourceChanged(f"{self._name}: {plain(found.key, 300)} has changed since it was listed")

    async def write(
        self,
        key: str,
        body: Body,
        *,
        crc64nvme: str,
        like: ObjectInfo | None = None,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectInfo:
        names = tree.split_key(self._name, key)
        await self._check(key, body, crc64nvme)
        await check_target(self, key, if_match, if_absent)
        stamp = tree.stamp_of(like)
        async with self._writing(key, len(body)):
            try:
                attrs = await self._write(names, body, stamp)
            except FOREIGN as error:
                if not is_gone(error):
                    raise
                self._tree.look_again()  # a folder that stood has been removed since
                attrs = await self._write(names, body, stamp)
        return info(key, attrs)

    async def _write(self, names: tuple[str, ...], body: Body, stamp: tree.Stamp) -> asyncssh.SFTPAttrs:
        temporary = (tree.WORK, tree.new_whole())
        await self._tree.has_folder((tree.WORK,), make=True)
        await self._tree.has_folder(names[:-1], make=True)
        try:
            async with asyncio.timeout(CALL_SECONDS + len(body) / _SLOWEST):
                return await self._put(temporary, body, names, stamp)
        except BaseException:
            await self._forget(temporary)
            raise

    async def _put(
        self, temporary: tuple[str, ...], body: Body, names: tuple[str, ...] | None = None, stamp: tree.Stamp = tree.UNKNOWN
    ) -> asyncssh.SFTPAttrs:
        """A new file, moved to `names` where given. Three round trips: what needs no answer to go on is sent together."""
        client = await self._tree.client()
        attrs = asyncssh.SFTPAttrs(permissions=stamp.making.mode)
        file = await client.open(self._tree.path(temporary), _NEW, attrs, encoding=None)
        async with _open_until_done(file):
            if body:
                await write_range(file, 0, body)
        moved = [self._move_in(temporary, names)] if names is not None else []
        _, found, *_ = await asyncio.gather(self._stamp(file, stamp), file.stat(), file.close(), *moved)
        return cast(asyncssh.SFTPAttrs, found)

    async def _stamp(self, file: asyncssh.SFTPClientFile, stamp: tree.Stamp) -> None:
        """Time and rights of the file that this is a copy of. SFTP's version 3 tells seconds since 1970, in 32 bits."""
        attrs = asyncssh.SFTPAttrs()
        if stamp.mode is not None:
            attrs.permissions = stamp.mode
        if stamp.mtime_ns is not None and 0 <= (seconds := stamp.mtime_ns // 1_000_000_000) < 1 << 32:
            attrs.atime, attrs.mtime = int(time.time()), seconds
        if attrs.permissions is None and attrs.mtime is None:
            return
        try:
            await file.setstat(attrs)
        except _NOT_TAKEN:
            self._keeps_stamps = False

    async def create_upload(self, key: str, *, like: ObjectInfo | None = None) -> str:
        tree.split_key(self._name, key)
        upload = tree.new_upload()
        async with self._writing(key, 0):
            await self._tree.has_folder((tree.WORK,), make=True)
            async with asyncio.timeout(CALL_SECONDS):
                if like is not None:
                    await self._check_room(key, like.size)
                await self._put((tree.WORK, upload), b"", stamp=tree.stamp_of(like).making._replace(mtime_ns=None))
                await self._put((tree.WORK, upload + tree.LOG_SUFFIX), tree.log_head(key, await self._boot_id()))
        return upload

    async def write_part(self, key: str, upload: str, number: int, offset: int, body: Body, *, crc64nvme: str) -> PartInfo:
        name = tree.checked_upload(self._name, upload)
        await self._check(key, body, crc64nvme)
        data, log = self._tree.path((tree.WORK, name)), self._tree.path((tree.WORK, name + tree.LOG_SUFFIX))
        async with (
            self._writing(key, len(body), gone=self._gone(key)),
            asyncio.timeout(CALL_SECONDS + len(body) / _SLOWEST),
            self._tree.carrier(len(body)) as client,
        ):
            async with client.open(data, asyncssh.FXF_WRITE, encoding=None) as file:
                await write_range(file, offset, body)
                if not await self._boot_id():  # else what a power cut may have taken shows by another boot
                    await _sync(file)
            async with client.open(log, _APPEND, encoding=None) as file:
                await file.write(tree.log_line(number, offset, len(body), crc64nvme))
        return PartInfo(number, crc64nvme, len(body), crc64nvme)

    async def complete_upload(
        self,
        key: str,
        upload: str,
        parts: list[PartInfo],
        *,
        size: int,
        crc64nvme: str,
        like: ObjectInfo | None,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectInfo:
        names = tree.split_key(self._name, key)
        name = tree.checked_upload(self._name, upload)
        log = await self._log(upload)
        if log is None or log.key != key:
            raise self._gone(key)
        tree.check_complete(self._name, key, log, parts, size, crc64nvme)
        stamp = tree.stamp_of(like)
        async with self._writing(key, 0, gone=self._gone(key)):
            async with asyncio.timeout(CALL_SECONDS):
                client = await self._tree.client()
                async with client.open(self._tree.path((tree.WORK, name)), asyncssh.FXF_WRITE, encoding=None) as file:
                    if (await file.stat()).size != size:
                        await file.truncate(size)
                    await self._stamp(file, stamp.making)
                    await _sync(file)
                    attrs = await file.stat()
            await check_target(self, key, if_match, if_absent)
            await self._tree.has_folder(names[:-1], make=True)
            await self._move_in((tree.WORK, name), names)
            if stamp.is_locked:  # not before: whoever goes on after a death opens it
                await self._lock(names, stamp, attrs)
            await self._remove((tree.WORK, name + tree.LOG_SUFFIX))
        return info(key, attrs)

    async def _lock(self, names: tuple[str, ...], stamp: tree.Stamp, moved: asyncssh.SFTPAttrs) -> None:
        """Take the right to write from the owner of a file that was moved to its place, where it is that one still. Where that fails the copy is
        as good."""
        with contextlib.suppress(*FOREIGN):
            await self._tree.ask(lambda c: self._lock_by(c, names, stamp, moved))

    async def _lock_by(
        self, client: asyncssh.SFTPClient, names: tuple[str, ...], stamp: tree.Stamp, moved: asyncssh.SFTPAttrs
    ) -> None:
        async with client.open(self._tree.path(names), asyncssh.FXF_READ, encoding=None) as file:
            found = await file.stat()
            if (found.size, found.mtime, found.permissions) == (moved.size, moved.mtime, moved.permissions):
                await self._stamp(file, stamp)

    async def abort_upload(self, key: str, upload: str) -> None:
        if not tree.is_upload(upload):
            return
        try:
            for name in (upload, upload + tree.LOG_SUFFIX):
                await self._remove((tree.WORK, name))
        except FOREIGN as error:
            raise self._error("abandoning", key, error) from error

    async def list_uploads(self) -> list[tuple[str, str]]:
        try:
            names = await self._tree.ask(lambda c: c.listdir(self._tree.path((tree.WORK,))))
        except FOREIGN as error:
            if is_gone(error):
                return []
            raise self._error("listing uploads of", self._tree.root, error) from error
        texts = [n.decode("utf-8", "replace") if isinstance(n, bytes) else n for n in names]
        found = [(await self._log(upload), upload) for upload in sorted(texts) if tree.is_upload(upload)]
        return [(log.key, upload) for log, upload in found if log is not None]

    async def list_parts(self, key: str, upload: str) -> list[PartInfo] | None:
        log = await self._log(upload)
        if log is None or log.key != key:
            return None
        if log.boot and log.boot != await self._boot_id():
            return []  # written before a start of the host, and not synced: sent again, which costs no more than reading it
        return [part for _, (_, part) in sorted(log.parts.items())]

    async def delete(self, key: str) -> None:
        names = tree.split_key(self._name, key)
        try:
            if await self._tree.has_folder(names[:-1]):
                await self._remove(names)
        except KeyRefused:
            return  # as in `head`
        except FOREIGN as error:
            raise self._error("deleting", key, error) from error

    async def close(self) -> None:
        """The connection is the pool's and stays. An empty work folder is taken away."""
        if self._has_written:
            self._has_written = False
            await self._forget_work()

    async def __aenter__(self) -> SftpStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _log(self, upload: str) -> tree.UploadLog | None:
        """None where the upload is gone."""
        if not tree.is_upload(upload):
            return None
        try:
            if await self._tree.lstat((tree.WORK, upload)) is None:
                return None
            body = await self._content(self._tree.path((tree.WORK, upload + tree.LOG_SUFFIX)), _LOG_BYTES)
        except FOREIGN as error:
            if is_gone(error):
                return None
            raise self._error("reading", upload, error) from error
        return tree.parse_log(body)

    async def _move_in(self, temporary: tuple[str, ...], names: tuple[str, ...]) -> None:
        """Rename over what stands there; a folder of that name is `KeyRefused`."""
        old, new = self._tree.path(temporary), self._tree.path(names)
        try:
            await self._tree.ask(lambda c: c.posix_rename(old, new))
        except asyncssh.SFTPOpUnsupported:
            await self._remove(names)
            await self._tree.ask(lambda c: c.rename(old, new))
        except asyncssh.SFTPError:
            attrs = await self._tree.lstat(names)
            if attrs is not None and kind_of(attrs) == stat.S_IFDIR:
                raise KeyRefused(f"{self._name}: {plain('/'.join(names), 300)}: is a folder there") from None
            raise

    async def _remove(self, names: tuple[str, ...]) -> None:
        try:
            await self._tree.ask(lambda c: c.remove(self._tree.path(names)))
        except FOREIGN as error:
            if not is_gone(error):
                raise

    async def _forget(self, temporary: tuple[str, ...]) -> None:
        """After a failed write. What cannot be removed now is removed by `prepare` a day later."""
        with contextlib.suppress(*FOREIGN):
            await self._tree.ask(lambda c: c.remove(self._tree.path(temporary)), 5)

    @asynccontextmanager
    async def _writing(self, key: str, size: int, *, gone: StoreError | None = None) -> AsyncIterator[None]:
        """Errors of a write made ours. A bare `Failure` may be a full disk: the server is asked."""
        self._has_written = True
        try:
            yield
        except FOREIGN as error:
            if gone is not None and is_gone(error):
                raise gone from error
            found = self._error("writing", key, error)
            if is_gone(error):
                raise StoreUnreachable(found.message, hint="a folder on the way was removed meanwhile") from error
            if type(found) is StoreError and await self._is_full(size):
                raise StoreFull(found.message, hint="make room") from error
            raise found from error

    async def _boot_id(self) -> str:
        """Of the host's last start; "" where it does not tell, or not to us."""
        if self._boot is None:
            try:
                self._boot = (await self._content(tree.BOOT_ID.encode(), 64)).decode("ascii", "replace").strip()
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure, asyncssh.SFTPNoSuchPath):
                self._boot = ""
        return self._boot

    async def _check_room(self, key: str, size: int) -> None:
        try:
            space = await self._tree.ask(lambda c: c.statvfs(self._tree.path(())), 10)
        except asyncssh.SFTPError:
            return  # a server that does not tell
        tree.check_room(self._name, key, size, (space.bavail or 0) * (space.frsize or 0))

    async def _is_full(self, size: int) -> bool:
        try:
            space = await self._tree.ask(lambda c: c.statvfs(self._tree.path(())), 10)
        except FOREIGN:
            return False
        return (space.bavail or 0) * (space.frsize or 0) < size or (bool(space.files) and not space.favail)

    async def _check(self, key: str, body: Body, crc64nvme: str) -> None:
        if await crc64nvme_of(body) != crc64nvme:
            raise ChecksumRefused(f"{self._name}: {plain(key, 300)}: the bytes are not those that were read")

    def _gone(self, key: str) -> UploadGone:
        return UploadGone(f"{self._name}: the upload of {plain(key, 300)} is gone", hint="begin the upload anew")

    def _error(self, verb: str, key: str, error: BaseException) -> StoreError:
        return from_foreign(error, f"{self._name}: {verb} {plain(key, 300)}")


@asynccontextmanager
async def _open_until_done(file: asyncssh.SFTPClientFile) -> AsyncIterator[None]:
    """Close it where the block fails. Where it does not, the caller sends CLOSE together with what comes before and after it: once,
    in every case, since a server gives the number of a closed handle to the next file, which a second CLOSE would hit."""
    try:
        yield
    except BaseException:
        await file.close()
        raise


def _told(found: ObjectInfo, attrs: asyncssh.SFTPAttrs) -> ObjectInfo:
    """With what travels with it."""
    if attrs.permissions is None:
        return found
    seconds = attrs.mtime * 1_000_000_000 if attrs.mtime is not None else None
    return found._replace(metadata=tree.told_of(attrs.permissions, seconds if found.mtime_ns is None else found.mtime_ns))


async def _sync(file: asyncssh.SFTPClientFile) -> None:
    """To the disk, where the server knows how."""
    with contextlib.suppress(asyncssh.SFTPOpUnsupported):
        await file.fsync()
