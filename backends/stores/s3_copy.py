"""Copies that the server makes itself, where both ends are buckets of one endpoint and open to the same keys: no byte comes to us.

CopyObject to 5 GiB, beyond that UploadPartCopy in pieces of 1 GiB. Both hold to the listed ETag and version, and keep headers,
metadata and tags.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from backends.stores.base import ObjectInfo, PartInfo
from backends.stores.checksum import base64_to_hex, combine_parts
from backends.stores.errors import ChecksumRefused, SourceChanged, StoreDenied, StoreError, UploadGone
from backends.stores.s3_bucket import Bucket, shown
from backends.stores.s3_errors import Unsupported
from backends.stores.s3_sending import send
from backends.stores.s3_uploads import LONG_SECONDS, Head, Uploads, raise_inner_error
from backends.stores.s3_xml import parse_copied
from backends.stores.sigv4 import encode, encode_path

WHOLE_UP_TO = 5 << 30  # CopyObject takes no more
PIECE = 1 << 30
_AT_ONCE = 4


class ServerCopy:
    """Copies from another bucket of the same server into this one. `head` is that of this store."""

    def __init__(self, bucket: Bucket, uploads: Uploads, head: Head) -> None:
        self._bucket = bucket
        self._uploads = uploads
        self._head = head
        self.whole_up_to = WHOLE_UP_TO
        self.piece = PIECE

    async def copy(self, source: Bucket, source_head: Head, info: ObjectInfo) -> ObjectInfo | None:
        """None where the server does not do it for us. Raises `SourceChanged` when the source is another by now."""
        if not await self._is_possible(source, info):
            return None
        try:
            if info.size <= self.whole_up_to:
                await self._copy_whole(source, info)
            else:
                await self._copy_pieces(source, source_head, info)
        except StoreDenied:
            return None
        except Unsupported:
            self._bucket.found.copies = False
            self._bucket.found.note("server_copy", "does not copy between its buckets: the bytes go through here")
            return None
        there = await self._head(info.key)
        if there is None or there.size != info.size:
            raise ChecksumRefused(f"{self._bucket.name}: {shown(info.key)}: the server's copy is not {info.size} bytes")
        return there

    async def _is_possible(self, source: Bucket, info: ObjectInfo) -> bool:
        target = self._bucket
        if not target.found.copies or not info.etag or source.endpoint != target.endpoint or source.region != target.region:
            return False
        if (source.bucket, source.prefix) == (target.bucket, target.prefix):
            return False
        return await source.credentials.get() == await target.credentials.get()

    async def _copy_whole(self, source: Bucket, info: ObjectInfo) -> None:
        headers = _from(source, info)
        if self._bucket.found.takes_crc:
            headers["x-amz-checksum-algorithm"] = "CRC64NVME"
        answer, _ = await send(self._bucket, "PUT", info.key, "copying", headers=headers, body=b"", seconds=LONG_SECONDS)
        raise_inner_error(self._bucket, answer, f"copying {shown(info.key)}")
        self._bucket.parsed(parse_copied, answer, info.key)

    async def _copy_pieces(self, source: Bucket, source_head: Head, info: ObjectInfo) -> None:
        like = await source_head(info.key)
        if like is None or like.etag != info.etag:
            raise SourceChanged(f"{source.name}: {shown(info.key)} has changed since it was listed")
        upload = await self._uploads.create(info.key, like)
        try:
            parts = await self._pieces(source, info._replace(version=like.version), upload)
            crcs = [(part.checksum, part.size) for part in parts]
            crc = combine_parts(crcs) if all(value for value, _ in crcs) else like.checksums.get("crc64nvme")
            await self._uploads.complete(info.key, upload, parts, size=info.size, crc64nvme=crc, like=like)
        except BaseException:
            with contextlib.suppress(StoreError, TimeoutError):  # what made it fail is told
                async with asyncio.timeout(30):
                    await self._uploads.abort(info.key, upload)
            raise

    async def _pieces(self, source: Bucket, info: ObjectInfo, upload: str) -> list[PartInfo]:
        starts = iter(enumerate(range(0, info.size, self.piece), start=1))
        parts: list[PartInfo] = []

        async def stream(left: Iterator[tuple[int, int]]) -> None:
            for number, start in left:
                parts.append(await self._copy_piece(source, info, upload, number, start))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(stream(starts))
        except BaseExceptionGroup as errors:
            stores, _ = errors.split(StoreError)
            if stores is None or _ is not None:
                raise
            raise stores.exceptions[0] from errors
        return sorted(parts, key=lambda part: part.number)

    async def _copy_piece(self, source: Bucket, info: ObjectInfo, upload: str, number: int, start: int) -> PartInfo:
        end = min(start + self.piece, info.size)
        headers = _from(source, info) | {"x-amz-copy-source-range": f"bytes={start}-{end - 1}"}
        params = (("partNumber", str(number)), ("uploadId", upload))
        answer = await self._bucket.call(
            "PUT", info.key, "copying", params=params, headers=headers, body=b"", seconds=LONG_SECONDS
        )
        raise_inner_error(self._bucket, answer, f"copying {shown(info.key)}")
        copied = self._bucket.parsed(parse_copied, answer, info.key)
        if not copied.etag:
            raise UploadGone(f"{self._bucket.name}: {shown(info.key)}: a copied part has no ETag")
        checksum = base64_to_hex("crc64nvme", copied.crc64nvme) if copied.crc64nvme else None
        return PartInfo(number, copied.etag, end - start, checksum or "")


def _from(source: Bucket, info: ObjectInfo) -> dict[str, str]:
    version = f"?versionId={encode(info.version)}" if info.version and info.version != "null" else ""
    return {
        "x-amz-copy-source": f"/{encode_path(source.bucket)}/{encode_path(source.full(info.key))}{version}",
        "x-amz-copy-source-if-match": f'"{info.etag}"',
    }
