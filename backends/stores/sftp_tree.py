"""Folders of a tree over SFTP: walking them in order, and reaching one without following a link.

SFTP has no descriptors of folders to go by, so each folder on the way is looked at by LSTAT once and refused when it is no real
folder. Someone who can write to the host's tree could still swap a folder for a link between two calls; what that can reach is
what the SSH user may reach anyway.
"""

from __future__ import annotations

import asyncio
import stat
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar, cast

import asyncssh

from backends.escape import plain
from backends.ssh.errors import SshError
from backends.ssh.pool import SshPool
from backends.ssh.sftp_session import round_trip
from backends.stores import tree
from backends.stores.base import ObjectInfo, Skipped, key_order
from backends.stores.errors import KeyRefused, ListingFailed, RootMissing
from backends.stores.sftp_errors import FOREIGN, from_foreign, is_cut, is_gone

T = TypeVar("T")
_Names = AsyncGenerator[asyncssh.SFTPName, None]

CALL_SECONDS = 60.0
_FOLDER_SECONDS = 300.0  # a folder of a million names
_LANES = 2  # connections that large bodies share
_LARGE = 1 << 20
_AHEAD = 8  # folders asked for before the walk comes to them: each costs four round trips


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a listing needs of a name: folders of a million are held whole, and asyncssh's own records are large."""

    name: str
    kind: int
    size: int
    mtime: int | None
    mtime_ns: int | None

    @property
    def is_folder(self) -> bool:
        return self.kind == stat.S_IFDIR


class SftpTree:
    """The tree below `root` on a host of the pool."""

    def __init__(self, store: str, pool: SshPool, host: str, root: str) -> None:
        self.store = store
        self.host = host
        self.root = root.rstrip("/") or "/"
        self._pool = pool
        self._known: set[tuple[str, ...]] = set()  # folders that were looked at
        self._last: asyncssh.SFTPClient | None = None
        self._lanes = [0] * _LANES  # bytes under way on each

    async def client(self, lane: int = 0) -> asyncssh.SFTPClient:
        """The session of a lane; of the first where no other is to be had."""
        if lane:
            try:
                return await self._pool.sftp(self.host, lane)
            except SshError:
                self._lanes = self._lanes[:1]  # a server may take one connection only
        client = await self._pool.sftp(self.host)
        self._last = client
        return client

    @asynccontextmanager
    async def carrier(self, size: int) -> AsyncIterator[asyncssh.SFTPClient]:
        """The session for a body of `size` bytes: for a large one that which has least to do."""
        lanes = self._lanes
        lane = lanes.index(min(lanes)) if size >= _LARGE else 0
        lanes[lane] += size
        try:
            yield await self.client(lane)
        finally:
            lanes[lane] -= size

    @property
    def latency(self) -> float | None:
        """The least seconds that the session has taken to answer."""
        return round_trip(self._last) if self._last is not None else None

    def path(self, names: tuple[str, ...]) -> bytes:
        """In bytes: names need not be UTF-8."""
        return "/".join((self.root.rstrip("/"), *names)).encode("utf-8", "surrogateescape") or b"/"

    async def ask(self, call: Callable[[asyncssh.SFTPClient], Awaitable[T]], seconds: float = CALL_SECONDS) -> T:
        """One call on the shared session, within its time."""
        async with asyncio.timeout(seconds):
            return await call(await self.client())

    async def look(self, call: Callable[[], Awaitable[T]]) -> T:
        """`call`, which changes nothing, and once more where its connection was cut. One that the pool keeps may have died
        unnoticed: who uses it first finds out, and a new one is made then. A host that is down refuses that one."""
        try:
            return await call()
        except FOREIGN as error:
            if not is_cut(error):
                raise
        return await call()

    # -- listing

    async def walk(self, start_after: str, skipped: list[Skipped]) -> AsyncGenerator[ObjectInfo, None]:
        """All files in the byte order of their keys."""
        self.look_again()
        await self._root_stands()
        after = key_order(start_after)
        async with aclosing(self._walk((), await self._entries(()), after, skipped)) as objects:
            async for found in objects:
                yield found
        await self._root_stands()

    async def _walk(
        self, folder: tuple[str, ...], entries: list[_Entry], after: bytes, skipped: list[Skipped]
    ) -> AsyncGenerator[ObjectInfo, None]:
        base = "".join(f"{name}/" for name in folder)
        async with aclosing(self._with_folders(folder, entries, after)) as each:
            async for entry, inside in each:
                key = base + entry.name
                if inside is not None:
                    async with aclosing(self._walk((*folder, entry.name), inside, after, skipped)) as objects:
                        async for found in objects:
                            yield found
                elif entry.is_folder:
                    skipped.append(Skipped(key + "/", tree.TOO_DEEP))
                elif entry.kind != stat.S_IFREG:
                    skipped.append(Skipped(key, tree.KINDS.get(entry.kind, tree.OTHER_KIND)))
                elif key_order(key) > after:
                    yield _object(key, entry.size, entry.mtime, entry.mtime_ns)

    async def _with_folders(
        self, folder: tuple[str, ...], entries: list[_Entry], after: bytes
    ) -> AsyncGenerator[tuple[_Entry, list[_Entry] | None], None]:
        """Each entry in order, a folder with what is in it, asked for ahead; None for what is not walked into."""
        base = key_order("".join(f"{name}/" for name in folder))
        wanted = [e for e in entries if not e.is_folder or not tree.is_whole_pruned(base + key_order(e.name + "/"), after)]
        is_deep = len(folder) >= tree.DEEPEST
        folders = iter([] if is_deep else [e for e in wanted if e.is_folder])
        asked: deque[asyncio.Task[list[_Entry]]] = deque()
        try:
            for entry in wanted:
                for ahead in islice(folders, _AHEAD - len(asked)):
                    asked.append(asyncio.create_task(self._entries((*folder, ahead.name)), name="sftp listing"))
                yield entry, await asked.popleft() if entry.is_folder and not is_deep else None
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _entries(self, folder: tuple[str, ...]) -> list[_Entry]:
        """What is in a folder, in the order of its keys: a folder sorts by its name with the slash."""
        base = "".join(f"{name}/" for name in folder)
        try:
            found = await self.look(lambda: self._scan(folder, base))
        except FOREIGN as error:
            if is_gone(error) and folder:
                return []  # gone since its parent was read: as if listed a moment later
            raise self._listing(base or self.root, error) from error
        found.sort(key=lambda e: key_order(e.name + "/" if e.is_folder else e.name))
        return found

    async def _scan(self, folder: tuple[str, ...], base: str) -> list[_Entry]:
        found: list[_Entry] = []
        async with asyncio.timeout(_FOLDER_SECONDS):
            client = await self.client()
            async with aclosing(cast(_Names, client.scandir(self.path(folder)))) as names:
                async for entry in names:
                    if (one := self._entry(base, entry)) is not None:
                        found.append(one)
        return found

    def _entry(self, base: str, entry: asyncssh.SFTPName) -> _Entry | None:
        name, attrs = _name(entry.filename), entry.attrs
        if name in ("", ".", "..") or tree.is_hidden(base + name):
            return None
        if "/" in name:
            raise ListingFailed(f"listing {self.store}: the server gave {plain(name)!r} as a name in {plain(base)!r}")
        return _Entry(name, kind_of(attrs), attrs.size or 0, attrs.mtime, attrs.mtime_ns)

    async def _root_stands(self) -> None:
        try:
            attrs = await self.look(lambda: self.ask(lambda c: c.stat(self.path(()))))
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
    return tree.KINDS.get(kind_of(attrs), tree.OTHER_KIND)


def info(key: str, attrs: asyncssh.SFTPAttrs) -> ObjectInfo:
    """SFTP's version 3 knows whole seconds only: `mtime_ns` is None then."""
    return _object(key, attrs.size or 0, attrs.mtime, attrs.mtime_ns)


def _object(key: str, size: int, mtime: int | None, mtime_ns: int | None) -> ObjectInfo:
    moment = datetime.fromtimestamp(mtime, UTC) if mtime is not None else None
    exact = mtime * 1_000_000_000 + mtime_ns if mtime is not None and mtime_ns is not None else None
    return ObjectInfo(key, size, mtime=moment, mtime_ns=exact)
