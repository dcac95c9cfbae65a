"""Pieces of files, on this machine or on a host over SFTP, for tailing. Each read opens the file anew: a file that was
moved away (rotation) must not be read on under its old name.

SFTP version 3 (draft-ietf-secsh-filexfer-02) tells no inode: there the identity is empty and the feed looks at the content.
"""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import asyncssh

from backends.errors import NotYetSupported
from backends.escape import plain
from backends.validation.errors import SourceUnreadable

TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes from an offset on; `size` of the whole file; `identity` changes when another file has the name (may be
    empty: not known); `modified` unix seconds by the file's own host."""

    data: bytes
    size: int
    identity: str = ""
    modified: float | None = None


class SftpSource(Protocol):
    """What is needed of `backends.ssh.pool.SshPool`."""

    async def sftp(self, host: str) -> asyncssh.SFTPClient:
        """A shared SFTP client of the host."""


class FileReader:
    """Reads pieces of `ssh://host/path`, `file:///path` or a plain path (relative to `base`)."""

    def __init__(self, pool: SftpSource | None = None, *, base: Path | None = None) -> None:
        self._pool = pool
        self._base = base or Path()

    async def read_from(self, url: str, offset: int, limit: int) -> Chunk:
        """At most `limit` bytes from `offset` on. Raises `SourceUnreadable`, or the pool's errors."""
        parts = urlsplit(url)
        if parts.scheme == "ssh":
            return await self._read_remote(parts.hostname or "", remote_path(parts.path), offset, limit, url)
        if parts.scheme not in ("", "file"):
            raise NotYetSupported(f"sources of kind `{plain(parts.scheme, 40)}` are not yet supported", where=plain(url))
        path = Path(unquote(parts.path)) if parts.scheme else Path(url)
        return await asyncio.to_thread(_read_local, self._base / path.expanduser(), offset, limit)

    async def _read_remote(self, host: str, path: str, offset: int, limit: int, url: str) -> Chunk:
        if self._pool is None:
            raise SourceUnreadable("no SSH here to read it with", where=plain(url))
        try:
            async with asyncio.timeout(TIMEOUT):
                sftp = await self._pool.sftp(host)
                async with sftp.open(path, "rb") as file:
                    about = await file.stat()
                    data = await file.read(limit, offset) if (about.size or 0) > offset else b""
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise unreadable(error, plain(url)) from error
        modified = float(about.mtime) if about.mtime is not None else None
        if isinstance(data, str):  # cannot be: opened as bytes
            data = data.encode()
        return Chunk(data, about.size or 0, "", modified)


def remote_path(path: str) -> str:
    """The path on the host: absolute, `/~/x` relative to the login's home."""
    path = unquote(path)
    return path[3:] if path.startswith("/~/") else path


def unreadable(error: Exception, where: str) -> SourceUnreadable:
    """Why a file could not be read, in our words."""
    if isinstance(error, asyncssh.SFTPNoSuchFile | FileNotFoundError):
        return SourceUnreadable("there is no such file", where=where, hint="is the workload writing it there?")
    if isinstance(error, asyncssh.SFTPPermissionDenied | PermissionError):
        return SourceUnreadable("reading it is denied", where=where, hint="let the login read the file")
    if isinstance(error, TimeoutError):
        return SourceUnreadable(f"no answer within {TIMEOUT:g} s", where=where)
    return SourceUnreadable(f"cannot read it: {plain(str(error), 200)}", where=where)


def _read_local(path: Path, offset: int, limit: int) -> Chunk:
    try:
        # Without O_NONBLOCK a named pipe would keep the thread until somebody writes to it.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                raise SourceUnreadable("not a file", where=plain(str(path)))
            data = os.pread(handle, limit, offset) if about.st_size > offset else b""
        finally:
            os.close(handle)
    except OSError as error:
        raise unreadable(error, plain(str(path))) from error
    return Chunk(data, about.st_size, f"{about.st_dev}:{about.st_ino}", about.st_mtime)
