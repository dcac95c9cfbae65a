"""What the stores of Google Cloud Storage and Azure Blob have in common: reading, listing, conditions and what is said of them.

An object's identity is what these services change with every write: the generation, or the ETag. A read or a write is bound to
it by a condition of the request itself.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

from backends.escape import plain
from backends.stores.base import Body, Note, ObjectInfo, Plain, Skipped
from backends.stores.checksum import IN_THREAD_FROM, Digest
from backends.stores.errors import (
    ChecksumRefused,
    KeyRefused,
    ObjectMissing,
    ShortBody,
    SourceChanged,
    StoreError,
    TargetChanged,
)
from backends.stores.object_client import Answer, ObjectClient, Params
from backends.stores.object_listing import ObjectListing
from backends.stores.s3_errors import BucketMissing
from backends.stores.s3_xml import BadXml

T = TypeVar("T")

LONG_SECONDS = 600.0  # joining the parts of a large object takes minutes


class ObjectStore(Plain, ABC):
    """One bucket or container below one prefix. Made by `backends.stores.open`."""

    def __init__(self, name: str, url: str, prefix: str, client: ObjectClient) -> None:
        self._name = name
        self._url = url
        self._prefix = prefix
        self._client = client
        self._notes: dict[str, Note] = {}

    # what differs

    @abstractmethod
    def _unfit(self, full: str) -> str:
        """Why this service cannot hold the key; empty where it can."""

    @abstractmethod
    def _told(self, key: str, headers: Mapping[str, str]) -> ObjectInfo:
        """What an answer's headers say of the object."""

    @abstractmethod
    def _same_as(self, identity: str | None) -> dict[str, str]:
        """The headers that bind a request to an identity; empty for None."""

    @abstractmethod
    def _version(self, version: str | None) -> Params: ...

    @abstractmethod
    def _listing(self) -> ObjectListing: ...

    @abstractmethod
    def _shortest_listing(self) -> Params: ...

    def _reading(self) -> Mapping[str, str]:
        """Headers of every GET and HEAD of an object, so that what is stored comes as it is."""
        return {}

    # the store

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return plain(self._url)

    @property
    def skipped(self) -> Sequence[Skipped]:
        return ()

    @property
    def notes(self) -> Sequence[Note]:
        return tuple(self._notes.values())

    async def prepare(self) -> None:
        """By a listing: to ask for the bucket's own settings takes rights that moving objects does not."""
        params = self._shortest_listing() + ((("prefix", self._prefix),) if self._prefix else ())
        try:
            await self._client.call("GET", self._client.place.root, what="its bucket", params=params)
        except ObjectMissing as error:
            raise BucketMissing(f"{self._name}: {self.url} is not there", hint="make the bucket or container") from error

    async def list_pages(self, start_after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        async for page in self._listing().pages(start_after):
            yield page

    async def head(self, key: str) -> ObjectInfo | None:
        try:
            answer = await self._call("HEAD", key, "HEAD")
        except ObjectMissing:
            return None
        return self._told(key, answer.headers)

    async def read(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None, version: str | None = None
    ) -> Body:
        headers, params = self._same_as(if_match if version is None else None), self._version(version)
        method = "GET"
        if length == 0:
            method = "HEAD"
        elif length is not None:
            headers["range"] = f"bytes={start}-{start + length - 1}"
        elif start:
            headers["range"] = f"bytes={start}-"
        try:
            answer = await self._call(method, key, method, params=params, headers=headers, expect=length or 1 << 30)
        except ObjectMissing as error:
            if version is None:
                raise
            raise SourceChanged(f"{self._name}: {shown(key)} is no longer kept as it was listed") from error
        self._check_identity(key, answer, if_match)
        if length == 0:
            return b""
        body = answer.body
        if "range" in headers and answer.status != 206:
            body = body[start : None if length is None else start + length]  # the server sent all of it
        if length is not None and not len(body):  # some answer so where the range begins at the end
            raise SourceChanged(f"{self._name}: {shown(key)} has become shorter than it was listed")
        if length is not None and len(body) != length:
            raise ShortBody(f"{self._name}: GET {shown(key)}: {len(body)} bytes came, {length} were asked for")
        return body

    async def fetch(self, listed: ObjectInfo) -> tuple[ObjectInfo, Body]:
        """One GET: the body, and what its headers say, as `head`."""
        answer = await self._get(listed)
        return self._told(listed.key, answer.headers)._replace(size=listed.size), answer.body

    async def _get(self, listed: ObjectInfo) -> Answer:
        """The whole of exactly this object."""
        key = listed.key
        answer = await self._call("GET", key, "GET", headers=self._same_as(listed.etag), expect=listed.size or 1)
        self._check_identity(key, answer, listed.etag)
        if len(answer.body) != listed.size:
            raise ShortBody(f"{self._name}: GET {shown(key)}: {len(answer.body)} bytes came of {listed.size}")
        return answer

    def _check_identity(self, key: str, answer: Answer, if_match: str | None) -> None:
        """Servers that ignore the condition are found out here."""
        if if_match is not None and self._told(key, answer.headers).identity != if_match:
            raise SourceChanged(f"{self._name}: {shown(key)} has changed since it was listed")

    async def delete(self, key: str) -> None:
        try:
            await self._call("DELETE", key, "deleting")
        except ObjectMissing:
            return

    async def close(self) -> None:
        await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _call(
        self,
        method: str,
        key: str,
        verb: str,
        *,
        params: Params = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        expect: int = 0,
        seconds: float = 60.0,
    ) -> Answer:
        path = self._path(key)
        what = f"{verb} {shown(key)}"
        if method in ("GET", "HEAD"):
            headers = {**(headers or {}), **self._reading()}
        return await self._client.call(
            method, path, what=what, params=params, headers=headers, body=body, expect=expect, seconds=seconds
        )

    async def _write_call(
        self,
        method: str,
        key: str,
        verb: str,
        *,
        params: Params = (),
        headers: Mapping[str, str],
        body: Body,
        seconds: float = 60.0,
    ) -> Answer:
        """`_call` of what makes the object appear: a condition that does not hold is `TargetChanged`."""
        try:
            return await self._call(method, key, verb, params=params, headers=headers, body=body, seconds=seconds)
        except SourceChanged as error:
            raise self._target_changed(key) from error

    def _target_changed(self, key: str) -> TargetChanged:
        return TargetChanged(
            f"{self._name}: {shown(key)} is not what was there when it was listed", hint="somebody else writes to the target"
        )

    def _path(self, key: str) -> str:
        full = self._prefix + key
        try:
            path = self._client.place.object(full)
        except UnicodeEncodeError as error:
            raise KeyRefused(f"{self._name}: {shown(key)}: names are UTF-8 here and this one is not") from error
        reason = "it is empty" if not key else self._unfit(full)
        if reason:
            raise KeyRefused(f"{self._name}: {shown(key)!r}: {reason}", hint="rename it, or move it to another kind of store")
        return path

    async def _checked(self, key: str, body: Body, crc64nvme: str) -> Digest:
        """Both sums of a body. Raises `ChecksumRefused` when it is not what was read: these services check another sum."""
        digest = Digest()
        await digest.update_async(body)
        if digest.crc64nvme != crc64nvme:
            raise ChecksumRefused(f"{self._name}: {shown(key)}: the bytes are not those that were read")
        return digest

    def _parsed(self, parse: Callable[[bytes], T], answer: Answer, key: str) -> T:
        try:
            return parse(bytes(answer.body))
        except BadXml as error:
            raise StoreError(f"{self._name}: {shown(key)}: {error}") from error

    def _note(self, code: str, text: str) -> None:
        self._notes.setdefault(code, Note(code, f"{self._name} {text}"))


def shown(key: str) -> str:
    return plain(key, 300)


async def md5_of(body: Body) -> bytes:
    def digest() -> bytes:
        return hashlib.md5(body, usedforsecurity=False).digest()

    return digest() if len(body) < IN_THREAD_FROM else await asyncio.to_thread(digest)
