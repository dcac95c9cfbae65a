"""Folders of a tree over SFTP: walking them in order, and reaching one without following a link.

SFTP has no descriptors of folders to go by, so each folder on the way is looked at by LSTAT once and refused when it is no real
folder. Someone who can write to the host's tree could still swap a folder for a link between two calls; what that can reach is
what the SSH user may reach anyway.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import asyncssh

from backends.escape import plain
from backends.ssh.pool import SshPool
from backends.stores import tree
from backends.stores.base import ObjectInfo, Skipped, key_order
from backends.stores.errors import KeyRefused, ListingFailed, RootMissing
from backends.stores.sftp_errors import FOREIGN, from_foreign, is_gone

T = TypeVar("T")

CALL_SECONDS = 60.0
_FOLDER_SECONDS = 300.0  # a folder of a million names
_KINDS = {
    stat.S_IFLNK: "is a symlink, which is not followed",
    stat.S_IFIFO: "is a FIFO",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
    stat.S_IFDIR: "is a folder",
    stat.S_IFREG: "is a file",
}


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    attrs: asyncssh.SFTPAttrs

    @property
    def is_folder(self) -> bool:
        return kind_of(self.attrs) == stat.S_IFDIR


class SftpTree:
    """The tree below `root` on a host of the pool."""

    def __init__(self, store: str, pool: SshPool, host: str, root: str) -> None:
        self.store = store
        self.host = host
        self.root = root.rstrip("/") or "/"
        self._pool = pool
        self._known: set[tuple[str, ...]] = set()  # folders that were looked at

    async def client(self) -> asyncssh.SFTPClient:
        return await self._pool.sftp(self.host)

    def path(self, names: tuple[str, ...]) -> bytes:
        """In bytes: names need not be UTF-8."""
        return "/".join((self.root.rstrip("/"), *names)).encode("utf-8", "surrogateescape") or b"/"

    async def ask(self, call: Callable[[asyncssh.SFTPClient], Awaitable[T]], seconds: float = CALL_SECONDS) -> T:
        """One call on the shared session, within its time."""
        async with asyncio.timeout(seconds):
            return await call(await self.client())

    # -- listing

    async def walk(self, start_after: str, skipped: list[Skipped]) -> AsyncIterator[ObjectInfo]:
        """All files in the byte order of their keys."""
        self.look_again()
        await self._root_stands()
        async for found in self._walk((), key_order(start_after), skipped):
            yield found
        await self._root_stands()

    async def _walk(self, folder: tuple[str, ...], after: bytes, skipped: list[Skipped]) -> AsyncIterator[ObjectInfo]:
        base = "".join(f"{name}/" for name in folder)
        for entry in await self._entries(folder, base):
            key = base + entry.name
            if entry.is_folder:
                if not tree.is_whole_pruned(key_order(key + "/"), after):
                    async for found in self._walk((*folder, entry.name), after, skipped):
                        yield found
            elif kind_of(entry.attrs) != stat.S_IFREG:
                skipped.append(Skipped(key, kind_text(entry.attrs)))
            elif key_order(key) > after:
                yield info(key, entry.attrs)

    async def _entries(self, folder: tuple[str, ...], base: str) -> list[_Entry]:
        """What is in a folder, in the order of its keys: a folder sorts by its name with the slash."""
        try:
            listed = await self.ask(lambda c: c.readdir(self.path(folder)), _FOLDER_SECONDS)
        except FOREIGN as error:
            if is_gone(error) and folder:
                return []  # gone since its parent was read: as if listed a moment later
            raise self._listing(base or self.root, error) from error
        found = []
        for entry in listed:
            name = _name(entry.filename)
            if name in ("", ".", "..") or tree.is_hidden(base + name):
                continue
            if "/" in name:
                raise ListingFailed(f"listing {self.store}: the server gave {plain(name)!r} as a name in {plain(base)!r}")
            found.append(_Entry(name, entry.attrs))
        found.sort(key=lambda e: key_order(e.name + "/" if e.is_folder else e.name))
        return found

    async def _root_stands(self) -> None:
        try:
            attrs = await self.ask(lambda c: c.stat(self.path(())))
        except FOREIGN as error:
            raise self._listing(self.root, error) from error
        if kind_of(attrs) != stat.S_IFDIR:
            raise RootMissing(f"{self.store}: {plain(self.root)} on {plain(self.host)} is no folder")

    def _listing(self, place: str, error: BaseException) -> ListingFailed:
        found = from_foreign(error, f"listing {self.store}: {plain(place, 300)}")
        if is_gone(error):
            return RootMissing(found.message, hint="a missing folder is not an empty one: make it, or mount it")
        return ListingFailed(found.message, hint=found.hint or "nothing is concluded from it")

    # -- folders

    async def lstat(self, names: tuple[str, ...]) -> asyncssh.SFTPAttrs | None:
        """None where there is nothing of that name. Raises foreign errors."""
        try:
            return await self.ask(lambda c: c.lstat(self.path(names)))
        except FOREIGN as error:
            if is_gone(error):
                return None
            raise

    def look_again(self) -> None:
        """Forget which folders stood."""
        self._known.clear()

    async def has_folder(self, names: tuple[str, ...], *, make: bool = False) -> bool:
        """Whether each of these folders is a real one; made where absent and asked for. A link or file is `KeyRefused`."""
        for depth in range(len(names)):
            part = names[: depth + 1]
            if part in self._known:
                continue
            attrs = await self.lstat(part)
            if attrs is None and make:
                attrs = await self._make(part)
            if attrs is None:
                return False
            if kind_of(attrs) != stat.S_IFDIR:
                shown = plain("/".join(part), 300)
                raise KeyRefused(f"{self.store}: {shown}: {kind_text(attrs)}", hint="it stands in the way of a folder")
            self._known.add(part)
        return True

    async def _make(self, names: tuple[str, ...]) -> asyncssh.SFTPAttrs | None:
        try:
            await self.ask(lambda c: c.mkdir(self.path(names)))
        except asyncssh.SFTPError:
            attrs = await self.lstat(names)  # another task may have made it meanwhile
            if attrs is None:
                raise
            return attrs
        return await self.lstat(names)


def _name(filename: bytes | str) -> str:
    return filename if isinstance(filename, str) else filename.decode("utf-8", "surrogateescape")


def kind_of(attrs: asyncssh.SFTPAttrs) -> int:
    """The `S_IF…` of a file; 0 where the server does not tell."""
    return stat.S_IFMT(attrs.permissions) if attrs.permissions is not None else 0


def kind_text(attrs: asyncssh.SFTPAttrs) -> str:
    return _KINDS.get(kind_of(attrs), "is no regular file")


def info(key: str, attrs: asyncssh.SFTPAttrs) -> ObjectInfo:
    """SFTP's version 3 knows whole seconds only: `mtime_ns` is None then."""
    moment = datetime.fromtimestamp(attrs.mtime, UTC) if attrs.mtime is not None else None
    exact = attrs.mtime * 1_000_000_000 + attrs.mtime_ns if attrs.mtime is not None and attrs.mtime_ns is not None else None
    return ObjectInfo(key, attrs.size or 0, mtime=moment, mtime_ns=exact)
