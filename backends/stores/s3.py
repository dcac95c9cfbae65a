"""A bucket, or what is below a prefix of it, as a store. S3 and what speaks like it: SeaweedFS, MinIO, R2, Ceph.

Keys are sent as they are, whatever is in them. Each body carries its CRC64NVME, which S3 checks, keeps and tells by HEAD
as the value of the full object, for uploads in parts too. What a server does not do is found out by `prepare`, or by the first
request that needs it, is made good where it can be, and is told in `notes` and `capabilities`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from html import escape

from backends.escape import plain
from backends.stores.base import Body, Capabilities, Note, ObjectInfo, PartInfo, Plain, Skipped, Store, Take, check_target
from backends.stores.errors import ObjectMissing, ShortBody, SourceChanged, StoreDenied, StoreError
from backends.stores.http1 import Answer
from backends.stores.ours import LEASES, PROBES, without_ours
from backends.stores.s3_attributes import joined_checksums
from backends.stores.s3_bucket import CHECKSUM_MODE, Bucket, shown, version_params
from backends.stores.s3_client import Address
from backends.stores.s3_control import BucketControl
from backends.stores.s3_copy import ServerCopy
from backends.stores.s3_credentials import CredentialSource
from backends.stores.s3_headers import carried, checksums_of, etag_of, info_of
from backends.stores.s3_listing import Listing
from backends.stores.s3_orphans import uploads_without_parts
from backends.stores.s3_probe import Probe
from backends.stores.s3_sending import CRC, conditions, send_checked
from backends.stores.s3_tags import put_tags, tag_header, with_tags
from backends.stores.s3_uploads import Uploads, target_changed


class S3Store(Plain):
    """One bucket below one prefix. Made by `backends.stores.open`."""

    def __init__(self, name: str, bucket: str, prefix: str, address: Address, credentials: CredentialSource, region: str):
        self._bucket = Bucket(name, bucket, prefix, address, credentials, region)
        self._uploads = Uploads(self._bucket, self.head)
        self._copies = ServerCopy(self._bucket, self._uploads, self.head)
        self._probe = Probe(self._bucket, self._uploads)
        self.control = BucketControl(self._bucket)
        self._tree = False
        self._capable: tuple[object, Capabilities] | None = None  # asked for with every object
        self._finding = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._bucket.name

    @property
    def url(self) -> str:
        return plain(f"s3://{self._bucket.bucket}/{self._bucket.prefix}")

    @property
    def capabilities(self) -> Capabilities:
        found = self._bucket.found
        known = (found.keeps_crc, found.conditions, found.tags, found.reads_versions, found.copies)
        if self._capable is None or self._capable[0] != known:
            self._capable = known, self._look_up()
        return self._capable[1]

    def _look_up(self) -> Capabilities:
        found = self._bucket.found
        return Capabilities(
            stored_checksum=frozenset({"crc64nvme"}) if found.keeps_crc is not False else frozenset(),
            conditional_write=found.conditions,
            parts=True,
            metadata=True,
            tags=found.tags != "never",
            versions=found.reads_versions,
            server_copy=found.copies,
            pours=True,
        )

    @property
    def latency(self) -> float | None:
        return self._bucket.client.latency

    @property
    def skipped(self) -> Sequence[Skipped]:
        return ()

    @property
    def notes(self) -> Sequence[Note]:
        return tuple(self._bucket.found.notes.values())

    async def prepare(self) -> None:
        """Raises `BucketMissing`, and `StoreDenied` where it may not be listed. Finds out what the server can, with a small object
        of ours below `.cutover-probe/`, which is removed. Known for an hour to all stores of this process."""
        await self._probe.write()

    async def probe(self) -> Sequence[Note]:
        with contextlib.suppress(StoreError):
            await self._probe.read()
        return self.notes

    async def create_bucket(self) -> None:
        """Make the bucket itself; one that is ours already is fine. For the sandbox and tests: an operator makes his own."""
        body, what = b"", f"making bucket {plain(self._bucket.bucket)}"
        if self._bucket.region != "us-east-1":
            place = f"<LocationConstraint>{escape(self._bucket.region, quote=False)}</LocationConstraint>"
            body = f"<CreateBucketConfiguration>{place}</CreateBucketConfiguration>".encode()
        try:
            await self._bucket.client.call("PUT", None, what=what, body=body)
        except StoreError as error:
            if "BucketAlreadyOwnedByYou" not in error.message and "BucketAlreadyExists" not in error.message:
                raise
            await self._probe.read()

    async def list_pages(self, start_after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        listing = Listing(self._bucket.client, self.name, self._bucket.prefix, tree=self._tree)
        async for page in listing.pages(start_after):
            self._tree = listing.tree
            below = page if page[0].key else page[1:]  # the prefix's own folder marker is no object below it
            if below := without_ours(below):
                yield below

    async def head(self, key: str) -> ObjectInfo | None:
        try:
            answer = await self._bucket.call("HEAD", key, "HEAD", headers=CHECKSUM_MODE)
            return await with_tags(self._bucket, info_of(key, answer.headers), answer.headers, by_head=True)
        except ObjectMissing:
            return None

    async def head_version(self, key: str, version: str) -> ObjectInfo | None:
        """As `head`, of this version, the latest or not; None where there is none of that name."""
        try:
            answer = await self._get("HEAD", key, CHECKSUM_MODE, version)
            return await with_tags(self._bucket, info_of(key, answer.headers), answer.headers, by_head=True)
        except ObjectMissing:
            return None

    async def read(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None, version: str | None = None
    ) -> Body:
        if length == 0:
            answer = await self._get("HEAD", key, _if_same(if_match), version)
            self._same(key, answer.headers, if_match)
            return b""
        return (await self._read(key, start, length, if_match, version)).body

    async def pour(
        self, key: str, take: Take, *, start: int, length: int, if_match: str | None = None, version: str | None = None
    ) -> None:
        answer = await self._read(key, start, length, if_match, version, take)
        if not answer.is_taken:
            await asyncio.to_thread(take, memoryview(answer.body))

    async def _read(
        self, key: str, start: int, length: int | None, if_match: str | None, version: str | None, take: Take | None = None
    ) -> Answer:
        headers = _if_same(if_match)
        if length is not None:
            headers["range"] = f"bytes={start}-{start + length - 1}"
        elif start:
            headers["range"] = f"bytes={start}-"
        answer = await self._get("GET", key, headers, version, expect=length, take=take)
        self._same(key, answer.headers, if_match)
        if answer.is_taken:
            return answer
        body = answer.body
        if "range" in headers and answer.status != 206:
            body = body[start : None if length is None else start + length]  # the server sent all of it
        if length is not None and len(body) != length:
            raise ShortBody(f"{self.name}: GET {shown(key)}: {len(body)} bytes came, {length} were asked for")
        return answer._replace(body=body)

    async def fetch(self, listed: ObjectInfo) -> tuple[ObjectInfo, Body]:
        """One GET: the body, and the headers that `head` would have brought. One request more where the object has tags."""
        key = listed.key
        headers = {"if-match": f'"{listed.etag}"', **CHECKSUM_MODE} if listed.etag else CHECKSUM_MODE
        answer = await self._get("GET", key, headers, listed.version, expect=listed.size or 1)
        self._same(key, answer.headers, listed.etag)
        if len(answer.body) != listed.size and not listed.etag:
            raise SourceChanged(f"{self.name}: {shown(key)} has changed since it was listed")
        if len(answer.body) != listed.size:
            raise ShortBody(f"{self.name}: GET {shown(key)}: {len(answer.body)} bytes came of {listed.size}")
        info = info_of(key, answer.headers, listed.mtime)
        return await with_tags(self._bucket, info, answer.headers, by_head=False), answer.body

    async def _get(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        version: str | None,
        *,
        expect: int | None = 0,
        take: Take | None = None,
    ) -> Answer:
        """Of that version, where these credentials may ask for one by name (s3:GetObjectVersion), else of the latest."""
        found = self._bucket.found
        params = version_params(version) if found.reads_versions else ()
        try:
            return await self._bucket.call(method, key, method, params=params, headers=headers, expect=expect, take=take)
        except StoreDenied:
            if not params:
                raise
            answer = await self._bucket.call(method, key, method, headers=headers, expect=expect, take=take)
            found.reads_versions = False
            found.note("versions_denied", "old versions may not be read (s3:GetObjectVersion): what changes is begun anew")
            return answer

    def _same(self, key: str, headers: Mapping[str, str], if_match: str | None) -> None:
        """Servers that ignore `If-Match` are found out here."""
        etag = etag_of(headers)
        if if_match and etag and etag != if_match:
            raise SourceChanged(f"{self.name}: {shown(key)} has changed since it was listed")

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
        found, headers = self._bucket.found, carried(like)
        has_tags = like is not None and bool(like.tags)
        if like is not None and has_tags and found.tags == "header":
            headers["x-amz-tagging"] = tag_header(like.tags)
        if if_match is not None or if_absent:
            answer, tagged = await self._write_if(key, body, crc64nvme, headers, if_match, if_absent)
        else:
            answer, tagged = await send_checked(self._bucket, "PUT", key, body, crc64nvme, headers=headers)
        if found.keeps_crc is None:
            await self._find_out(key, answer)
        version = answer.headers.get("x-amz-version-id")
        if like is not None and has_tags and not tagged:
            await put_tags(self._bucket, key, like.tags, version)
        return ObjectInfo(
            key,
            len(body),
            etag=etag_of(answer.headers),
            version=version,
            checksums=checksums_of(answer.headers),
            content_type=like.content_type if like else None,
            metadata=like.metadata if like else {},
            headers=like.headers if like else {},
            tags=like.tags if like and found.tags != "never" else {},
        )

    async def _write_if(
        self, key: str, body: Body, crc64nvme: str, headers: dict[str, str], if_match: str | None, if_absent: bool
    ) -> tuple[Answer, bool]:
        async def look() -> None:
            await check_target(self, key, if_match, if_absent)

        if self._bucket.found.conditions:
            headers |= conditions(if_match, if_absent)
        else:
            await look()
        try:
            return await send_checked(self._bucket, "PUT", key, body, crc64nvme, headers=headers, unconditional=look)
        except (SourceChanged, ObjectMissing) as error:
            # The answer to an earlier try may have been lost: what stands there is ours when its checksum is.
            there = await self._bucket.call("HEAD", key, "HEAD", headers=CHECKSUM_MODE) if await self.head(key) else None
            if there is None or checksums_of(there.headers).get("crc64nvme") != crc64nvme:
                raise target_changed(self._bucket, key) from error
            return there, False

    async def _find_out(self, key: str, answer: Answer) -> None:
        """Whether this server keeps CRC64NVME: by the answer to a write, else by asking once what was kept."""
        async with self._finding:
            found = self._bucket.found
            if found.keeps_crc is not None:
                return
            if not found.takes_crc:
                found.keeps_crc = False
            elif CRC in answer.headers:
                found.keeps_crc = True
            else:
                kept = await self.head(key)
                found.keeps_crc = kept is not None and "crc64nvme" in kept.checksums

    async def create_upload(self, key: str, *, like: ObjectInfo | None = None) -> str:
        return await self._uploads.create(key, like)

    async def write_part(self, key: str, upload: str, number: int, offset: int, body: Body, *, crc64nvme: str) -> PartInfo:
        return await self._uploads.write_part(key, upload, number, body, crc64nvme)

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
        return await self._uploads.complete(
            key, upload, parts, size=size, crc64nvme=crc64nvme, like=like, if_match=if_match, if_absent=if_absent
        )

    async def abort_upload(self, key: str, upload: str) -> None:
        await self._uploads.abort(key, upload)

    async def list_uploads(self) -> list[tuple[str, str]]:
        return [(key, upload) for key, upload in await self._uploads.open() if not key.startswith((LEASES, PROBES))]

    async def orphans_of(self, key: str, begun_at: datetime) -> list[str]:
        return await uploads_without_parts(self._bucket.client, self._bucket.full(key), begun_at)

    async def list_parts(self, key: str, upload: str) -> list[PartInfo] | None:
        return await self._uploads.parts(key, upload)

    async def joined_checksums(self, info: ObjectInfo) -> Mapping[str, str]:
        return await joined_checksums(self._bucket, info)

    async def copy_from(self, source: Store, info: ObjectInfo) -> ObjectInfo | None:
        if not isinstance(source, S3Store):
            return None
        return await self._copies.copy(source._bucket, source.head, info)

    async def set_expiry(self, prefix: str, days: int) -> None:
        """Objects below `prefix` of this store are removed by the server `days` days after they were written, by a lifecycle rule
        of the bucket beside those that it has. Raises `StoreDenied` or `Unsupported` where that cannot be had."""
        await self.control.set_expiry(self._bucket.prefix + prefix, days)

    async def delete(self, key: str) -> None:
        """In a bucket with versions this makes a delete marker: the versions stay."""
        try:
            await self._bucket.call("DELETE", key, "deleting")
        except ObjectMissing:
            return

    async def close(self) -> None:
        await self._bucket.client.close()

    async def __aenter__(self) -> S3Store:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _if_same(identity: str | None) -> dict[str, str]:
    return {"if-match": f'"{identity}"'} if identity else {}
