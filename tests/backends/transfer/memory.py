"""A store in memory that fails on demand: listings that break off, damaged reads, a server that asks to slow down.

It is there for the faults that no real server can be asked for; that real stores behave is tested against real servers.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta

from backends.stores.base import Body, Capabilities, ObjectInfo, PartInfo, Plain, Skipped, check_target
from backends.stores.errors import ChecksumRefused, ListingFailed, ObjectMissing, SourceChanged, UploadGone
from backends.transfer.sums import Sums

OLD = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryStore(Plain):
    """Objects in a dict. `fail` maps a call's name to errors that its next calls raise, one each."""

    def __init__(self, name: str, objects: dict[str, bytes] | None = None, *, keeps_sums: bool = True, page: int = 3) -> None:
        self.name = name
        self.url = f"memory://{name}/"
        self.page = page
        self.keeps_sums = keeps_sums
        self.capabilities = Capabilities(
            stored_checksum=frozenset({"crc64nvme"} if keeps_sums else ()), parts=True, metadata=keeps_sums
        )
        self.data: dict[str, bytes] = {}
        self.infos: dict[str, ObjectInfo] = {}
        self.uploads: dict[str, tuple[str, dict[int, bytes]]] = {}
        self.calls: Counter[str] = Counter()
        self.written: list[str] = []
        self.fail: dict[str, deque[Exception]] = {}
        self.break_listing_after: int | None = None
        self.damage: Callable[[str, bytes], bytes] = lambda key, body: body
        self.before_read: Callable[[str], None] = lambda key: None
        self.skipped: Sequence[Skipped] = ()
        self._idents = itertools.count(1)
        self.closed = False
        for key, body in (objects or {}).items():
            self.put(key, body)

    def put(self, key: str, body: bytes, mtime: datetime | None = None) -> ObjectInfo:
        """As another client would write it."""
        self.data[key] = body
        instant = mtime or OLD + timedelta(seconds=next(self._idents))
        sums = {"crc64nvme": Sums.of(body).crc64nvme} if self.keeps_sums else {}
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest() if self.keeps_sums else None
        nanoseconds = None if self.keeps_sums else int(instant.timestamp()) * 10**9 + 1
        self.infos[key] = ObjectInfo(key, len(body), instant, nanoseconds, etag, checksums=sums)
        return self.infos[key]

    def remove(self, key: str) -> None:
        del self.data[key], self.infos[key]

    def _count(self, call: str) -> None:
        self.calls[call] += 1
        if self.fail.get(call):
            raise self.fail[call].popleft()

    async def prepare(self) -> None:
        self._count("prepare")

    async def list_pages(self, start_after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        infos = [self.infos[k]._replace(checksums={}) for k in sorted(self.infos, key=lambda k: k.encode())]
        for number, start in enumerate(range(0, len(infos), self.page)):
            if self.break_listing_after == number:
                raise ListingFailed(f"the listing of {self.name} broke off at page {number}", where=self.url)
            yield infos[start : start + self.page]
        if self.break_listing_after is not None:
            raise ListingFailed(f"the listing of {self.name} was denied", where=self.url)

    async def head(self, key: str) -> ObjectInfo | None:
        self._count("head")
        return self.infos.get(key)

    async def read(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None, version: str | None = None
    ) -> bytes:
        self.before_read(key)
        self._count("read")
        if key not in self.data:
            raise ObjectMissing(f"{key} is gone")
        if if_match is not None and self.infos[key].identity != if_match:
            raise SourceChanged(f"{key} has changed")
        body = self.data[key]
        return self.damage(key, body[start : len(body) if length is None else start + length])

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
        self._count("write")
        await check_target(self, key, if_match, if_absent)
        if Sums.of(body).crc64nvme != crc64nvme:
            raise ChecksumRefused(f"{key}: other bytes than its checksum says")
        self.written.append(key)
        return self.put(key, bytes(body))

    async def create_upload(self, key: str, *, like: ObjectInfo | None = None) -> str:
        self._count("create_upload")
        ident = f"upload-{next(self._idents)}"
        self.uploads[ident] = (key, {})
        return ident

    async def write_part(self, key: str, upload: str, number: int, offset: int, body: Body, *, crc64nvme: str) -> PartInfo:
        self._count("write_part")
        self.uploads[upload][1][number] = bytes(body)
        return _part(number, bytes(body))

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
        self._count("complete_upload")
        await check_target(self, key, if_match, if_absent)
        if upload not in self.uploads:
            raise UploadGone(f"{key}: its upload is gone")
        bodies = self.uploads.pop(upload)[1]
        self.written.append(key)
        return self.put(key, b"".join(bodies[part.number] for part in parts))

    async def abort_upload(self, key: str, upload: str) -> None:
        self._count("abort_upload")
        self.uploads.pop(upload, None)

    async def list_uploads(self) -> list[tuple[str, str]]:
        return [(key, upload) for upload, (key, _) in self.uploads.items()]

    async def list_parts(self, key: str, upload: str) -> list[PartInfo] | None:
        self._count("list_parts")
        if upload not in self.uploads:
            return None
        return [_part(number, body) for number, body in sorted(self.uploads[upload][1].items())]

    async def delete(self, key: str) -> None:
        self._count("delete")
        self.data.pop(key, None)
        self.infos.pop(key, None)

    async def close(self) -> None:
        self.closed = True


def _part(number: int, body: bytes) -> PartInfo:
    return PartInfo(number, hashlib.md5(body, usedforsecurity=False).hexdigest(), len(body), Sums.of(body).crc64nvme)
