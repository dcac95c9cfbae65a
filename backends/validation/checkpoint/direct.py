"""Large reads past the page cache: no copy by the kernel, and a host that trains keeps what it has cached.

What lies in the cache already is taken from there.
"""

from __future__ import annotations

import errno
import mmap
import os
from random import Random

SECTOR = 4096  # bytes: addresses, lengths and places in memory are multiples of it
LEAST = 1 << 18  # bytes: a smaller read is not worth it
_CHANCE = Random()


def room(length: int) -> memoryview:
    """Memory for `length` bytes from anywhere in a file."""
    return memoryview(mmap.mmap(-1, -(-length // SECTOR) * SECTOR + SECTOR))


def open_direct(handle: int) -> int | None:
    """The same open file past the cache; None where its file system has no such thing."""
    flag = getattr(os, "O_DIRECT", 0)
    try:
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC | flag) if flag else None
    except OSError:
        return None


def read_direct(handle: int, start: int, length: int, place: memoryview) -> memoryview | None:
    """`length` bytes, fewer where the file ends before, as a part of `place`, which `room` made. None where the file system wants other
    multiples. Raises OSError. Blocking."""
    skip = start % SECTOR
    end = -(-(skip + length) // SECTOR) * SECTOR
    done = 0
    try:
        while done < skip + length:
            count = os.preadv(handle, [place[done:end]], start - skip + done)
            done += count
            if not count or done % SECTOR:  # the file's end
                break
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return None
    return place[skip : min(skip + length, done)]


def is_cached(handle: int, start: int, length: int) -> bool:
    """Does a page of it, drawn anew each time, come without waiting? A page that was missing is read by the question: asked again it would be there."""
    try:
        return bool(os.preadv(handle, [bytearray(1)], start + _CHANCE.randrange(length), os.RWF_NOWAIT))
    except OSError:
        return False
