"""A bucket of Google Cloud Storage, or what is below a prefix of it, as a store, over its XML API.

Every body carries its CRC32C, which the service checks and keeps of every object; its MD5 of those not made of parts. An object's
identity is its generation. Writes in parts take no conditions, so those are looked at just before the parts are joined.

Sources: Cloud Storage, XML API reference ("Put object", "Get object", "List objects", "Multipart uploads"), "Hashes and ETags",
"Request preconditions", "Transcoding of gzip-compressed files", "Object names".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from backends.stores.base import Body, Capabilities, ObjectInfo, PartInfo, check_target
from backends.stores.checksum import hex_to_base64
from backends.stores.errors import ChecksumRefused, ObjectMissing, StoreError, UploadGone
from backends.stores.gcs_headers import carried, told_of
from backends.stores.object_client import Answer, Params
from backends.stores.object_errors import gcs_error
from backends.stores.object_listing import ObjectListing
from backends.stores.object_store import LONG_SECONDS, ObjectStore, shown
from backends.stores.object_xml import parse_gcs_list
from backends.stores.s3_headers import etag_of
from backends.stores.s3_orphans import CLOCKS_APART
from backends.stores.s3_xml import (
    UploadPage,
    complete_document,
    parse_complete,
    parse_error,
    parse_parts,
    parse_upload_id,
    parse_uploads,
)

_PAGE = "1000"
_LONGEST_KEY = 1024
_RAW = {"accept-encoding": "gzip"}  # without it the service unpacks what was stored packed, and its checksums are of that


class GcsStore(ObjectStore):
    """One bucket below one prefix."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            stored_checksum=frozenset({"crc32c"}), conditional_write=True, parts=True, metadata=True, versions=True
        )

    def _unfit(self, full: str) -> str:
        size = len(full.encode("utf-8"))
        if size > _LONGEST_KEY:
            return f"names hold up to {_LONGEST_KEY} bytes in Cloud Storage and this one has {size}"
        if "\r" in full or "\n" in full:
            return "Cloud Storage takes no line ends in names"
        if full in (".", "..") or full.startswith(".well-known/acme-challenge/"):
            return "Cloud Storage keeps such names for itself"
        return ""

    def _told(self, key: str, headers: Mapping[str, str]) -> ObjectInfo:
        return told_of(key, headers)

    def _same_as(self, identity: str | None) -> dict[str, str]:
        return {"x-goog-if-generation-match": identity} if identity else {}

    def _version(self, version: str | None) -> Params:
        return (("generation", version),) if version else ()

    def _shortest_listing(self) -> Params:
        return (("list-type", "2"), ("max-keys", "1"))

    def _reading(self) -> Mapping[str, str]:
        return _RAW

    def _listing(self) -> ObjectListing:
        fixed: Params = (("list-type", "2"), ("encoding-type", "url"), ("max-keys", _PAGE))
        if self._prefix:
            fixed += (("prefix", self._prefix),)

        def params_of(token: str | None, start_after: str) -> Params:
            if token is not None:
                return (*fixed, ("continuation-token", token))
            return (*fixed, ("start-after", self._prefix + start_after)) if start_after else fixed

        return ObjectListing(self._client, self._name, self._prefix, params_of, parse_gcs_list)

    async def create_bucket(self) -> None:
        """Make the bucket itself; one that is there already is fine. For tests: an operator makes his own."""
        try:
            await self._client.call("PUT", self._client.place.root, what="making the bucket", body=b"")
        except StoreError as error:
            if "BucketAlreadyOwnedByYou" not in error.message:
                raise

    # whole objects

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
        crc32c = (await self._checked(key, body, crc64nvme)).crc32c
        condition = {"x-goog-if-generation-match": "0"} if if_absent else self._same_as(if_match)
        headers = {**self._carried(like), **condition, "x-goog-hash": f"crc32c={hex_to_base64(crc32c)}"}
        answer = await self._write_call("PUT", key, "PUT", headers=headers, body=body)
        told = told_of(key, answer.headers)
        if told.checksums.get("crc32c", crc32c) != crc32c:
            raise ChecksumRefused(f"{self._name}: {shown(key)}: the store received other bytes than were sent")
        if told.etag is None:
            raise StoreError(f"{self._name}: {shown(key)}: the answer to its PUT does not tell a generation")
        return told._replace(size=len(body), content_type=like.content_type if like else None)

    def _carried(self, like: ObjectInfo | None) -> dict[str, str]:
        if like is not None and like.tags:
            self._note("tags", "keeps no tags: they are not carried")
        if like is not None and "expires" in like.headers:
            self._note("expires", "keeps no Expires header: it is not carried")
        return carried(like)

    # parts

    async def create_upload(self, key: str, *, like: ObjectInfo | None = None) -> str:
        answer = await self._call("POST", key, "beginning", params=(("uploads", ""),), headers=self._carried(like), body=b"")
        return self._parsed(parse_upload_id, answer, key)

    async def write_part(self, key: str, upload: str, number: int, offset: int, body: Body, *, crc64nvme: str) -> PartInfo:
        crc32c = (await self._checked(key, body, crc64nvme)).crc32c
        params = (("partNumber", str(number)), ("uploadId", upload))
        headers = {"x-goog-hash": f"crc32c={hex_to_base64(crc32c)}"}
        answer = await self._call("PUT", key, "PUT", params=params, headers=headers, body=body)
        return PartInfo(number, etag_of(answer.headers) or "", len(body), crc64nvme)

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
        """The CRC32C of the whole is in the answer, for the caller to compare: the service is given that of each part."""
        await check_target(self, key, if_match, if_absent)
        document = complete_document([(part, None) for part in sorted(parts, key=lambda part: part.number)])
        answer = await self._call(
            "POST",
            key,
            "completing",
            params=(("uploadId", upload),),
            headers={"content-type": "application/xml"},
            body=document,
            seconds=LONG_SECONDS,
        )
        self._no_error_inside(key, answer)
        self._parsed(parse_complete, answer, key)
        there = await self.head(key)
        if there is None or there.size != size:
            raise ChecksumRefused(f"{self._name}: {shown(key)}: the completed object is not {size} bytes")
        return there

    def _no_error_inside(self, key: str, answer: Answer) -> None:
        """What takes long is answered 200 before it is done; the body may say that it failed."""
        found = parse_error(bytes(answer.body).strip())
        if found is not None:
            failed = Answer(500 if found.code in ("InternalError", "") else 400, answer.headers, answer.body)
            raise gcs_error(failed, store=self._name, what=f"completing {shown(key)}")

    async def abort_upload(self, key: str, upload: str) -> None:
        try:
            await self._call("DELETE", key, "abandoning", params=(("uploadId", upload),))
        except (UploadGone, ObjectMissing):
            return

    async def list_uploads(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for page in await self._upload_pages(self._prefix):
            found += [(key[len(self._prefix) :], upload) for key, upload in page.uploads if key.startswith(self._prefix)]
        return found

    async def orphans_of(self, key: str, begun_at: datetime) -> list[str]:
        full, found = self._prefix + key, list[str]()
        for page in await self._upload_pages(full):
            for held, upload in page.uploads:
                begun = page.begun.get(upload)
                is_near = begun is not None and abs(begun - begun_at) <= CLOCKS_APART
                if held == full and is_near and await self.list_parts(key, upload) == []:
                    found.append(upload)
        return found

    async def _upload_pages(self, prefix: str) -> list[UploadPage]:
        pages: list[UploadPage] = []
        markers: Params = ()
        while True:
            params = (("uploads", ""), ("encoding-type", "url"), ("prefix", prefix), *markers)
            answer = await self._client.call("GET", self._client.place.root, what="listing uploads", params=params)
            page = self._parsed(parse_uploads, answer, "")
            pages.append(page)
            if page.key_marker is None:
                return pages
            after = (("key-marker", page.key_marker), ("upload-id-marker", page.upload_marker or ""))
            if after == markers:
                raise StoreError(f"{self._name}: the list of uploads does not go on")
            markers = after

    async def list_parts(self, key: str, upload: str) -> list[PartInfo] | None:
        found: list[PartInfo] = []
        params: Params = (("uploadId", upload),)
        while True:
            try:
                answer = await self._call("GET", key, "parts of", params=params)
            except (UploadGone, ObjectMissing):
                return None
            page = self._parsed(parse_parts, answer, key)
            found += [part for part, _ in page.parts]
            if page.marker is None:
                return found
            after = (("uploadId", upload), ("part-number-marker", page.marker))
            if after == params:
                raise StoreError(f"{self._name}: the list of parts of {shown(key)} does not go on")
            params = after
