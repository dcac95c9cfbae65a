"""Space that is kept for the way back: a file beside the journal, given up when the disk is full so that a rollback can still be written down."""

from __future__ import annotations

import os
from pathlib import Path

SIZE = 8 << 20  # a rollback writes some hundred kilobytes; SQLite's log beside it grows to 4 MiB before it is folded in


def reserve_of(state: Path) -> Path:
    return state / "journal.reserve"


def keep(state: Path) -> bool:
    """Make the file, really allocated, where there is room for twice as much; True where it is there. Blocking."""
    path = reserve_of(state)
    try:
        if path.is_file() and path.stat().st_size == SIZE:
            return True
        found = os.statvfs(state)
        if found.f_bavail * found.f_frsize < 2 * SIZE:
            return False
        new = path.with_suffix(".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, SIZE)
        finally:
            os.close(fd)
        new.replace(path)
    except OSError:
        return False
    return True


def release(state: Path) -> bool:
    """Give the space back; False where there was none."""
    try:
        reserve_of(state).unlink()
    except OSError:
        return False
    return True
