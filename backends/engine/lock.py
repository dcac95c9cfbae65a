"""One engine a migration: a lock in the state folder, held by the process. Local file systems only: on network ones flock may lie."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from backends.engine.errors import NetworkFolder, StateLocked

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "ceph", "glusterfs", "9p", "afs", "lustre", "fuse.s3fs"}


class StateLock:
    """Held from `take` to `release`, or to the end of the process."""

    def __init__(self, state: Path) -> None:
        self._path = state / "lock"
        self._fd: int | None = None

    def take(self, who: str) -> None:
        """Raises `StateLocked` naming the holder where somebody else has it."""
        kind = filesystem_of(self._path.parent)
        if kind in _NETWORK:
            raise NetworkFolder(
                f"the state folder is on {kind}", where=str(self._path.parent), hint="use --state on a local disk"
            )
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 200).decode("utf-8", "replace").strip() or "another process"
            os.close(fd)
            raise StateLocked(f"the migration is in use by {holder}", where=str(self._path)) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{who} (pid {os.getpid()})\n".encode())
        self._fd = fd

    def take_unseen(self) -> None:
        """The same without writing anything, for who only looks; where nobody has ever held it there is nothing to hold."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 200).decode("utf-8", "replace").strip() or "another process"
            os.close(fd)
            raise StateLocked(f"the migration is in use by {holder}", where=str(self._path)) from None
        self._fd = fd

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def is_locked(state: Path) -> bool:
    """Does a living process hold the folder?"""
    probe = StateLock(state)
    try:
        probe.take("a look")
    except StateLocked:
        return True
    probe.release()
    return False


def filesystem_of(path: Path) -> str:
    """The type of the file system that holds `path`, by the longest mount point in /proc/mounts; empty where unknown."""
    try:
        lines = Path("/proc/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    real, best, kind = str(path.resolve()), "", ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mount = fields[1].encode().decode("unicode_escape", "replace")
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, fields[2]
    return kind
