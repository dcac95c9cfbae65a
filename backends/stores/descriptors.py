"""Files and folders by descriptors, never through a symlink, and the system's errors made ours."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from backends.stores.errors import (
    KeyRefused,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnreachable,
)
from backends.stores.tree import BOOT_ID

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_BYTES = 4 << 20
_NOT_TAKEN = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


def from_os(error: OSError, what: str) -> StoreError:
    """The operating system's error made ours."""
    text = f"{what}: {error.strerror or type(error).__name__}"
    match error.errno:
        case errno.ENOENT:
            return ObjectMissing(text)
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return StoreFull(text, hint="make room")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return StoreDenied(text, hint="look at the owner and rights of the folder")
        case errno.ELOOP | errno.ENOTDIR | errno.EISDIR | errno.EEXIST | errno.ENOTEMPTY:
            return KeyRefused(text, hint="a symlink, a file or a folder stands in the way of this name")
        case errno.ENAMETOOLONG | errno.EILSEQ | errno.EINVAL:
            return KeyRefused(text, hint="this file system cannot hold the name")
        case errno.EIO | errno.ESTALE | errno.EMFILE | errno.ENFILE:
            return StoreUnreachable(text)
        case _:
            return StoreError(text)


@contextlib.contextmanager
def opened(name: str, folder: int, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Never blocks on a FIFO, never follows a link."""
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_all(file: int, start: int, length: int) -> bytes:
    """Up to `length` bytes; fewer only at the file's end."""
    first = os.pread(file, length, start)
    if len(first) == length:
        return first
    pieces = [first]
    while pieces[-1]:
        start += len(pieces[-1])
        length -= len(pieces[-1])
        pieces.append(os.pread(file, length, start))
    return b"".join(pieces)


def write_all(file: int, body: bytes | memoryview, offset: int) -> None:
    view = memoryview(body)
    while view:
        done = os.pwrite(file, view, offset)
        view, offset = view[done:], offset + done


@cache
def boot_id() -> str:
    """Another after each start of the machine; "" where the system does not tell."""
    try:
        return Path(BOOT_ID).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def sync_file_system(descriptor: int) -> None:
    """All that was written to the file system of this file is on its disk. One call for any number of files."""
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:  # no Linux
        os.sync()
    elif syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def stamp(file: int, mode: int | None, mtime_ns: int | None) -> bool:
    """Give a file of ours rights and a time, where known. False where the file system does not take them, or not such ones."""
    taken = mode is None or _takes(os.fchmod, file, mode)
    return (mtime_ns is None or _takes(_set_time, file, mtime_ns)) and taken


def _set_time(file: int, mtime_ns: int) -> None:
    os.utime(file, ns=(time.time_ns(), mtime_ns))


def _takes(call: Callable[[int, int], None], file: int, value: int) -> bool:
    try:
        call(file, value)
    except OverflowError:
        return False
    except OSError as error:
        if error.errno not in _NOT_TAKEN:
            raise
        return False
    return True


def copy(name: str, source: int, new: str, target: int) -> None:
    """The file `name` of one folder as the new file `new` of another, with its time and rights, synced."""
    with opened(name, source) as file:
        of = os.fstat(file)
        out = os.open(new, NEW, stat.S_IMODE(of.st_mode), dir_fd=target)
        try:
            at = 0
            while piece := os.pread(file, _COPY_BYTES, at):
                write_all(out, piece, at)
                at += len(piece)
            stamp(out, stat.S_IMODE(of.st_mode), of.st_mtime_ns)
            os.fsync(out)
        finally:
            os.close(out)
