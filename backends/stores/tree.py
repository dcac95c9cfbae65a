"""What trees of files have in common, local and over SFTP: which keys they can hold, their order, and uploads in parts.

A key is a relative POSIX path. Names that are not UTF-8 are carried as lone surrogates, so nothing is lost and S3 can refuse
them by name. What is being written lies in `ROOT/.cutover/` until it is whole and is then renamed to its place: a reader never
sees half a file, and leftovers are in one folder that listings hide.

An upload in parts is a data file and, beside it, a log with one JSON line a part, added after the part's bytes: what the log
says has arrived, whoever died meanwhile. After a power cut it may claim more than reached the disk: it notes the boot of the machine,
and what another boot claims is looked at before it counts.

A copy has the time and the rights (`rwx`, no owner, no setuid) of the file it is made of. On their way through object stores they are user
metadata by the names and in the forms that rclone has (`rclone copy --metadata`): `mtime` in seconds, `mode` in octal. What comes from an object without
them has the object's time.
"""

from __future__ import annotations

import json
import re
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from backends.escape import plain
from backends.stores.base import Note, ObjectInfo, PartInfo
from backends.stores.checksum import combine_parts
from backends.stores.errors import ChecksumRefused, KeyRefused, StoreFull, UploadGone

WORK = ".cutover"  # the folder, below the root, of what is not whole yet
LOG_SUFFIX = ".log"
BOOT_ID = "/proc/sys/kernel/random/boot_id"  # of Linux: another after each start
DEEPEST = 200  # folders within folders; beyond, a path is too long anyway
TOO_DEEP = "is a folder too deep within others"
OTHER_KIND = "is no regular file"
KINDS = {
    stat.S_IFLNK: "is a symlink, which is not followed",
    stat.S_IFIFO: "is a FIFO",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
    stat.S_IFDIR: "is a folder",
    stat.S_IFREG: "is a file",
}
STALE_SECONDS = 86_400.0  # single writes that lie in the work folder for longer are nobody's any more
_UPLOAD = re.compile(r"upload-[0-9a-f]{24}")
_WHOLE = re.compile("whole-[0-9a-f]{24}(é|e\u0301)?")
_BESIDE = re.compile(r"\.cutover-whole-[0-9a-f]{24}")
_TIME = re.compile(r"(-?)(\d{1,11})(?:\.(\d{1,9}))?")
_MODE = re.compile(r"[0-7]{3,7}")
_RIGHTS = 0o777
_SECOND = 1_000_000_000
KEEPS_NO_STAMPS = Note("times_and_rights", "keeps no times or rights of files as they are told to it: copies have its own")
_LONGEST_NAME = 255
_LONGEST_PATH = 3800  # PATH_MAX is 4096, and the root stands before the key


def split_key(store: str, key: str) -> tuple[str, ...]:
    """The names on the way to a key. Raises `KeyRefused` for a key that a tree cannot hold safely."""
    names = tuple(key.split("/"))
    reason = _unfit(key, names)
    if reason:
        raise KeyRefused(f"{store}: {plain(key, 300)!r}: {reason}", hint="rename it, or move it to an object store")
    return names


def can_hold(key: str) -> bool:
    """May a tree have a file of this key?"""
    return not _unfit(key, tuple(key.split("/")))


def _unfit(key: str, names: tuple[str, ...]) -> str:
    if not key or key.startswith("/"):
        return "a tree needs a relative path"
    if key.endswith("/"):
        return "a folder marker is no file"
    if any(name in ("", ".", "..") for name in names):
        return "a tree cannot hold empty names, `.` or `..`"
    if "\0" in key:
        return "a tree cannot hold a NUL"
    if names[0] == WORK:
        return f"{WORK} is the folder of what is being written"
    try:
        sizes = [len(name.encode("utf-8", "surrogateescape")) for name in names]
    except UnicodeEncodeError:
        return "the name has no bytes"
    if max(sizes) > _LONGEST_NAME or sum(sizes) + len(sizes) > _LONGEST_PATH:
        return "the name is too long for a tree"
    return ""


class Stamp(NamedTuple):
    """What a file gets of the one that it is a copy of; None: not known. `mode` has the rights only."""

    mode: int | None = None
    mtime_ns: int | None = None

    @property
    def making(self) -> Stamp:
        """While it is made: no more than it will have but for its owner, who goes on with it after a death."""
        return self if self.mode is None else Stamp(self.mode | stat.S_IRUSR | stat.S_IWUSR, self.mtime_ns)

    @property
    def is_locked(self) -> bool:
        """Not even its owner writes it."""
        return self.mode is not None and not self.mode & stat.S_IWUSR


UNKNOWN = Stamp()


def told_of(mode: int, mtime_ns: int | None) -> dict[str, str]:
    """A file's time and mode as an object's user metadata."""
    told = {"mode": f"{mode & 0o177777:07o}"}
    if mtime_ns is not None:
        seconds, rest = divmod(abs(mtime_ns), _SECOND)
        told["mtime"] = f"{'-' if mtime_ns < 0 else ''}{seconds}.{rest:09}"
    return told


def stamp_of(like: ObjectInfo | None) -> Stamp:
    """Of what a file is a copy of: a file, or an object, whose metadata may say anything. Its owner may always read it: else nobody could
    prove what arrived."""
    if like is None:
        return UNKNOWN
    mode = like.metadata.get("mode", "")
    rights = None
    if _MODE.fullmatch(mode) and stat.S_IFMT(int(mode, 8)) in (0, stat.S_IFREG):
        rights = int(mode, 8) & _RIGHTS | stat.S_IRUSR
    return Stamp(rights, _time_of(like))


def _time_of(like: ObjectInfo) -> int | None:
    if like.mtime_ns is not None:
        return like.mtime_ns
    if found := _TIME.fullmatch(like.metadata.get("mtime", "")):
        time = int(found[2]) * _SECOND + int((found[3] or "").ljust(9, "0"))
        return -time if found[1] else time
    return round(like.mtime.timestamp() * 1e6) * 1000 if like.mtime is not None else None


def is_whole_pruned(folder: bytes, start_after: bytes) -> bool:
    """Nothing below `folder` (with its slash) comes after `start_after`."""
    return folder < start_after and not start_after.startswith(folder)


def new_upload() -> str:
    return f"upload-{secrets.token_hex(12)}"


def new_whole() -> str:
    return f"whole-{secrets.token_hex(12)}"


def probe_names() -> tuple[str, str, str]:
    """A single write's name, the same in other case, and the same in another Unicode form: equal only to a file system that is
    blind to it."""
    name = new_whole()
    return f"{name}\u00e9", f"{name.upper()}\u00e9", f"{name}e\u0301"


def new_beside() -> str:
    """The name of a copy beside its place, where the work folder is on another file system."""
    return f"{WORK}-whole-{secrets.token_hex(12)}"


def is_hidden(key: str) -> bool:
    """Ours, and no object: the work folder, or a copy that is being made beside its place."""
    return key == WORK or _BESIDE.fullmatch(key.rpartition("/")[2]) is not None


def is_upload(name: str) -> bool:
    return _UPLOAD.fullmatch(name) is not None


def is_whole(name: str) -> bool:
    """A single write in the making, or what a death left of one."""
    return _WHOLE.fullmatch(name) is not None


def checked_upload(store: str, upload: str) -> str:
    """The id as a file's name; ids come back from an index, so they are looked at."""
    if not is_upload(upload):
        raise UploadGone(f"{store}: {plain(upload, 60)!r} is no upload of a tree", hint="begin the upload anew")
    return upload


@dataclass(frozen=True, slots=True)
class UploadLog:
    """What the log of an upload says: whose it is, and which parts are there (number -> offset and part)."""

    key: str
    parts: dict[int, tuple[int, PartInfo]]
    boot: str = ""  # the start of the machine under which it was begun; "" where nobody knows


def log_head(key: str, boot: str = "") -> bytes:
    return (json.dumps({"key": key, "boot": boot}) + "\n").encode("ascii")


def log_line(number: int, offset: int, size: int, crc64nvme: str) -> bytes:
    line = {"number": number, "offset": offset, "size": size, "crc64nvme": crc64nvme}
    return (json.dumps(line) + "\n").encode("ascii")


def parse_log(data: bytes) -> UploadLog | None:
    """None where the head is not whole. A last line that broke off is a part that did not arrive."""
    lines = data.split(b"\n")[:-1]
    if not lines:
        return None
    try:
        head = json.loads(lines[0])
        key, boot = head["key"], head.get("boot", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(key, str) or not isinstance(boot, str):
        return None
    parts: dict[int, tuple[int, PartInfo]] = {}
    for line in lines[1:]:
        try:
            said = json.loads(line)
            number, offset, size, crc = said["number"], said["offset"], said["size"], said["crc64nvme"]
        except (ValueError, KeyError, TypeError):
            continue
        if all(isinstance(n, int) for n in (number, offset, size)) and isinstance(crc, str):
            parts[number] = (offset, PartInfo(number, crc, size, crc))
    return UploadLog(key, parts, boot)


def check_room(store: str, key: str, size: int, free: int) -> None:
    """Raises `StoreFull`, with figures, where `size` bytes have no room."""
    if size > free:
        raise StoreFull(f"{store}: {plain(key, 300)} has no room: {size:,} bytes, and {free:,} are free", hint="make room")


def check_complete(store: str, key: str, log: UploadLog, parts: Iterable[PartInfo], size: int, crc64nvme: str) -> None:
    """The parts named are those that arrived, they join without a gap, and their sums make the whole's."""
    end = 0
    sums: list[tuple[str, int]] = []
    for part in sorted(parts, key=lambda p: p.number):
        there = log.parts.get(part.number)
        if there is None or there[0] != end or there[1].size != part.size:
            raise UploadGone(f"{store}: part {part.number} of {plain(key, 300)} is not there", hint="send it again")
        sums.append((there[1].checksum, part.size))
        end += part.size
    if end != size:
        raise UploadGone(f"{store}: the parts of {plain(key, 300)} are {end} bytes, not {size}", hint="begin the upload anew")
    if combine_parts(sums) != crc64nvme:
        raise ChecksumRefused(f"{store}: {plain(key, 300)}: the parts that arrived are not the object that was read")
