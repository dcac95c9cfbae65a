"""Stores seen through a narrower window: some keys only, versions that are not the latest, writes with a condition. All else is the store's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from backends.escape import plain
from backends.stores.base import NOTHING, Body, Note, ObjectInfo, PartInfo, Store
from backends.stores.errors import ObjectMissing, RootMissing
from backends.stores.s3 import S3Store
from backends.transfer.index import Index, Row
from backends.transfer.merge import order_of

_AT_ONCE = 10
_PAGE = 1000
_NOT_MADE = Note("not_made_yet", "is not there yet: the first round makes it, where the folder above it is there")


class Seen:
    """What the views have in common."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class TheseKeys(Seen):
    """Lists only these keys, each asked for by itself: for some keys of a large store."""

    def __init__(self, store: Store, keys: Iterable[str]) -> None:
        super().__init__(store)
        self._keys = sorted(keys, key=order_of)

    async def list_pages(self, start_after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        """What of the keys is there now."""
        keys = [key for key in self._keys if order_of(key) > order_of(start_after)]
        for start in range(0, len(keys), _AT_ONCE):
            found = await asyncio.gather(*(self._store.head(key) for key in keys[start : start + _AT_ONCE]))
            if page := [info for info in found if info is not None]:
                yield page


class NotMadeYet(Seen):
    """A target whose root may be missing, which its first round makes: empty then, and told."""

    _is_missing = False

    @property
    def notes(self) -> Sequence[Note]:
        return (*self._store.notes, _NOT_MADE) if self._is_missing else self._store.notes

    async def list_pages(self, start_after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        try:
            async for page in self._store.list_pages(start_after):
                yield page
        except RootMissing:
            self._is_missing = True


class OldVersions(Seen):
    """The objects of a manifest, each in the version that it names; for reading."""

    def __init__(self, store: S3Store, index: Index, manifest: str) -> None:
        super().__init__(store)
        self._bucket = store
        self._index = index
        self._manifest = manifest

    async def list_pages(self, start_after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        """What the manifest says: whether it is there still shows when it is read."""
        after = start_after
        while rows := await self._index.rows_after(self._manifest, after, _PAGE):
            yield [version_of(row) for row in rows]
            after = rows[-1].key

    async def head(self, key: str) -> ObjectInfo | None:
        row = await self._index.row(self._manifest, key)
        return None if row is None else await self._bucket.head_version(key, row.target_id)

    async def read(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None, version: str | None = None
    ) -> Body:
        """Of the manifest's version, whatever was asked for."""
        row = await self._index.row(self._manifest, key)
        if row is None:
            raise ObjectMissing(f"{self._bucket.name}: {plain(key, 300)} is not in the manifest")
        return await self._bucket.read(key, start=start, length=length, if_match=if_match, version=row.target_id)

    async def joined_checksums(self, info: ObjectInfo) -> Mapping[str, str]:
        """Nothing: the manifest has the sum of the whole."""
        return NOTHING


def version_of(row: Row) -> ObjectInfo:
    """The object that a row of a manifest of versions names."""
    return ObjectInfo(row.key, row.size, etag=row.legacy_id, version=row.target_id)


class OnlyOver(Seen):
    """Writes only over what was looked at: `seen` maps a key to the identity that stood there, None where nothing did."""

    def __init__(self, store: Store, seen: Mapping[str, str | None]) -> None:
        super().__init__(store)
        self._seen = seen

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
        """Raises `TargetChanged`, with nothing overwritten, where something else stands there now. Conditions of others are not asked."""
        there = self._seen[key]
        return await self._store.write(
            key, body, crc64nvme=crc64nvme, like=like, if_match=there, if_absent=there is None
        )  # fmt: skip

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
        """As `write`."""
        there = self._seen[key]
        return await self._store.complete_upload(
            key, upload, parts, size=size, crc64nvme=crc64nvme, like=like, if_match=there, if_absent=there is None
        )

    async def copy_from(self, source: Store, info: ObjectInfo) -> ObjectInfo | None:
        """Not by the server, which knows no condition."""
        return None
