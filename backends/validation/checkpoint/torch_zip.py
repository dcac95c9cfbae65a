"""PyTorch's zip files (`torch.save` since 1.6): `NAME/data.pkl` holds the table, `NAME/data/KEY` the bytes of each storage, stored
as they are. The zip index comes from the file's end, the table from the pickle (`pickled`), the bytes are never loaded to list them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from backends.escape import plain
from backends.validation.checkpoint.pickled import MOST_PICKLE
from backends.validation.errors import CheckpointRefused

Read = Callable[[int, int], Awaitable[bytes]]  # (start, length) of the file

MAGIC = b"PK\x03\x04"
_END, _END64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_TAIL = 22 + 65535 + 20 + 56  # bytes: the end record with its longest comment, and what ZIP64 puts before it
MOST_INDEX = 64 << 20  # bytes
MOST_MEMBERS = 1_000_000
_LOCAL = 30  # bytes of a member's own header, without name and extra field


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes of a storage in the file."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Archive:
    """The pickle, and by key where each storage's own header begins and how many bytes it has."""

    pickle: bytes
    members: dict[str, zipfile.ZipInfo]

    def member(self, key: str, where: str) -> zipfile.ZipInfo:
        found = self.members.get(key)
        if found is None:
            raise CheckpointRefused(f"storage {plain(key, 60)} is not in the file", where=where)
        return found


class _Sparse(io.RawIOBase):
    """A file of which only the end is here."""

    def __init__(self, size: int, tail: bytes, where: str) -> None:
        self._size = size
        self._tail = tail
        self._where = where
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("before the file's beginning")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        start = self._at - (self._size - len(self._tail))
        if start < 0:
            raise CheckpointRefused("its zip index points outside itself", where=self._where)
        data = self._tail[start:] if size is None or size < 0 else self._tail[start : start + size]
        self._at += len(data)
        return data


async def read_archive(read: Read, size: int, where: str) -> Archive:
    """Index and pickle of a file of `size` bytes. Raises `CheckpointRefused`."""
    tail = await read(max(0, size - _TAIL), min(size, _TAIL))
    begin = _index_start(tail, size, where)
    if begin < size - len(tail):
        if size - begin > MOST_INDEX:
            raise CheckpointRefused(f"a zip index of {size - begin:,} bytes; {MOST_INDEX:,} are read", where=where)
        tail = await read(begin, size - begin)
    try:
        with zipfile.ZipFile(_Sparse(size, tail, where)) as opened:
            infos = opened.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointRefused(f"no whole zip file: {plain(str(error), 100)}", where=where) from error
    return await _archive(read, size, infos, where)


async def _archive(read: Read, size: int, infos: list[zipfile.ZipInfo], where: str) -> Archive:
    if len(infos) > MOST_MEMBERS:
        raise CheckpointRefused(f"{len(infos):,} members; {MOST_MEMBERS:,} are read", where=where)
    pickles = [info for info in infos if info.filename.partition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        hint = "torch.save writes one; TorchScript archives and other zip files are not read"
        raise CheckpointRefused(f"{len(pickles)} members called data.pkl", where=where, hint=hint)
    root = pickles[0].filename[: -len("data.pkl")]
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        _check_member(info, size, where)
        if info.filename == f"{root}byteorder":
            order = await _content(read, info, size, where, most=16)
            if order.strip() != b"little":
                raise CheckpointRefused(f"bytes in order {plain(order, 16)}; little is read", where=where)
        elif info.filename.startswith(f"{root}data/"):
            key = info.filename[len(root) + 5 :]
            if key in members:
                raise CheckpointRefused(f"storage {plain(key, 60)} is there twice", where=where)
            members[key] = info
    return Archive(await _content(read, pickles[0], size, where, most=MOST_PICKLE), members)


def _index_start(tail: bytes, size: int, where: str) -> int:
    """Where the zip's central directory begins, by its end records."""
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        hint = "torch files from before 1.6 are no zip files: load and save them anew"
        raise CheckpointRefused("no zip file", where=where, hint=hint)
    begin = int.from_bytes(tail[at + 16 : at + 20], "little")
    locator = at - 20
    if locator >= 0 and tail[locator : locator + 4] == _LOCATOR:
        record = int.from_bytes(tail[locator + 8 : locator + 16], "little") - (size - len(tail))
        if record < 0 or tail[record : record + 4] != _END64:
            raise CheckpointRefused("its zip index points outside itself", where=where)
        begin = int.from_bytes(tail[record + 48 : record + 56], "little")
    if begin > size:
        raise CheckpointRefused("its zip index points outside itself", where=where)
    return begin


def _check_member(info: zipfile.ZipInfo, size: int, where: str) -> None:
    name = plain(info.filename, 100)
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise CheckpointRefused(f"{name} is compressed, which torch.save never does", where=where)
    if info.flag_bits & 1:
        raise CheckpointRefused(f"{name} is encrypted", where=where)
    if info.header_offset < 0 or info.header_offset + _LOCAL + info.file_size > size:
        raise CheckpointRefused(f"{name} ends after the file: cut short?", where=where)


async def _content(read: Read, info: zipfile.ZipInfo, size: int, where: str, *, most: int) -> bytes:
    if info.file_size > most:
        raise CheckpointRefused(f"{plain(info.filename, 60)} has {info.file_size:,} bytes; {most:,} are read", where=where)
    found = await locate(read, info, size, where)
    return await read(found.start, found.size) if found.size else b""


async def locate(read: Read, info: zipfile.ZipInfo, size: int, where: str) -> Storage:
    """Where a member's bytes are: behind its own header, whose length only it tells."""
    head = await read(info.header_offset, _LOCAL)
    if head[:4] != MAGIC:
        raise CheckpointRefused(f"{plain(info.filename, 100)} is not where the zip index says", where=where)
    start = info.header_offset + _LOCAL + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    if start + info.file_size > size:
        raise CheckpointRefused(f"{plain(info.filename, 100)} ends after the file: cut short?", where=where)
    return Storage(start, info.file_size)
