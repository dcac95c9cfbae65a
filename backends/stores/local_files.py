"""A local tree as blocking calls, for threads. Everything goes by folder descriptors from the root and never through a symlink.

The root itself may be a symlink: that is the operator's. Below it each name is opened with `O_NOFOLLOW`, so a link planted
in the tree cannot lead a read or a write out of it, not even one that is swapped in between two steps.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backends.escape import plain
from backends.stores import tree
from backends.stores.base import Body, ObjectInfo, PartInfo, Skipped, key_order
from backends.stores.checksum import crc64nvme as crc64nvme_of
from backends.stores.descriptors import NEW, boot_id, copy, from_os, opened, read_all, stamp, sync_file_system, write_all
from backends.stores.errors import (
    KeyRefused,
    ListingFailed,
    ShortBody,
    SourceChanged,
    StoreError,
    UploadGone,
    of_the_object,
)
from backends.stores.local_folders import LocalFolders


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a listing needs of a name: folders of a million are held whole."""

    name: str
    mode: int
    size: int
    mtime_ns: int

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


class PartOnDisk:
    """A part's place in the file of its upload, written in order.

    Whoever waits for the writing thread may be cancelled and close this while the thread is still at it: nothing is written after that,
    since the descriptor's number may be another file's by then.
    """

    def __init__(self, file: int, offset: int, error: Callable[[OSError], StoreError]) -> None:
        self._file = file
        self._offset = offset
        self._at = offset
        self._error = error
        self._lock = threading.Lock()
        self._is_closed = False

    def begin(self) -> None:
        self._at = self._offset

    def write(self, piece: memoryview) -> None:
        with self._lock:
            if self._is_closed:
                raise self._error(OSError(errno.EBADF, os.strerror(errno.EBADF)))
            try:
                write_all(self._file, piece, self._at)
            except OSError as error:
                raise self._error(error) from error
            self._at += len(piece)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            os.close(self._file)


class LocalFiles:
    """The tree below `root`. `store` is its name in messages."""

    def __init__(self, store: str, root: Path) -> None:
        self._store = store
        self._root = root
        self._folders = LocalFolders(store, root)
        self.keeps_stamps = True  # until the file system refuses one

    # -- listing

    def walk(self, start_after: str, skipped: list[Skipped]) -> Iterator[ObjectInfo]:
        """All files in the byte order of their keys. What is neither file nor folder is noted in `skipped`."""
        before = self._root_identity()
        yield from self._walk((), key_order(start_after), skipped)
        if self._root_identity() != before:
            raise ListingFailed(f"listing {self._store}: the root was replaced meanwhile: {plain(str(self._root))}")

    def _root_identity(self) -> tuple[int, int]:
        self._folders.begin(anew=True)
        status = os.fstat(self._folders.get(()))
        return status.st_dev, status.st_ino

    def _walk(self, folder: tuple[str, ...], after: bytes, skipped: list[Skipped]) -> Iterator[ObjectInfo]:
        base = "".join(f"{name}/" for name in folder)
        for entry in self._entries(folder, base):
            key = base + entry.name
            if entry.is_folder and len(folder) >= tree.DEEPEST:
                skipped.append(Skipped(key + "/", tree.TOO_DEEP))
            elif entry.is_folder:
                if not tree.is_whole_pruned(key_order(key + "/"), after):
                    yield from self._walk((*folder, entry.name), after, skipped)
            elif not stat.S_ISREG(entry.mode):
                skipped.append(Skipped(key, _kind(entry.mode)))
            elif key_order(key) > after:
                yield _object(key, entry.size, entry.mtime_ns)

    def _entries(self, folder: tuple[str, ...], base: str) -> list[_Entry]:
        """What is in a folder, in the order of its keys: a folder sorts by its name with the slash."""
        found: list[_Entry] = []
        try:
            self._folders.begin(anew=True)
            with os.scandir(self._folders.get(folder)) as entries:
                for entry in entries:
                    if tree.is_hidden(base + entry.name):
                        continue
                    with contextlib.suppress(FileNotFoundError):  # gone since: as if listed a moment later
                        status = entry.stat(follow_symlinks=False)
                        found.append(_Entry(entry.name, status.st_mode, status.st_size, status.st_mtime_ns))
        except FileNotFoundError as error:
            if not folder:
                raise self._listing(str(self._root), error) from error
            return []
        except OSError as error:
            raise self._listing(base, error) from error
        return sorted(found, key=lambda e: key_order(e.name + "/" if e.is_folder else e.name))

    def _listing(self, place: str, error: OSError) -> ListingFailed:
        reason = error.strerror or type(error).__name__
        return ListingFailed(f"listing {self._store}: {plain(place, 300)}: {reason}", hint="nothing is concluded from it")

    # -- reading

    def stat(self, key: str) -> ObjectInfo | None:
        names = tree.split_key(self._store, key)
        try:
            self._folders.begin(anew=True)
            status = os.stat(names[-1], dir_fd=self._folders.get(names[:-1]), follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._error("looking at", key, error) from error
        return _told(_info(key, status), status.st_mode) if stat.S_ISREG(status.st_mode) else None

    def read(self, key: str, start: int, length: int | None, if_match: str | None) -> bytes:
        """A range. The file is looked at before and after: one that changed under the read is `SourceChanged`."""
        return self._with_status(key, start, length, if_match)[1]

    def fetch(self, listed: ObjectInfo) -> tuple[ObjectInfo, bytes]:
        """The whole of the file that was listed, with its rights."""
        status, body = self._with_status(listed.key, 0, listed.size, listed.identity)
        return _told(listed, status.st_mode), body

    def _with_status(self, key: str, start: int, length: int | None, if_match: str | None) -> tuple[os.stat_result, bytes]:
        names = tree.split_key(self._store, key)
        try:
            return self._folders.within(lambda: self._read(key, names, start, length, if_match))
        except OSError as error:
            raise of_the_object(self._error("reading", key, error)) from error

    def _read(
        self, key: str, names: tuple[str, ...], start: int, length: int | None, if_match: str | None
    ) -> tuple[os.stat_result, bytes]:
        with opened(names[-1], self._folders.get(names[:-1])) as file:
            before = os.fstat(file)
            if not stat.S_ISREG(before.st_mode):
                raise KeyRefused(f"{self._store}: {plain(key, 300)}: {_kind(before.st_mode)}")
            self._same(key, before, if_match)
            if start >= before.st_size and start and length != 0:
                raise SourceChanged(f"{self._store}: {plain(key, 300)} has no byte {start}: it is {before.st_size} bytes")
            wanted = max(before.st_size - start, 0) if length is None else length
            body = read_all(file, start, wanted)
            after = os.fstat(file)
        self._same(key, after, if_match or _info(key, before).identity)
        if len(body) != wanted:
            raise ShortBody(f"{self._store}: reading {plain(key, 300)}: {len(body)} bytes came, {wanted} were asked for")
        return after, body

    def _same(self, key: str, status: os.stat_result, if_match: str | None) -> None:
        if if_match and _info(key, status).identity != if_match:
            raise SourceChanged(f"{self._store}: {plain(key, 300)} has changed since it was listed")

    # -- writing

    def prepare(self) -> None:
        """Make the root where absent, and forget single writes that a death left long ago."""
        try:
            os.mkdir(self._root)
        except FileExistsError:
            pass
        except OSError as error:
            raise self._error("making", str(self._root), error) from error
        self._folders.begin(anew=True)
        self._folders.get(())
        with contextlib.suppress(FileNotFoundError):
            work = self._folders.get((tree.WORK,))
            for name in os.listdir(work):
                if tree.is_whole(name) and time.time() - os.stat(name, dir_fd=work).st_ctime > tree.STALE_SECONDS:
                    os.unlink(name, dir_fd=work)

    def find_blindness(self) -> tuple[bool, bool]:
        """Whether names that differ in case, or in Unicode form, are one name here: found out with a file of our own."""
        name, other_case, other_form = tree.probe_names()
        try:
            self._folders.begin(anew=True)
            work = self._work()
            os.close(os.open(name, NEW, 0o644, dir_fd=work))
            try:
                return _stands(other_case, work), _stands(other_form, work)
            finally:
                os.unlink(name, dir_fd=work)
                self.tidy()
        except OSError as error:
            raise self._error("probing", str(self._root), error) from error

    def write(self, key: str, body: Body, like: tree.Stamp) -> ObjectInfo:
        """The whole file, appearing at once."""
        names = tree.split_key(self._store, key)
        try:
            status = self._folders.within(lambda: self._write(names, body, like))
        except OSError as error:
            raise self._error("writing", key, error) from error
        return _info(key, status)

    def _write(self, names: tuple[str, ...], body: Body, like: tree.Stamp) -> os.stat_result:
        work, temporary = self._work(), tree.new_whole()
        file = os.open(temporary, NEW, _mode(like), dir_fd=work)
        try:
            try:
                write_all(file, body, 0)
                self._stamp(file, like)
                status = os.fstat(file)
            finally:
                os.close(file)
            self._move_in(work, temporary, names)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=work)
            raise
        return status

    def _stamp(self, file: int, like: tree.Stamp) -> None:
        if not stamp(file, *like):
            self.keeps_stamps = False

    def create_upload(self, key: str, size: int | None, like: tree.Stamp) -> str:
        """Raises `StoreFull` at once where `size` bytes have no room: better than after an hour of writing."""
        tree.split_key(self._store, key)
        try:
            return self._folders.within(lambda: self._create(key, size, like))
        except OSError as error:
            raise self._error("beginning", key, error) from error

    def _create(self, key: str, size: int | None, like: tree.Stamp) -> str:
        work, upload = self._work(), tree.new_upload()
        if size is not None:
            room = os.fstatvfs(work)
            tree.check_room(self._store, key, size, room.f_bavail * room.f_frsize)
        os.close(os.open(upload, NEW, _mode(like), dir_fd=work))
        log = os.open(upload + tree.LOG_SUFFIX, NEW, 0o644, dir_fd=work)
        try:
            write_all(log, tree.log_head(key, boot_id()), 0)
        finally:
            os.close(log)
        return upload

    def write_part(self, key: str, upload: str, number: int, offset: int, body: Body, crc64nvme: str) -> PartInfo:
        """Nothing is synced here: what was written survives our death, and `parts` looks again after another boot."""
        with contextlib.closing(self.open_part(key, upload, offset)) as file:
            file.write(memoryview(body))
        return self.note_part(key, upload, number, offset, len(body), crc64nvme)

    def open_part(self, key: str, upload: str, offset: int) -> PartOnDisk:
        """The place of a part. To be closed."""
        name = tree.checked_upload(self._store, upload)
        try:
            work = self._folders.within(lambda: self._work_of(name))
            file = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=work)
        except FileNotFoundError as error:
            raise self._gone(key) from error
        except OSError as error:
            raise self._error("writing", key, error) from error
        return PartOnDisk(file, offset, lambda error: self._error("writing", key, error))

    def note_part(self, key: str, upload: str, number: int, offset: int, size: int, crc64nvme: str) -> PartInfo:
        """What `open_part` gave has been written."""
        name = tree.checked_upload(self._store, upload)
        try:
            work = self._folders.within(lambda: self._work_of(name))
            with opened(name + tree.LOG_SUFFIX, work, os.O_WRONLY | os.O_APPEND) as log:
                os.write(log, tree.log_line(number, offset, size, crc64nvme))
        except FileNotFoundError as error:
            raise self._gone(key) from error
        except OSError as error:
            raise self._error("writing", key, error) from error
        return PartInfo(number, crc64nvme, size, crc64nvme)

    def parts(self, key: str, upload: str) -> list[PartInfo] | None:
        """What arrived; None where the upload is gone. A log of another boot may claim what a power cut took: its parts are read
        and summed, and those that are not what it says are left out."""
        log = self.upload_log(upload)
        if log is None or log.key != key:
            return None
        claimed = [held for _, held in sorted(log.parts.items())]
        if log.boot and log.boot == boot_id():
            return [part for _, part in claimed]
        try:
            with opened(upload, self._folders.within(lambda: self._work_of(upload))) as file:
                return [part for offset, part in claimed if _is_there(file, offset, part)]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error("reading", key, error) from error

    def complete_upload(
        self, key: str, upload: str, parts: list[PartInfo], size: int, crc64nvme: str, like: tree.Stamp
    ) -> ObjectInfo:
        names = tree.split_key(self._store, key)
        name = tree.checked_upload(self._store, upload)
        log = self.upload_log(upload)
        if log is None or log.key != key:
            raise self._gone(key)
        tree.check_complete(self._store, key, log, parts, size, crc64nvme)
        try:
            work = self._folders.within(lambda: self._work_of(name))
            with opened(name, work, os.O_WRONLY) as file:
                os.ftruncate(file, size)
                self._stamp(file, like.making)
                os.fsync(file)
                status = os.fstat(file)
                self._move_in(work, name, names)
                if like.is_locked:  # not before: whoever goes on after a death opens it
                    self._stamp(file, like)
            os.unlink(name + tree.LOG_SUFFIX, dir_fd=work)
        except FileNotFoundError as error:
            raise self._gone(key) from error
        except OSError as error:
            raise self._error("completing", key, error) from error
        return _info(key, status)

    def abort_upload(self, upload: str) -> None:
        if not tree.is_upload(upload):
            return
        try:
            self._folders.begin(anew=True)
            work = self._work(make=False)
            for name in (upload, upload + tree.LOG_SUFFIX):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=work)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error("abandoning", upload, error) from error

    def uploads(self) -> list[tuple[str, str]]:
        try:
            self._folders.begin(anew=True)
            names = sorted(n for n in os.listdir(self._work(make=False)) if tree.is_upload(n))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._error("listing uploads of", str(self._root), error) from error
        logs = [(self.upload_log(name), name) for name in names]
        return [(log.key, name) for log, name in logs if log is not None]

    def upload_log(self, upload: str) -> tree.UploadLog | None:
        """None where the upload is gone."""
        if not tree.is_upload(upload):
            return None
        try:
            work = self._folders.within(lambda: self._work_of(upload))
            with opened(upload + tree.LOG_SUFFIX, work) as log:
                return tree.parse_log(read_all(log, 0, os.fstat(log).st_size))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error("reading", upload, error) from error

    def delete(self, key: str) -> None:
        names = tree.split_key(self._store, key)
        try:
            self._folders.begin(anew=True)
            os.unlink(names[-1], dir_fd=self._folders.get(names[:-1]))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._error("deleting", key, error) from error

    def sync(self) -> None:
        """All that was written to the file system of the root is on its disk when this returns."""
        self._folders.begin(anew=True)
        try:
            sync_file_system(self._folders.get(()))
        except OSError as error:
            raise self._error("syncing", str(self._root), error) from error

    def tidy(self) -> None:
        """Take the work folder away where nothing is left in it."""
        self._folders.begin(anew=True)
        with contextlib.suppress(OSError, StoreError):
            os.rmdir(tree.WORK, dir_fd=self._folders.get(()))

    def close(self) -> None:
        """When no thread works here any more."""
        self._folders.close()

    # -- folders

    def _work(self, *, make: bool = True) -> int:
        return self._folders.get((tree.WORK,), make=make)

    def _work_of(self, upload: str) -> int:
        """The work folder, if it holds this upload."""
        work = self._work(make=False)
        os.stat(upload, dir_fd=work, follow_symlinks=False)
        return work

    def _move_in(self, work: int, temporary: str, names: tuple[str, ...]) -> None:
        """Rename into place; where that is another file system, copy beside it first."""
        folder = self._folders.get(names[:-1], make=True)
        try:
            os.replace(temporary, names[-1], src_dir_fd=work, dst_dir_fd=folder)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            beside = tree.new_beside()
            copy(temporary, work, beside, folder)
            os.replace(beside, names[-1], src_dir_fd=folder, dst_dir_fd=folder)
            os.unlink(temporary, dir_fd=work)

    def _gone(self, key: str) -> UploadGone:
        return UploadGone(f"{self._store}: the upload of {plain(key, 300)} is gone", hint="begin the upload anew")

    def _error(self, verb: str, key: str, error: OSError) -> StoreError:
        return from_os(error, f"{self._store}: {verb} {plain(key, 300)}")


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return _object(key, status.st_size, status.st_mtime_ns)


def _mode(like: tree.Stamp) -> int:
    """Of a file in the making."""
    mode = like.making.mode
    return 0o644 if mode is None else mode


def _told(info: ObjectInfo, mode: int) -> ObjectInfo:
    """With what travels with it."""
    return info._replace(metadata=tree.told_of(mode, info.mtime_ns))


def _object(key: str, size: int, mtime_ns: int) -> ObjectInfo:
    return ObjectInfo(key, size, mtime=datetime.fromtimestamp(mtime_ns / 1e9, UTC), mtime_ns=mtime_ns)


def _kind(mode: int) -> str:
    return tree.KINDS.get(stat.S_IFMT(mode), tree.OTHER_KIND)


def _stands(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_there(file: int, offset: int, part: PartInfo) -> bool:
    return crc64nvme_of(read_all(file, offset, part.size)) == part.checksum
