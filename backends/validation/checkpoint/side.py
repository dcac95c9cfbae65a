"""Where a checkpoint lies: files of this machine, or objects of a store (S3, Google Cloud Storage, Azure Blob, a tree over SFTP).

A side is a file or a folder. Every read is held against the file as it was listed: one that changes under the comparison is an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from backends.escape import plain
from backends.ssh.errors import SshError
from backends.stores.base import ObjectInfo, Store
from backends.stores.errors import SourceChanged, StoreError
from backends.validation.checkpoint.direct import LEAST, is_cached, open_direct, read_direct
from backends.validation.errors import CheckpointRefused

if TYPE_CHECKING:
    from backends.ssh.pool import SshPool

MOST_FILES = 100_000
_HASHED_AT_LEAST = 10 << 20  # bytes a second that hashing on a host is given time for
_HASH_SECONDS = 60.0
_HASHES_A_CALL = 4000
_HASH_PIECE = 4 << 20
# Constant text: the file comes as $1, the ranges as numbers on stdin. `tail` seeks in a file.
_HASH_SCRIPT = 'while read -r start length; do tail -c "+$((start+1))" -- "$1" | head -c "$length" | sha256sum; done'
Range = tuple[int, int]  # start, length
Bytes = bytes | bytearray | memoryview


class Side(Protocol):
    """One checkpoint's files by their path below it (a single file: by its name)."""

    url: str
    files: dict[str, int]
    bytes_read: int
    is_far: bool  # hashes are cheaper there than bytes here

    async def read(self, file: str, start: int, length: int, into: memoryview | None = None) -> Bytes:
        """Exactly these bytes; `into` is a place that they may be put, made by `direct.room`. Raises `CheckpointRefused` where the file has changed."""
        ...

    async def hashes(self, file: str, ranges: Sequence[Range]) -> list[str] | None:
        """SHA-256 of each range, hex; None where that cannot be had without reading."""
        ...

    async def kept_sums(self, file: str) -> Mapping[str, str]:
        """Checksums of the whole file that the store keeps."""
        ...

    async def whole_sum(self, file: str, algorithm: str) -> str | None:
        """The same sum computed; only where the file lies here."""
        ...

    def where(self, file: str) -> str:
        """For messages."""
        ...


class LocalSide:
    """A file or a folder of this machine. Symlinks to files are followed: Hugging Face's cache is made of them."""

    is_far = False

    def __init__(self, path: Path) -> None:
        self.url = str(path)
        self.files: dict[str, int] = {}
        self.bytes_read = 0
        self._open: dict[str, tuple[int, os.stat_result]] = {}
        self._direct: dict[str, int | None] = {}
        self._lock = threading.Lock()
        self._root = path if path.is_dir() else path.parent
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="checkpoint")
        self.is_one = not path.is_dir()
        try:
            names = self._walk() if not self.is_one else [path.name]
            for name in names:
                self.files[name] = self._file(name)[1].st_size
        except OSError as error:
            raise CheckpointRefused(f"cannot read it: {error.strerror or error}", where=plain(self.url)) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._threads.shutdown(cancel_futures=True)
        for handle in [*(handle for handle, _ in self._open.values()), *self._direct.values()]:
            if handle is not None:
                os.close(handle)
        self._open, self._direct = {}, {}

    def where(self, file: str) -> str:
        return plain(str(self._root / file))

    async def read(self, file: str, start: int, length: int, into: memoryview | None = None) -> Bytes:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.read_here, file, start, length, into)

    def read_here(self, file: str, start: int, length: int, into: memoryview | None = None) -> memoryview:
        """As `read`, in the caller's own thread. Blocking."""
        with self._lock:
            self.bytes_read += length
        if into is not None and length >= LEAST:
            body = self._read_past_the_cache(file, start, length, into)
            if body is not None:
                return body
        body = into[:length] if into is not None else memoryview(bytearray(length))
        self.read_now(file, start, body)
        return body

    def _read_past_the_cache(self, file: str, start: int, length: int, into: memoryview) -> memoryview | None:
        """None where it is in the cache, or cannot be had so."""
        handle, _ = self._file(file)
        with self._lock:
            if file not in self._direct:
                self._direct[file] = open_direct(handle)
        direct = self._direct[file]
        if direct is None or is_cached(handle, start, length):
            return None
        try:
            body = read_direct(direct, start, length, into)
        except OSError as error:
            raise CheckpointRefused(f"cannot read it: {error.strerror or error}", where=self.where(file)) from error
        if body is not None and len(body) < length:
            raise CheckpointRefused(f"has no byte {start + len(body):,} any more", where=self.where(file))
        self._check(file)
        return body

    def read_now(self, file: str, start: int, body: memoryview) -> None:
        """Fill `body` from `start` on. Blocking."""
        handle, _ = self._file(file)
        done = 0
        try:
            while done < len(body):
                count = os.preadv(handle, [body[done:]], start + done)
                if not count:
                    raise CheckpointRefused(f"has no byte {start + done:,} any more", where=self.where(file))
                done += count
        except OSError as error:
            raise CheckpointRefused(f"cannot read it: {error.strerror or error}", where=self.where(file)) from error
        self._check(file)

    def _check(self, file: str) -> None:
        """Is it as it was opened?"""
        handle, before = self._file(file)
        now = os.fstat(handle)
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise CheckpointRefused(
                "changed while it was read", where=self.where(file), hint="compare checkpoints that are whole"
            )

    async def hashes(self, file: str, ranges: Sequence[Range]) -> list[str] | None:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hashes, file, ranges)

    def _hashes(self, file: str, ranges: Sequence[Range]) -> list[str]:
        out, place = [], memoryview(bytearray(_HASH_PIECE))
        for start, length in ranges:
            digest = hashlib.sha256()
            for at in range(0, length, _HASH_PIECE):
                piece = place[: min(_HASH_PIECE, length - at)]
                self.read_now(file, start + at, piece)
                digest.update(piece)
            out.append(digest.hexdigest())
        return out

    async def kept_sums(self, file: str) -> Mapping[str, str]:
        return {}

    async def whole_sum(self, file: str, algorithm: str) -> str | None:
        if algorithm not in ("md5", "crc64nvme", "crc32c"):
            return None
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._whole_sum, file, algorithm)

    def _whole_sum(self, file: str, algorithm: str) -> str:
        from backends.stores.checksum import crc32c, crc64nvme

        size, place = self.files[file], memoryview(bytearray(_HASH_PIECE))
        digest, value = hashlib.md5(usedforsecurity=False), ""
        for at in range(0, size, _HASH_PIECE):
            piece = place[: min(_HASH_PIECE, size - at)]
            self.read_now(file, at, piece)
            if algorithm == "md5":
                digest.update(piece)
            else:
                value = crc64nvme(piece, value or "0") if algorithm == "crc64nvme" else crc32c(piece, value or "0")
        return digest.hexdigest() if algorithm == "md5" else value

    def _file(self, name: str) -> tuple[int, os.stat_result]:
        there = self._open.get(name)
        if there is None:
            # Without O_NONBLOCK a named pipe would keep the thread until somebody writes to it.
            handle = os.open(self._root / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            there = (handle, os.fstat(handle))
            self._open[name] = there
            if not stat.S_ISREG(there[1].st_mode):
                raise CheckpointRefused("not a file", where=self.where(name))
        return there

    def _walk(self) -> list[str]:
        out: list[str] = []
        for folder, folders, names in os.walk(self._root):
            folders.sort()
            below = Path(folder).relative_to(self._root)
            out += [str(below / n) for n in sorted(names) if is_of_a_checkpoint(n)]
            if len(out) > MOST_FILES:
                raise CheckpointRefused(f"more than {MOST_FILES:,} files", where=plain(self.url))
        return out


class StoreSide:
    """Objects of a store: one of them, or all below a prefix."""

    is_far = True

    def __init__(self, store: Store, found: Iterable[ObjectInfo], *, is_one: bool, ssh: tuple[SshPool, str, str] | None) -> None:
        self.url = store.url
        self.is_one = is_one
        self.bytes_read = 0
        self._store = store
        self._infos = {info.key: info for info in found}
        self.files = {key: info.size for key, info in self._infos.items()}
        self._ssh = ssh  # pool, host, root folder

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._store.close()

    def where(self, file: str) -> str:
        return plain(f"{self.url}{file}")

    async def read(self, file: str, start: int, length: int, into: memoryview | None = None) -> Bytes:
        if not length:
            return b""
        self.bytes_read += length
        info = self._infos[file]
        try:
            body = await self._store.read(file, start=start, length=length, if_match=info.identity, version=info.version)
        except SourceChanged as error:
            message = "changed while it was read"
            raise CheckpointRefused(message, where=self.where(file), hint="compare checkpoints that are whole") from error
        if len(body) != length:
            raise CheckpointRefused(f"{len(body):,} bytes came, {length:,} were asked for", where=self.where(file))
        return body

    async def hashes(self, file: str, ranges: Sequence[Range]) -> list[str] | None:
        if self._ssh is None:
            return None
        pool, host, root = self._ssh
        out: list[str] = []
        for first in range(0, len(ranges), _HASHES_A_CALL):
            some = ranges[first : first + _HASHES_A_CALL]
            lines = "".join(f"{start} {length}\n" for start, length in some).encode()
            seconds = _HASH_SECONDS + sum(length for _, length in some) / _HASHED_AT_LEAST
            try:
                said = await pool.run(host, ["sh", "-c", _HASH_SCRIPT, "sh", f"{root}{file}"], input=lines, timeout=seconds)
            except SshError:
                return None
            found = [line.split()[0] for line in said.stdout.decode("ascii", "replace").splitlines() if line.split()]
            if said.exit_status or len(found) != len(some) or not all(_is_sha256(text) for text in found):
                return None
            out += found
        return out

    async def kept_sums(self, file: str) -> Mapping[str, str]:
        if not self._store.capabilities.stored_checksum:
            return {}
        told = await self._store.head(file)
        if told is None or told.identity != self._infos[file].identity:
            raise CheckpointRefused("changed while it was read", where=self.where(file))
        return told.checksums

    async def whole_sum(self, file: str, algorithm: str) -> str | None:
        return None


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)


def is_of_a_checkpoint(name: str) -> bool:
    """Files that hold tensors or tell about the training; others are not looked at."""
    endings = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".index.json", ".pkl")
    return name.endswith(endings) or name in ("trainer_state.json", "latest")


async def store_side(store: Store, name: str, folder: Store | None, ssh: tuple[SshPool, str, str] | None) -> StoreSide:
    """The object `name` of `store`, else all of `folder`. Raises the store's errors. The store that is not needed is closed."""
    info = await store.head(name) if name else None
    if info is not None or folder is None:
        if folder is not None:
            await folder.close()
        if info is None:
            raise CheckpointRefused("there is nothing", where=plain(f"{store.url}{name}"))
        return StoreSide(store, [info], is_one=True, ssh=ssh)
    await store.close()
    found: list[ObjectInfo] = []
    try:
        async for page in folder.list_pages():
            found += [i for i in page if is_of_a_checkpoint(i.key.rpartition("/")[2])]
            if len(found) > MOST_FILES:
                raise CheckpointRefused(f"more than {MOST_FILES:,} files", where=folder.url)
    except StoreError:
        await folder.close()
        raise
    below = (ssh[0], ssh[1], f"{ssh[2]}{name}/" if name else ssh[2]) if ssh is not None else None
    return StoreSide(folder, found, is_one=False, ssh=below)
