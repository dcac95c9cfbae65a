"""Writes in parts: begun, filled in any order, completed by whoever knows the parts, or abandoned.

Each part carries its CRC64NVME. Where the server joins them, the value of the whole is sent with the completion, which fails when
it is another; where it does not, the parts are what was checked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from backends.stores.base import Body, ObjectInfo, PartInfo
from backends.stores.checksum import base64_to_hex, hex_to_base64
from backends.stores.errors import ChecksumRefused, ObjectMissing, SourceChanged, StoreError, TargetChanged, UploadGone
from backends.stores.http1 import Answer
from backends.stores.s3_bucket import Bucket, shown
from backends.stores.s3_errors import Unsupported, from_answer
from backends.stores.s3_headers import carried, etag_of
from backends.stores.s3_sending import CRC, conditions, send, send_checked
from backends.stores.s3_tags import put_tags, read_tags, tag_header
from backends.stores.s3_xml import complete_document, parse_complete, parse_error, parse_parts, parse_upload_id, parse_uploads

LONG_SECONDS = 600.0  # S3 joins and copies large objects for minutes

Head = Callable[[str], Awaitable[ObjectInfo | None]]


class Uploads:
    """Those of one bucket below its prefix. `head` is the store's."""

    def __init__(self, bucket: Bucket, head: Head) -> None:
        self._bucket = bucket
        self._head = head

    async def create(self, key: str, like: ObjectInfo | None) -> str:
        found = self._bucket.found
        headers = carried(like)
        if found.takes_crc:
            headers |= {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "FULL_OBJECT"}
        if like is not None and like.tags and found.tags == "header":
            headers["x-amz-tagging"] = tag_header(like.tags)
        answer, _ = await send(self._bucket, "POST", key, "beginning", params=(("uploads", ""),), headers=headers, body=b"")
        found.joins_crc = found.takes_crc and answer.headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT"
        if found.takes_crc and not found.joins_crc:
            found.note("joined_checksum", "keeps no checksum of the whole for uploads in parts: each part is checked by its own")
        return self._bucket.parsed(parse_upload_id, answer, key)

    async def write_part(self, key: str, upload: str, number: int, body: Body, crc64nvme: str) -> PartInfo:
        params = (("partNumber", str(number)), ("uploadId", upload))
        answer, _ = await send_checked(self._bucket, "PUT", key, body, crc64nvme, headers={}, params=params)
        return PartInfo(number, etag_of(answer.headers) or "", len(body), crc64nvme)

    async def complete(
        self,
        key: str,
        upload: str,
        parts: list[PartInfo],
        *,
        size: int,
        crc64nvme: str | None,
        like: ObjectInfo | None,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> ObjectInfo:
        """`crc64nvme` is None where nobody knows that of the whole. The upload stays open when this raises `TargetChanged`."""
        ordered = sorted(parts, key=lambda p: p.number)
        takes_crc = self._bucket.found.takes_crc
        document = complete_document([(p, hex_to_base64(p.checksum) if p.checksum and takes_crc else None) for p in ordered])
        headers = {"content-type": "application/xml"}
        if crc64nvme is not None and await self._finds_joining(key):
            headers |= {CRC: hex_to_base64(crc64nvme), "x-amz-checksum-type": "FULL_OBJECT"}
        if if_match is not None or if_absent:
            # Not every server that holds a condition of a PUT holds that of a completion.
            await self._check_target(key, size, crc64nvme, if_match)
            headers |= conditions(if_match, if_absent) if self._bucket.found.conditions else {}
        try:
            answer = await self._finish(key, upload, document, headers)
            self._no_error_inside(answer, key)
            etag = self._bucket.parsed(parse_complete, answer, key)
        except UploadGone:
            return await self._completed_before(key, size, crc64nvme)
        except (SourceChanged, ObjectMissing) as error:
            raise target_changed(self._bucket, key) from error
        there = await self._completed(key, size, crc64nvme)
        if like is not None and like.tags:
            there = await self._tag(there, like)
        return there if there.etag else there._replace(etag=etag)

    async def _finish(self, key: str, upload: str, document: bytes, headers: dict[str, str]) -> Answer:
        params = (("uploadId", upload),)
        try:
            return await self._bucket.call(
                "POST", key, "completing", params=params, headers=headers, body=document, seconds=LONG_SECONDS
            )
        except Unsupported:
            left = {name: value for name, value in headers.items() if name not in ("if-match", "if-none-match")}
            if left == headers:
                raise
            return await self._bucket.call(
                "POST", key, "completing", params=params, headers=left, body=document, seconds=LONG_SECONDS
            )

    async def _check_target(self, key: str, size: int, crc64nvme: str | None, if_match: str | None) -> None:
        there = await self._head(key)
        if (there.etag if there is not None else None) == if_match:
            return
        if there is None or not _is_ours(there, size, crc64nvme):  # else the completion says that the upload is gone
            raise target_changed(self._bucket, key)

    async def _completed(self, key: str, size: int, crc64nvme: str | None) -> ObjectInfo:
        there = await self._head(key)
        if there is None or there.size != size:
            raise ChecksumRefused(f"{self._bucket.name}: {shown(key)}: the completed object is not {size} bytes")
        told = there.checksums.get("crc64nvme")
        if crc64nvme is not None and told is not None and told != crc64nvme:
            raise ChecksumRefused(f"{self._bucket.name}: {shown(key)}: the completed object has other bytes than were sent")
        return there

    async def _completed_before(self, key: str, size: int, crc64nvme: str | None) -> ObjectInfo:
        """The answer to an earlier try may have been lost: what stands there is ours when its checksum is."""
        there = await self._head(key)
        if there is not None and _is_ours(there, size, crc64nvme):
            return there
        raise UploadGone(f"{self._bucket.name}: the upload of {shown(key)} is gone", hint="begin the upload anew")

    async def _tag(self, there: ObjectInfo, like: ObjectInfo) -> ObjectInfo:
        """Some servers take tags when an upload begins, and forget them."""
        found = self._bucket.found
        if dict(there.tags) == dict(like.tags) or found.tags == "never":
            return there
        held = await read_tags(self._bucket, there.key, there.version) if found.tags == "header" and found.reads_tags else {}
        if held != dict(like.tags):
            await put_tags(self._bucket, there.key, like.tags, there.version)
        return there._replace(tags=like.tags)

    async def _finds_joining(self, key: str) -> bool:
        """Whether uploads in parts get the value of the whole. One begun by an earlier process did not tell us: ask anew."""
        if self._bucket.found.joins_crc is None:
            await self.abort(key, await self.create(key, None))
        return bool(self._bucket.found.joins_crc)

    async def abort(self, key: str, upload: str) -> None:
        try:
            await self._bucket.call("DELETE", key, "abandoning", params=(("uploadId", upload),))
        except (UploadGone, ObjectMissing):
            return

    async def open(self) -> list[tuple[str, str]]:
        """All that were begun and not ended: (key, upload id)."""
        bucket, found = self._bucket, list[tuple[str, str]]()
        markers: tuple[tuple[str, str], ...] = ()
        while True:
            params = (("uploads", ""), ("encoding-type", "url"), ("prefix", bucket.prefix), *markers)
            answer = await bucket.client.call("GET", None, what="listing uploads", params=params)
            page = bucket.parsed(parse_uploads, answer, "")
            found += [(k[len(bucket.prefix) :], u) for k, u in page.uploads if k.startswith(bucket.prefix)]
            if page.key_marker is None:
                return found
            after = (("key-marker", page.key_marker), ("upload-id-marker", page.upload_marker or ""))
            if after == markers:
                raise StoreError(f"{bucket.name}: the list of uploads does not go on")
            markers = after

    async def parts(self, key: str, upload: str) -> list[PartInfo] | None:
        bucket, found = self._bucket, list[PartInfo]()
        params: tuple[tuple[str, str], ...] = (("uploadId", upload),)
        while True:
            try:
                answer = await bucket.call("GET", key, "parts of", params=params)
            except (UploadGone, ObjectMissing):
                return None
            page = bucket.parsed(parse_parts, answer, key)
            for part, crc in page.parts:
                checksum = (base64_to_hex("crc64nvme", crc) if crc else None) or ""
                found.append(PartInfo(part.number, part.etag, part.size, checksum))
            if page.marker is None:
                return found
            after = (("uploadId", upload), ("part-number-marker", page.marker))
            if after == params:
                raise StoreError(f"{bucket.name}: the list of parts of {shown(key)} does not go on")
            params = after

    def _no_error_inside(self, answer: Answer, key: str) -> None:
        raise_inner_error(self._bucket, answer, f"completing {shown(key)}")


def raise_inner_error(bucket: Bucket, answer: Answer, what: str) -> None:
    """S3 may answer 200 before it is done and say in the body that it failed."""
    found = parse_error(bytes(answer.body).strip())
    if found is not None:
        status = 500 if found.code in ("InternalError", "") else 412 if found.code == "PreconditionFailed" else 400
        raise from_answer(status, answer.headers, bytes(answer.body), store=bucket.name, what=what)


def target_changed(bucket: Bucket, key: str) -> TargetChanged:
    return TargetChanged(
        f"{bucket.name}: {shown(key)} is not what was there when it was listed", hint="somebody else writes to the target"
    )


def _is_ours(there: ObjectInfo, size: int, crc64nvme: str | None) -> bool:
    return crc64nvme is not None and there.size == size and there.checksums.get("crc64nvme") == crc64nvme
