"""Files on hosts, read whole for a comparison without a plan: `ssh://HOST/PATH`, over SFTP and no shell.

HOST is a host of the plan or an alias of the ssh_config. The last part of PATH may hold `*`, `?` and `[…]`: matched here, against the
names that the host lists; a file of that very name goes first. A file is read to the length that it had at the beginning, 4 MiB at a time.
"""

from __future__ import annotations

import asyncio
import fnmatch
import posixpath
import re
import stat
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import asyncssh

from backends.errors import UsageError
from backends.escape import plain
from backends.ssh.pool import SshPool
from backends.validation.errors import SourceUnreadable
from backends.validation.files import TIMEOUT, remote_path, unreadable

PIECE = 1 << 22
MOST_NAMES = 100_000  # of a folder that are looked at
MOST_FILES = 1000  # that a pattern may name
_WILD = re.compile(r"[*?[]")
Answer = TypeVar("Answer")


class FarFiles:
    """The files of a comparison that lie on hosts. Blocking: for code that runs no event loop of its own; used with `with`."""

    def __init__(self, pool: Callable[[], SshPool]) -> None:
        self._make_pool = pool
        self._pool: SshPool | None = None
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._pool is not None:
                self._runner.run(self._pool.close())
        finally:
            self._runner.close()

    def expand(self, source: str) -> list[str]:
        """The sources that a pattern names, in order of their names; one without wildcards is itself."""
        host, path = _parts(source)
        folder, name = posixpath.split(path)
        if not _WILD.search(name) or self._runner.run(self._kind(host, path, source)) is not None:
            return [source]
        found = fnmatch.filter(self._runner.run(self._names(host, folder, source)), name)
        if not found:
            raise SourceUnreadable(
                "no file of that pattern", where=plain(source), hint="the last part of the path may hold * and ?"
            )
        if len(found) > MOST_FILES:
            raise SourceUnreadable(f"more than {MOST_FILES} files of that pattern", where=plain(source), hint="narrow it")
        head = source.rpartition("/")[0]
        return [f"{head}/{quote(each, errors='surrogateescape')}" for each in sorted(found)]

    def files(self, source: str) -> list[str]:
        """The one file; of a folder TensorBoard's event files, in order of their names, which begin with the time."""
        host, path = _parts(source)
        if self._runner.run(self._kind(host, path, source)) != "folder":
            return [source]
        found = fnmatch.filter(self._runner.run(self._names(host, path, source)), "*tfevents*")
        if not found:
            raise SourceUnreadable("a folder without TensorBoard event files", where=plain(source), hint="name a file in it")
        return [f"{source.rstrip('/')}/{quote(each, errors='surrogateescape')}" for each in sorted(found)]

    def pieces(self, source: str, size: int) -> Iterator[bytes]:
        """The file's bytes, `size` at most a piece."""
        host, path = _parts(source)
        start, whole = 0, None
        while whole is None or start < whole:
            data, now = self._runner.run(
                self._read(host, path, start, PIECE if whole is None else min(PIECE, whole - start), source)
            )
            whole = now if whole is None else whole
            if not data and start < whole:
                raise SourceUnreadable("was cut while it was read", where=plain(source))
            for at in range(0, len(data), size):
                yield data[at : at + size]
            start += len(data)

    async def _kind(self, host: str, path: str, source: str) -> str | None:
        """`file`, `folder`, or None where there is nothing of that name."""
        try:
            about = await self._ask(host, source, lambda sftp: sftp.stat(path))
        except SourceUnreadable as error:
            if isinstance(error.__cause__, asyncssh.SFTPNoSuchFile):
                return None
            raise
        return "folder" if about.type == asyncssh.FILEXFER_TYPE_DIRECTORY else "file"

    async def _names(self, host: str, folder: str, source: str) -> list[str]:
        async def look(sftp: asyncssh.SFTPClient) -> list[str]:
            names: list[str] = []
            async for entry in sftp.scandir(folder or "."):
                name = entry.filename if isinstance(entry.filename, str) else entry.filename.decode("utf-8", "surrogateescape")
                if name not in (".", "..") and "/" not in name:
                    names.append(name)
                if len(names) > MOST_NAMES:
                    raise SourceUnreadable(f"a folder of more than {MOST_NAMES:,} names", where=plain(source))
            return names

        return await self._ask(host, source, look)

    async def _read(self, host: str, path: str, start: int, length: int, source: str) -> tuple[bytes, int]:
        async def read(sftp: asyncssh.SFTPClient) -> tuple[bytes, int]:
            about = await sftp.stat(path)  # before it is opened: a named pipe would keep the host waiting
            if about.permissions is not None and not stat.S_ISREG(about.permissions):
                raise SourceUnreadable("not a file", where=plain(source))
            async with sftp.open(path, "rb") as file:
                data = await file.read(length, start)
            return (data if isinstance(data, bytes) else data.encode()), about.size or 0

        return await self._ask(host, source, read)

    async def _ask(self, host: str, source: str, question: Callable[[asyncssh.SFTPClient], Awaitable[Answer]]) -> Answer:
        if self._pool is None:
            self._pool = self._make_pool()
        try:
            async with asyncio.timeout(TIMEOUT):
                return await question(await self._pool.sftp(host))
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise unreadable(error, plain(source)) from error


def _parts(source: str) -> tuple[str, str]:
    """(host, path there). Raises `UsageError` on what names neither."""
    place = source.removeprefix("ssh://").partition("/")[0]
    if not place or "@" in place or ":" in place:
        hint = "user and port belong to the plan's hosts or the ssh_config"
        raise UsageError("expected ssh://HOST/PATH with a bare host", where=plain(source, 200), hint=hint)
    path = source.removeprefix(f"ssh://{place}")
    if not path.strip("/"):
        raise UsageError("names no file", where=plain(source, 200), hint="ssh://HOST/PATH, or ssh://HOST/~/PATH below the home")
    return place, remote_path(path)
