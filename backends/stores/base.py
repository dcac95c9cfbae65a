"""What a store is to those who move data: one small interface, with capabilities asked for by name.

Keys are lossless strings below the store's own prefix: never normalised, any character that the store can hold. Listings
are sorted by the UTF-8 bytes of the key and either come to their end or raise `ListingFailed`: a short listing never looks
like a complete one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol

from backends.escape import plain
from backends.stores.errors import ObjectMissing, TargetChanged

Body = bytes | memoryview  # bytes of an object, of item size 1; a view saves the copy out of the HTTP client's buffer

Take = Callable[[memoryview], None]  # is given the next piece of a body, in a thread; the view holds until it returns

NOTHING: Mapping[str, str] = MappingProxyType({})


class ObjectInfo(NamedTuple):
    """One object as a listing or a HEAD tells it. A tuple: a listing of a million makes a million of them.

    `checksums` maps an algorithm (`crc64nvme`, `crc32c`, `md5`) to the full-object digest in lower-case hex, where the store
    keeps one. `mtime` is UTC; trees give it to the nanosecond in `mtime_ns`. `metadata`, `headers`, `tags` and
    `content_type` come from `head` and `fetch` only and travel with the object.
    """

    key: str
    size: int
    mtime: datetime | None = None
    mtime_ns: int | None = None
    etag: str | None = None
    version: str | None = None
    checksums: Mapping[str, str] = NOTHING
    content_type: str | None = None
    metadata: Mapping[str, str] = NOTHING  # user metadata
    headers: Mapping[str, str] = NOTHING  # cache-control, content-disposition, -encoding, -language, expires; lower-case names
    tags: Mapping[str, str] = NOTHING

    @property
    def identity(self) -> str:
        """Changes when the object's content may have changed: etag where kept, else size and mtime."""
        return self.etag or f"{self.size}-{self.mtime_ns if self.mtime_ns is not None else self.mtime}"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do. Transfer code asks for these, never for a store's kind."""

    ranged_read: bool = True
    stored_checksum: frozenset[str] = frozenset()  # algorithms kept and told by HEAD
    conditional_write: bool = False
    parts: bool = False
    metadata: bool = False
    tags: bool = False
    versions: bool = False
    case_blind: bool = False
    folders: bool = False  # a key cannot be an object and the folder of others at once
    form_blind: bool = False  # takes the forms of one Unicode text (NFC, NFD) for one name
    server_copy: bool = False  # `copy_from` may be asked
    pours: bool = False  # `pour` gives pieces as they come
    part_files: bool = False  # `part_file` and `note_part` may be asked


@dataclass(frozen=True, slots=True)
class PartInfo:
    number: int  # from 1
    etag: str
    size: int
    checksum: str = ""  # crc64nvme of the part, hex, where the store tells it


class PartFile(Protocol):
    def begin(self) -> None:
        """From the part's beginning, again."""
        ...

    def write(self, piece: memoryview) -> None:
        """The next piece. Blocks: for threads. Raises `StoreError`."""
        ...


@dataclass(frozen=True, slots=True)
class Skipped:
    """What a listing met below the prefix and cannot give as an object: a symlink, a socket. `reason` is for people."""

    key: str
    reason: str


class Note(NamedTuple):
    """What a store was found not to do, and what is done instead. `code` is for programs, `text` for people: escaped already."""

    code: str
    text: str


def key_order(key: str) -> bytes:
    """What listings are sorted by. Names of a tree that are not UTF-8 carry their bytes as lone surrogates."""
    return key.encode("utf-8", "surrogateescape")


class Store(Protocol):
    """A tree of objects below one prefix. All calls are cancellable and have their own timeouts. No call repeats itself but a
    page of a listing, and what changes nothing where a kept connection turned out dead: repeating is for the caller, who sees by the
    error's class whether it makes sense."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str:
        """Without credentials: for messages."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def latency(self) -> float | None:
        """The least seconds that a request has taken so far; None where that does not matter, or is not known."""
        ...

    @property
    def skipped(self) -> Sequence[Skipped]:
        """What the last listing met and could not give: failures of that round, each by name. Never silently left out."""
        ...

    @property
    def notes(self) -> Sequence[Note]:
        """What was found out about the store so far: where it is poorer than its kind."""
        ...

    async def prepare(self) -> None:
        """Make ready to be written to: a tree makes its root folder (the one above it must exist), S3 asks that the bucket is
        there and open to us, and finds out with a small object of its own what it can. Before this the listing of a missing root raises `ListingFailed`, whatever the store's role."""
        ...

    async def probe(self) -> Sequence[Note]:
        """Find out by reading only what the store does not do; returns `notes`. Never fails: the listing says what is wrong."""
        ...

    def list_pages(self, start_after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        """Pages of objects in the byte order of their keys. Raises `ListingFailed` unless it came to its true end."""
        ...

    async def head(self, key: str) -> ObjectInfo | None:
        """The object with its checksums and metadata; None where there is none."""
        ...

    async def fetch(self, listed: ObjectInfo) -> tuple[ObjectInfo, Body]:
        """The whole of exactly the object that was listed, with all that the store tells of it (as `head`), in one request where
        the store can. Raises as `read` does. For objects of a few MiB at most: it is held in memory."""
        ...

    async def read(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None, version: str | None = None
    ) -> Body:
        """A range (the whole when `length` is None) as one buffer. Raises `SourceChanged` when `if_match` (an
        `ObjectInfo.identity`) no longer holds, `ObjectMissing` when it is gone, `ShortBody` when fewer bytes came than said.
        `version` is `ObjectInfo.version`: a store that keeps versions reads that one, also when it is no longer the latest."""
        ...

    async def pour(
        self, key: str, take: Take, *, start: int, length: int, if_match: str | None = None, version: str | None = None
    ) -> None:
        """As `read`, piece by piece. What was taken counts only when this returns: it may fail after any piece. Only where
        `capabilities.pours`."""
        ...

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
        """Put a whole object; the store is given the checksum (hex) to check where it can. `like` carries content type, headers,
        metadata and tags over. Trees write beside and rename.

        Raises `TargetChanged`, with nothing overwritten, unless what stands there has the identity `if_match`, or with `if_absent`
        when anything stands there. Where not `capabilities.conditional_write` this is looked at just before, which leaves a gap."""
        ...

    async def copy_from(self, source: Store, info: ObjectInfo) -> ObjectInfo | None:
        """Let the store itself copy exactly `info` of `source` to the same key here, with its metadata; None where it cannot (another server,
        other rights). Only where `capabilities.server_copy`. Raises `SourceChanged` as `read` does."""
        ...

    async def create_upload(self, key: str, *, like: ObjectInfo | None = None) -> str:
        """Begin a write in parts; returns an upload id that survives our death."""
        ...

    async def write_part(self, key: str, upload: str, number: int, offset: int, body: Body, *, crc64nvme: str) -> PartInfo: ...

    def part_file(self, key: str, upload: str, offset: int) -> AbstractAsyncContextManager[PartFile]:
        """The place of a part, to be written in threads; it has arrived when `note_part` was told. Only where
        `capabilities.part_files`."""
        ...

    async def note_part(self, key: str, upload: str, number: int, offset: int, size: int, *, crc64nvme: str) -> PartInfo: ...

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
        """Make the object appear, whole. `crc64nvme` is that of the full object, hex. Raises `UploadGone` when the upload or one
        of its parts is not there. Conditions as in `write`."""
        ...

    async def abort_upload(self, key: str, upload: str) -> None:
        """Forget it with its parts. One that is gone already is fine."""
        ...

    async def list_uploads(self) -> list[tuple[str, str]]:
        """Open uploads below this prefix: (key, upload id)."""
        ...

    async def orphans_of(self, key: str, begun_at: datetime) -> list[str]:
        """Open uploads of this key that we may have begun at about `begun_at` and whose id we never learnt: none holds a part.
        Never one that somebody else began at another time, or has sent something to."""
        ...

    async def list_parts(self, key: str, upload: str) -> list[PartInfo] | None:
        """Parts that arrived; None where the upload is gone."""
        ...

    async def joined_checksums(self, info: ObjectInfo) -> Mapping[str, str]:
        """Full-object values, combined from those that the store keeps of the object's parts; empty where it keeps none. Costs
        requests, reads nothing. Raises `SourceChanged` when the object is another by now."""
        ...

    async def delete(self, key: str) -> None:
        """One that is gone already is fine."""
        ...

    async def close(self) -> None: ...


async def check_target(store: Store, key: str, if_match: str | None, if_absent: bool) -> None:
    """The conditions of a write by a HEAD, for stores that cannot hold them themselves. Raises `TargetChanged`."""
    if if_match is None and not if_absent:
        return
    there = await store.head(key)
    if (there.identity if there is not None else None) != if_match:
        raise TargetChanged(f"{store.name}: {plain(key, 300)} is not what was there when it was listed")


class Plain:
    """What stores that cannot do better inherit: `fetch` by `read`, no copies by the server."""

    @property
    def latency(self) -> float | None:
        return None

    @property
    def notes(self) -> Sequence[Note]:
        return ()

    async def probe(self: Store) -> Sequence[Note]:
        return self.notes

    async def fetch(self: Store, listed: ObjectInfo) -> tuple[ObjectInfo, Body]:
        told: ObjectInfo | None = listed
        if self.capabilities.stored_checksum or self.capabilities.metadata:
            told = await self.head(listed.key)
        if told is None:
            raise ObjectMissing(f"{self.name}: {plain(listed.key, 300)} has gone since it was listed")
        return told, await self.read(listed.key, if_match=listed.identity)

    async def copy_from(self, source: Store, info: ObjectInfo) -> ObjectInfo | None:
        return None

    async def pour(
        self, key: str, take: Take, *, start: int, length: int, if_match: str | None = None, version: str | None = None
    ) -> None:
        raise NotImplementedError

    def part_file(self, key: str, upload: str, offset: int) -> AbstractAsyncContextManager[PartFile]:
        raise NotImplementedError

    async def note_part(self, key: str, upload: str, number: int, offset: int, size: int, *, crc64nvme: str) -> PartInfo:
        raise NotImplementedError

    async def joined_checksums(self, info: ObjectInfo) -> Mapping[str, str]:
        return NOTHING

    async def orphans_of(self: Store, key: str, begun_at: datetime) -> list[str]:
        """Of a tree: uploads lie in a work folder that is ours alone."""
        empty = [upload for held, upload in await self.list_uploads() if held == key]
        return [upload for upload in empty if await self.list_parts(key, upload) == []]
