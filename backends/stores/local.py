"""A local tree as a store: `file:///path/`. The work is done in threads of its own, so a slow disk stops nothing else.

Empty folders are no objects and do not travel, as in every object store. Symlinks are not followed and, like sockets and devices,
are told in `skipped`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from backends.escape import plain
from backends.stores import tree
from backends.stores.base import Body, Capabilities, Note, ObjectInfo, PartFile, PartInfo, Plain, Skipped, check_target
from backends.stores.batched import BatchThreads
from backends.stores.checksum import crc64nvme as crc64nvme_of
from backends.stores.errors import ChecksumRefused
from backends.stores.local_files import LocalFiles

T = TypeVar("T")

_PAGE = 1000
_THREADS = 8
_SMALL = 1 << 20  # bytes of a body that is a matter of microseconds


class LocalStore(Plain):
    """The files below a folder of this machine."""

    def __init__(self, name: str, root: Path) -> None:
        self._name = name
        self._root = root
        self._files = LocalFiles(name, root)
        self._threads = BatchThreads(_THREADS, f"store-{name}")
        self._skipped: list[Skipped] = []
        self._has_written = False
        self._is_case_blind = False
        self._is_form_blind = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return plain(f"file://{self._root}/")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            parts=True,
            metadata=True,
            folders=True,
            part_files=True,
            case_blind=self._is_case_blind,
            form_blind=self._is_form_blind,
        )

    @property
    def notes(self) -> Sequence[Note]:
        return () if self._files.keeps_stamps else (tree.KEEPS_NO_STAMPS,)

    @property
    def skipped(self) -> Sequence[Skipped]:
        return tuple(self._skipped)

    async def prepare(self) -> None:
        await self._threads.run_apart(self._files.prepare)
        self._is_case_blind, self._is_form_blind = await self._threads.run_apart(self._files.find_blindness)

    async def list_pages(self, start_after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        skipped: list[Skipped] = []
        self._skipped = skipped
        walk = self._files.walk(start_after, skipped)

        def next_page() -> list[ObjectInfo]:
            return list(islice(walk, _PAGE))

        while page := await self._threads.run_apart(next_page):
            yield page

    async def head(self, key: str) -> ObjectInfo | None:
        return await self._threads.run(self._files.stat, key)

    async def read(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None, version: str | None = None
    ) -> Body:
        return await self._run(length, self._files.read, key, start, length, if_match)

    async def fetch(self, listed: ObjectInfo) -> tuple[ObjectInfo, Body]:
        return await self._run(listed.size, self._files.fetch, listed)

    async def write(
        self,
        key: str,
        body: Body,
        *,
        crc64nvme: str,
        like: ObjectInfo | None = None,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectInfo:
        await check_target(self, key, if_match, if_absent)
        self._has_written = True

        def checked() -> ObjectInfo:
            self._check(key, body, crc64nvme)
            return self._files.write(key, body, tree.stamp_of(like))

        return await self._run(len(body), checked)

    async def create_upload(self, key: str, *, like: ObjectInfo | None = None) -> str:
        self._has_written = True
        size = like.size if like is not None else None
        return await self._threads.run(self._files.create_upload, key, size, tree.stamp_of(like))

    async def write_part(self, key: str, upload: str, number: int, offset: int, body: Body, *, crc64nvme: str) -> PartInfo:
        def checked() -> PartInfo:
            self._check(key, body, crc64nvme)
            return self._files.write_part(key, upload, number, offset, body, crc64nvme)

        return await self._run(len(body), checked)

    @asynccontextmanager
    async def part_file(self, key: str, upload: str, offset: int) -> AsyncIterator[PartFile]:
        file = await self._threads.run(self._files.open_part, key, upload, offset)
        try:
            yield file
        finally:
            await self._threads.run(file.close)

    async def note_part(self, key: str, upload: str, number: int, offset: int, size: int, *, crc64nvme: str) -> PartInfo:
        return await self._threads.run(self._files.note_part, key, upload, number, offset, size, crc64nvme)

    async def complete_upload(
        self,
        key: str,
        upload: str,
        parts: list[PartInfo],
        *,
        size: int,
        crc64nvme: str,
        like: ObjectInfo | None,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectInfo:
        await check_target(self, key, if_match, if_absent)
        self._has_written = True
        stamp = tree.stamp_of(like)
        return await self._threads.run_apart(self._files.complete_upload, key, upload, parts, size, crc64nvme, stamp)

    async def abort_upload(self, key: str, upload: str) -> None:
        await self._threads.run(self._files.abort_upload, upload)

    async def list_uploads(self) -> list[tuple[str, str]]:
        return await self._threads.run_apart(self._files.uploads)

    async def list_parts(self, key: str, upload: str) -> list[PartInfo] | None:
        return await self._threads.run_apart(self._files.parts, key, upload)

    async def delete(self, key: str) -> None:
        await self._threads.run(self._files.delete, key)

    async def close(self) -> None:
        """What was written is on the disk then, by one call for all of it: a file appears whole in any case, and what a power cut
        takes before shows by its size in the next round."""
        try:
            if self._has_written:
                self._has_written = False
                await self._threads.run_apart(self._files.tidy)
                await self._threads.run_apart(self._files.sync)
        finally:
            await self._threads.close()
            self._files.close()

    async def __aenter__(self) -> LocalStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, size: int | None, call: Callable[..., T], *args: object) -> T:
        """By the size of the body that it moves, None where that is not known."""
        if size is not None and size < _SMALL:
            return await self._threads.run(call, *args)
        return await self._threads.run_apart(call, *args)

    def _check(self, key: str, body: Body, crc64nvme: str) -> None:
        if crc64nvme_of(body) != crc64nvme:
            raise ChecksumRefused(f"{self._name}: {plain(key, 300)}: the bytes are not those that were read")
