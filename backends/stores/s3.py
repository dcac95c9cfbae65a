"""A bucket, or what is below a prefix of it, as a store. S3 and what speaks like it: SeaweedFS, MinIO, R2, Ceph.

Keys are sent as they are, whatever is in them. Each body carries its CRC64NVME, which S3 checks, keeps and tells by HEAD
as the value of the full object, for uploads in parts too. Servers that do not know it are found out by the first write:
they get Content-MD5 instead, and `capabilities.stored_checksum` says that they keep nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar
from xml.sax.saxutils import escape

from backends.escape import plain
from backends.stores.base import Body, Capabilities, ObjectInfo, PartInfo, Plain, Skipped
from backends.stores.checksum import IN_THREAD_FROM, base64_to_hex, hex_to_base64
from backends.stores.errors import (
    ChecksumRefused,
    KeyRefused,
    ObjectMissing,
    ShortBody,
    SourceChanged,
    StoreError,
    UploadGone,
)
from backends.stores.s3_client import Address, Answer, S3Client
from backends.stores.s3_credentials import CredentialSource
from backends.stores.s3_errors import BucketMissing, Unsupported, from_answer
from backends.stores.s3_headers import carried, checksums_of, etag_of, info_of
from backends.stores.s3_listing import Listing
from backends.stores.s3_orphans import uploads_without_parts
from backends.stores.s3_xml import (
    BadXml,
    complete_document,
    parse_complete,
    parse_error,
    parse_parts,
    parse_upload_id,
    parse_uploads,
)

T = TypeVar("T")

_CRC = "x-amz-checksum-crc64nvme"
_ASKED = "x-amz-sdk-checksum-algorithm"  # ministack compares a checksum only where this names it, as AWS's SDKs do
_LONGEST_KEY = 1024
_COMPLETE_SECONDS = 600.0  # S3 joins large objects for minutes


class S3Store(Plain):
    """One bucket below one prefix. Made by `backends.stores.open`."""

    def __init__(self, name: str, bucket: str, prefix: str, address: Address, credentials: CredentialSource, region: str):
        self._name = name
        self._bucket = bucket
        self._prefix = prefix
        self._client = S3Client(name, address, credentials, region)
        self._region = region
        self._tree = False
        self._keeps_crc: bool | None = None  # None: not found out yet
        self._takes_crc = True
        self._joins_crc: bool | None = None  # an upload in parts gets the value of the whole; None: not found out yet
        self._finding = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return plain(f"s3://{self._bucket}/{self._prefix}")

    @property
    def capabilities(self) -> Capabilities:
        kept = frozenset({"crc64nvme"}) if self._keeps_crc is not False else frozenset()
        return Capabilities(stored_checksum=kept, conditional_write=True, parts=True, metadata=True)

    @property
    def skipped(self) -> Sequence[Skipped]:
        return ()

    async def prepare(self) -> None:
        try:
            await self._client.call("HEAD", None, what=f"bucket {plain(self._bucket)}")
        except ObjectMissing as error:
            raise BucketMissing(
                f"{self._name}: there is no bucket {plain(self._bucket)}", hint="make it, or look at url and endpoint"
            ) from error

    async def create_bucket(self) -> None:
        """Make the bucket itself; one that is ours already is fine. For the sandbox and tests: an operator makes his own."""
        body = b""
        if self._region != "us-east-1":
            place = f"<LocationConstraint>{escape(self._region)}</LocationConstraint>"
            body = f"<CreateBucketConfiguration>{place}</CreateBucketConfiguration>".encode()
        try:
            await self._client.call("PUT", None, what=f"making bucket {plain(self._bucket)}", body=body)
        except StoreError as error:
            if "BucketAlreadyOwnedByYou" not in error.message and "BucketAlreadyExists" not in error.message:
                raise
            await self.prepare()

    async def list_pages(self, start_after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        listing = Listing(self._client, self._name, self._prefix, tree=self._tree)
        async for page in listing.pages(start_after):
            self._tree = listing.tree
            below = page if page[0].key else page[1:]  # the prefix's own folder marker is no object below it
            if below:
                yield below

    async def head(self, key: str) -> ObjectInfo | None:
        try:
            answer = await self._call("HEAD", key, "HEAD", headers={"x-amz-checksum-mode": "ENABLED"})
        except ObjectMissing:
            return None
        return info_of(key, answer.headers)

    async def read(self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None) -> Body:
        headers = {"if-match": f'"{if_match}"'} if if_match else {}
        if length == 0:
            answer = await self._call("HEAD", key, "HEAD", headers=headers)
            self._same(key, answer.headers, if_match)
            return b""
        if length is not None:
            headers["range"] = f"bytes={start}-{start + length - 1}"
        elif start:
            headers["range"] = f"bytes={start}-"
        answer = await self._call("GET", key, "GET", headers=headers, expect=length or 1 << 30)
        self._same(key, answer.headers, if_match)
        body = answer.body
        if "range" in headers and answer.status != 206:
            body = body[start : None if length is None else start + length]  # the server sent all of it
        if length is not None and len(body) != length:
            raise ShortBody(f"{self._name}: GET {_shown(key)}: {len(body)} bytes came, {length} were asked for")
        return body

    async def fetch(self, listed: ObjectInfo) -> tuple[ObjectInfo, Body]:
        """One GET: the body, and the headers that `head` would have brought."""
        key = listed.key
        headers = {"if-match": f'"{listed.etag}"'} if listed.etag else {}
        headers["x-amz-checksum-mode"] = "ENABLED"
        answer = await self._call("GET", key, "GET", headers=headers, expect=listed.size or 1)
        self._same(key, answer.headers, listed.etag)
        if len(answer.body) != listed.size and not listed.etag:
            raise SourceChanged(f"{self._name}: {_shown(key)} has changed since it was listed")
        if len(answer.body) != listed.size:
            raise ShortBody(f"{self._name}: GET {_shown(key)}: {len(answer.body)} bytes came of {listed.size}")
        return info_of(key, answer.headers, listed.mtime), answer.body

    def _same(self, key: str, headers: Mapping[str, str], if_match: str | None) -> None:
        """Servers that ignore `If-Match` are found out here."""
        etag = etag_of(headers)
        if if_match and etag and etag != if_match:
            raise SourceChanged(f"{self._name}: {_shown(key)} has changed since it was listed")

    async def write(self, key: str, body: Body, *, crc64nvme: str, like: ObjectInfo | None = None) -> ObjectInfo:
        answer = await self._send_checked("PUT", key, body, crc64nvme, headers=carried(like))
        if self._keeps_crc is None:
            await self._find_out(key, answer)
        return ObjectInfo(
            key,
            len(body),
            etag=etag_of(answer.headers),
            version=answer.headers.get("x-amz-version-id"),
            checksums=checksums_of(answer.headers),
            content_type=like.content_type if like else None,
            metadata=like.metadata if like else {},
        )

    async def _find_out(self, key: str, answer: Answer) -> None:
        """Whether this server keeps CRC64NVME: by the answer to a write, else by asking once what was kept."""
        async with self._finding:
            if self._keeps_crc is not None:
                return
            if not self._takes_crc:
                self._keeps_crc = False
            elif _CRC in answer.headers:
                self._keeps_crc = True
            else:
                kept = await self.head(key)
                self._keeps_crc = kept is not None and "crc64nvme" in kept.checksums

    async def _send_checked(
        self,
        method: str,
        key: str,
        body: Body,
        crc64nvme: str,
        *,
        params: tuple[tuple[str, str], ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A body with the checksum that the server understands; what it tells back must be the same."""
        plain_headers = dict(headers or {})
        if self._takes_crc:
            checked = {**plain_headers, _CRC: hex_to_base64(crc64nvme), _ASKED: "CRC64NVME"}
            try:
                answer = await self._call(method, key, method, params=params, headers=checked, body=body)
            except StoreError as error:
                if not _means_unknown_checksum(error):
                    raise
                self._takes_crc = self._keeps_crc = False
            else:
                told = checksums_of(answer.headers).get("crc64nvme", crc64nvme)
                if told != crc64nvme:
                    raise ChecksumRefused(f"{self._name}: {_shown(key)}: the store received other bytes than were sent")
                return answer
        md5 = await _md5(body)
        return await self._call(method, key, method, params=params, headers={**plain_headers, "content-md5": md5}, body=body)

    async def create_upload(self, key: str, *, like: ObjectInfo | None = None) -> str:
        headers = dict(carried(like))
        if self._takes_crc:
            headers |= {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "FULL_OBJECT"}
        try:
            answer = await self._call("POST", key, "beginning", params=(("uploads", ""),), headers=headers, body=b"")
        except StoreError as error:
            if not self._takes_crc or not _means_unknown_checksum(error):
                raise
            self._takes_crc = self._keeps_crc = False
            return await self.create_upload(key, like=like)
        self._joins_crc = self._takes_crc and answer.headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT"
        return self._parsed(parse_upload_id, answer, key)

    async def _finds_joining(self, key: str) -> bool:
        """Whether uploads in parts get the value of the whole. One begun by an earlier process did not tell us: ask anew."""
        if self._joins_crc is None:
            await self.abort_upload(key, await self.create_upload(key))
        return bool(self._joins_crc)

    async def write_part(self, key: str, upload: str, number: int, offset: int, body: Body, *, crc64nvme: str) -> PartInfo:
        params = (("partNumber", str(number)), ("uploadId", upload))
        answer = await self._send_checked("PUT", key, body, crc64nvme, params=params)
        return PartInfo(number, etag_of(answer.headers) or "", len(body), crc64nvme)

    async def complete_upload(
        self, key: str, upload: str, parts: list[PartInfo], *, size: int, crc64nvme: str, like: ObjectInfo | None
    ) -> ObjectInfo:
        ordered = sorted(parts, key=lambda p: p.number)
        headers = {"content-type": "application/xml"}
        if await self._finds_joining(key):
            headers |= {_CRC: hex_to_base64(crc64nvme), "x-amz-checksum-type": "FULL_OBJECT"}
        sums = [(p, hex_to_base64(p.checksum) if p.checksum and self._takes_crc else None) for p in ordered]
        try:
            answer = await self._call(
                "POST",
                key,
                "completing",
                params=(("uploadId", upload),),
                headers=headers,
                body=complete_document(sums),
                seconds=_COMPLETE_SECONDS,
            )
            self._no_error_inside(answer, key)
            etag = self._parsed(parse_complete, answer, key)
        except UploadGone:
            return await self._completed_before(key, size, crc64nvme)
        there = await self.head(key)
        if there is None or there.size != size:
            raise ChecksumRefused(f"{self._name}: {_shown(key)}: the completed object is not {size} bytes")
        told = there.checksums.get("crc64nvme")
        if told is not None and told != crc64nvme:
            raise ChecksumRefused(f"{self._name}: {_shown(key)}: the completed object has other bytes than were sent")
        return there if there.etag else ObjectInfo(key, size, etag=etag)

    async def _completed_before(self, key: str, size: int, crc64nvme: str) -> ObjectInfo:
        """The answer to an earlier try may have been lost: what stands there is ours when its checksum is."""
        there = await self.head(key)
        if there is not None and there.size == size and there.checksums.get("crc64nvme") == crc64nvme:
            return there
        raise UploadGone(f"{self._name}: the upload of {_shown(key)} is gone", hint="begin the upload anew")

    async def abort_upload(self, key: str, upload: str) -> None:
        try:
            await self._call("DELETE", key, "abandoning", params=(("uploadId", upload),))
        except (UploadGone, ObjectMissing):
            return

    async def list_uploads(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        markers: tuple[tuple[str, str], ...] = ()
        while True:
            params = (("uploads", ""), ("encoding-type", "url"), ("prefix", self._prefix), *markers)
            answer = await self._client.call("GET", None, what="listing uploads", params=params)
            page = self._parsed(parse_uploads, answer, "")
            found += [(k[len(self._prefix) :], u) for k, u in page.uploads if k.startswith(self._prefix)]
            if page.key_marker is None:
                return found
            after = (("key-marker", page.key_marker), ("upload-id-marker", page.upload_marker or ""))
            if after == markers:
                raise StoreError(f"{self._name}: the list of uploads does not go on")
            markers = after

    async def orphans_of(self, key: str, begun_at: datetime) -> list[str]:
        return await uploads_without_parts(self._client, self._full(key), begun_at)

    async def list_parts(self, key: str, upload: str) -> list[PartInfo] | None:
        found: list[PartInfo] = []
        params: tuple[tuple[str, str], ...] = (("uploadId", upload),)
        while True:
            try:
                answer = await self._call("GET", key, "parts of", params=params)
            except (UploadGone, ObjectMissing):
                return None
            page = self._parsed(parse_parts, answer, key)
            for part, crc in page.parts:
                checksum = (base64_to_hex("crc64nvme", crc) if crc else None) or ""
                found.append(PartInfo(part.number, part.etag, part.size, checksum))
            if page.marker is None:
                return found
            after = (("uploadId", upload), ("part-number-marker", page.marker))
            if after == params:
                raise StoreError(f"{self._name}: the list of parts of {_shown(key)} does not go on")
            params = after

    async def delete(self, key: str) -> None:
        try:
            await self._call("DELETE", key, "deleting")
        except ObjectMissing:
            return

    async def close(self) -> None:
        await self._client.close()

    async def __aenter__(self) -> S3Store:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _call(
        self,
        method: str,
        key: str,
        verb: str,
        *,
        params: tuple[tuple[str, str], ...] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        expect: int = 0,
        seconds: float = 60.0,
    ) -> Answer:
        full = self._full(key)
        return await self._client.call(
            method, full, what=verb, of=key, params=params, headers=headers, body=body, expect=expect, seconds=seconds
        )

    def _full(self, key: str) -> str:
        full = self._prefix + key
        try:
            size = len(full.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise KeyRefused(f"{self._name}: {_shown(key)}: S3 keys are UTF-8 and this name is not") from error
        if not key or size > _LONGEST_KEY:
            raise KeyRefused(f"{self._name}: {_shown(key)}: S3 keys hold 1 to 1,024 bytes and this one has {size}")
        return full

    def _no_error_inside(self, answer: Answer, key: str) -> None:
        """S3 may answer 200 before it is done and say in the body that it failed."""
        found = parse_error(bytes(answer.body).strip())
        if found is not None:
            what = f"completing {_shown(key)}"
            status = 500 if found.code in ("InternalError", "") else 400
            raise from_answer(status, answer.headers, bytes(answer.body), store=self._name, what=what)

    def _parsed(self, parse: Callable[[bytes], T], answer: Answer, key: str) -> T:
        try:
            return parse(bytes(answer.body))
        except BadXml as error:
            raise StoreError(f"{self._name}: {_shown(key)}: {error}") from error


def _shown(key: str) -> str:
    return plain(key, 300)


def _means_unknown_checksum(error: StoreError) -> bool:
    """The server refuses the header itself, not the bytes: `NotImplemented`, or a 400 that speaks of checksums."""
    if isinstance(error, Unsupported):
        return True
    return type(error) is StoreError and "checksum" in error.message.lower()


async def _md5(body: Body) -> str:
    def digest() -> str:
        return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode("ascii")

    return digest() if len(body) < IN_THREAD_FROM else await asyncio.to_thread(digest)
