"""An Azure Blob container, or what is below a prefix of it, as a store.

Every body carries its MD5, which Azure checks. It keeps that of a blob put whole; of one put in blocks it keeps what a client
claims, so that is never told as a checksum, and Cutover claims none. A part is a block whose id holds the upload, its number and
its CRC64NVME: what arrived is known after a death from the list of uncommitted blocks alone. Azure has no way to discard such
blocks but time: what nobody commits is gone after a week.

Sources: Azure Storage REST, "Put Blob", "Put Block", "Put Block List", "Get Block List", "List Blobs", "Naming and Referencing
Containers, Blobs, and Metadata".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial

from backends.stores.azure_blocks import Block, block_of, new_upload
from backends.stores.azure_headers import carried, told_of
from backends.stores.base import Body, Capabilities, ObjectInfo, PartInfo
from backends.stores.checksum import base64_to_hex, combine_parts, crc64nvme_of
from backends.stores.errors import ChecksumRefused, ObjectMissing, ShortBody, StoreDenied, StoreError, TargetChanged, UploadGone
from backends.stores.object_client import Answer, ObjectClient, Params
from backends.stores.object_listing import ObjectListing
from backends.stores.object_store import LONG_SECONDS, ObjectStore, md5_of, shown
from backends.stores.object_xml import azure_block_list, parse_azure_blocks, parse_azure_list, parse_azure_tags

_PAGE = "1000"  # 15 ms of the event loop to parse
_LONGEST_KEY = 1024
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class AzureStore(ObjectStore):
    """One container below one prefix."""

    def __init__(self, name: str, url: str, prefix: str, client: ObjectClient) -> None:
        super().__init__(name, url, prefix, client)
        self._abandoned: set[str] = set()  # uploads; their blocks are there until Azure lets go of them

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            stored_checksum=frozenset({"md5"}), conditional_write=True, parts=True, metadata=True, tags=True, versions=True
        )

    def _unfit(self, full: str) -> str:
        if len(full) > _LONGEST_KEY:
            return f"names have up to {_LONGEST_KEY} characters in Azure and this one has {len(full)}"
        if _CONTROL.search(full):
            return "Azure takes no control characters in names"
        if any(segment in (".", "..") for segment in full.split("/")):
            return "Azure cannot tell a name with `.` or `..` between slashes from another"
        return ""

    def _told(self, key: str, headers: Mapping[str, str]) -> ObjectInfo:
        return told_of(key, headers)

    def _same_as(self, identity: str | None) -> dict[str, str]:
        return {"if-match": f'"{identity}"'} if identity else {}

    def _version(self, version: str | None) -> Params:
        return (("versionid", version),) if version else ()

    def _shortest_listing(self) -> Params:
        return (("restype", "container"), ("comp", "list"), ("maxresults", "1"))

    def _listing(self, *, uncommitted: bool = False) -> ObjectListing:
        fixed: Params = (("restype", "container"), ("comp", "list"), ("maxresults", _PAGE))
        if self._prefix:
            fixed += (("prefix", self._prefix),)
        if uncommitted:
            fixed += (("include", "uncommittedblobs"),)

        def params_of(token: str | None, start_after: str) -> Params:
            return fixed if token is None else (*fixed, ("marker", token))  # it can only be begun at the beginning

        parse = partial(parse_azure_list, uncommitted=uncommitted)
        return ObjectListing(self._client, self._name, self._prefix, params_of, parse)

    async def create_bucket(self) -> None:
        """Make the container itself; one that is there already is fine. For tests: an operator makes his own."""
        try:
            await self._client.call(
                "PUT", self._client.place.root, what="making the container", params=(("restype", "container"),), body=b""
            )
        except StoreError as error:
            if "ContainerAlreadyExists" not in error.message:
                raise

    # whole objects

    async def head(self, key: str) -> ObjectInfo | None:
        try:
            answer = await self._call("HEAD", key, "HEAD")
        except ObjectMissing:
            return None
        told = await self._with_tags(key, answer)
        kept = base64_to_hex("md5", answer.headers.get("content-md5", ""))
        return told._replace(checksums={"md5": kept}) if kept and await self._is_computed(told) else told

    async def fetch(self, listed: ObjectInfo) -> tuple[ObjectInfo, Body]:
        """As `ObjectStore.fetch`. Where the kept MD5 is that of the bytes that came, their CRC64NVME is told beside it: it is that
        of what is kept, and cheaper to compare."""
        answer = await self._get(listed)
        body = answer.body
        told = (await self._with_tags(listed.key, answer))._replace(size=listed.size)
        kept = base64_to_hex("md5", answer.headers.get("content-md5", ""))
        if kept is None:
            return told, body
        if kept == (await md5_of(body)).hex():
            return told._replace(checksums={"md5": kept, "crc64nvme": await crc64nvme_of(body)}), body
        if await self._is_computed(told):
            raise ShortBody(f"{self._name}: GET {shown(listed.key)}: other bytes came than the store keeps")
        return told, body

    async def _is_computed(self, told: ObjectInfo) -> bool:
        """Whether Azure computed this blob's MD5: it did where the blob has no blocks, else a client claimed it."""
        try:
            etag, blocks = await self._blocks(told.key, "committed")
        except ObjectMissing:
            return False
        except StoreError as error:
            if type(error) is StoreError:  # it is no block blob
                return False
            raise
        return etag == told.etag and not blocks

    async def _with_tags(self, key: str, answer: Answer) -> ObjectInfo:
        told = told_of(key, answer.headers)
        if answer.headers.get("x-ms-tag-count", "0") == "0":
            return told
        try:
            tags = await self._call("GET", key, "tags of", params=(("comp", "tags"), *self._version(told.version)))
        except StoreDenied:
            self._note("tags", "does not let these credentials read tags: they are not carried")
            return told
        return told._replace(tags=self._parsed(parse_azure_tags, tags, key))

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
        await self._checked(key, body, crc64nvme)
        md5 = await md5_of(body)
        headers = {
            **self._carried(like),
            **self._condition(if_match, if_absent),
            "x-ms-blob-type": "BlockBlob",
            "content-md5": base64.b64encode(md5).decode("ascii"),
        }
        answer = await self._write_call("PUT", key, "PUT", headers=headers, body=body)
        kept = base64_to_hex("md5", answer.headers.get("content-md5", ""))
        if kept is not None and kept != md5.hex():
            raise ChecksumRefused(f"{self._name}: {shown(key)}: the store received other bytes than were sent")
        told = told_of(key, answer.headers)
        # The service has compared the MD5 of what it keeps; the CRC64NVME of these bytes is therefore known too.
        sums = {"md5": kept, "crc64nvme": crc64nvme} if kept else {}
        return told._replace(size=len(body), checksums=sums, content_type=like.content_type if like else None)

    def _carried(self, like: ObjectInfo | None) -> dict[str, str]:
        if like is not None and "expires" in like.headers:
            self._note("expires", "keeps no Expires header: it is not carried")
        return carried(like)

    def _condition(self, if_match: str | None, if_absent: bool) -> dict[str, str]:
        return {"if-none-match": "*"} if if_absent else self._same_as(if_match)

    # parts

    async def create_upload(self, key: str, *, like: ObjectInfo | None = None) -> str:
        """Asks nothing of the service: blocks belong together by their ids."""
        self._path(key)
        return new_upload()

    async def write_part(self, key: str, upload: str, number: int, offset: int, body: Body, *, crc64nvme: str) -> PartInfo:
        if upload in self._abandoned:
            raise self._gone(key)
        await self._checked(key, body, crc64nvme)
        block = Block(upload, number, crc64nvme).ident
        headers = {"content-md5": base64.b64encode(await md5_of(body)).decode("ascii")}
        params = (("comp", "block"), ("blockid", block))
        await self._call("PUT", key, "PUT", params=params, headers=headers, body=body)
        return PartInfo(number, block, len(body), crc64nvme)

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
        ordered = sorted(parts, key=lambda part: part.number)
        if upload in self._abandoned or sum(part.size for part in ordered) != size:
            raise self._gone(key)
        if combine_parts((part.checksum, part.size) for part in ordered) != crc64nvme:
            raise ChecksumRefused(f"{self._name}: {shown(key)}: the parts that arrived are not the object that was read")
        idents = [Block(upload, part.number, part.checksum).ident for part in ordered]
        headers = {**self._carried(like), **self._condition(if_match, if_absent), "content-type": "application/xml"}
        try:
            body = azure_block_list(idents)
            params = (("comp", "blocklist"),)
            await self._write_call("PUT", key, "completing", params=params, headers=headers, body=body, seconds=LONG_SECONDS)
        except (UploadGone, TargetChanged):
            # The answer to an earlier try may have been lost: then these very blocks stand there.
            if not await self._holds(key, idents):
                raise
        there = await self.head(key)
        if there is None or there.size != size:
            raise ChecksumRefused(f"{self._name}: {shown(key)}: the completed object is not {size} bytes")
        return there

    async def _holds(self, key: str, idents: list[str]) -> bool:
        try:
            _, blocks = await self._blocks(key, "committed")
        except ObjectMissing:
            return False
        return [ident for ident, _ in blocks] == idents

    def _gone(self, key: str) -> UploadGone:
        return UploadGone(f"{self._name}: the upload of {shown(key)} is gone", hint="begin the upload anew")

    async def abort_upload(self, key: str, upload: str) -> None:
        """Nothing can be asked: Azure lets go of blocks that nobody committed, after a week."""
        self._abandoned.add(upload)

    async def list_uploads(self) -> list[tuple[str, str]]:
        """Those of keys that have no object yet: Azure tells no others."""
        found: dict[tuple[str, str], None] = {}
        async for page in self._listing(uncommitted=True).pages(""):
            for info in page:
                if info.size == 0:
                    found |= {(info.key, block.upload): None for block, _ in await self._arrived(info.key)}
        return [(key, upload) for key, upload in found if upload not in self._abandoned]

    async def orphans_of(self, key: str, begun_at: datetime) -> list[str]:
        """None: nothing is begun before the first part."""
        return []

    async def list_parts(self, key: str, upload: str) -> list[PartInfo] | None:
        if upload in self._abandoned:
            return None
        blocks = [(block, size) for block, size in await self._arrived(key) if block.upload == upload]
        parts = [PartInfo(block.number, block.ident, size, block.crc64nvme) for block, size in blocks]
        return sorted(parts, key=lambda part: part.number) or None

    async def _arrived(self, key: str) -> list[tuple[Block, int]]:
        """Our blocks of this key that are not committed, with their sizes."""
        try:
            _, blocks = await self._blocks(key, "uncommitted")
        except ObjectMissing:
            return []
        return [(block, size) for ident, size in blocks if (block := block_of(ident)) is not None]

    async def _blocks(self, key: str, kind: str) -> tuple[str | None, list[tuple[str, int]]]:
        """The blob's ETag, and (id, size) of its blocks."""
        answer = await self._call("GET", key, "blocks of", params=(("comp", "blocklist"), ("blocklisttype", kind)))
        return told_of(key, answer.headers).etag, self._parsed(parse_azure_blocks, answer, key)
