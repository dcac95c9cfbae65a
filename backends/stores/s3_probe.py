"""What a server really does, asked of it before a run: compatibles differ in what they refuse, ignore and forget.

Reading costs two requests. A target is asked with nine or ten, one of them the look for the bucket: a listing, a body with a wrong checksum that must be
refused (or a wrong MD5), a right one with tags, two writes whose condition must fail, a HEAD, an upload in parts begun and abandoned, and the
removal. The object lies below `.cutover-probe/`, is never listed as data, and one that a death left behind is removed by a later
probe. What was found out holds for an hour for all stores of this process with the same bucket and keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from datetime import UTC, datetime, timedelta

from backends.stores.base import ObjectInfo, key_order
from backends.stores.checksum import crc64nvme
from backends.stores.errors import (
    ChecksumRefused,
    ObjectMissing,
    SourceChanged,
    StoreBusy,
    StoreDenied,
    StoreError,
    StoreUnreachable,
)
from backends.stores.s3_bucket import CHECKSUM_MODE, Bucket, Found, version_params
from backends.stores.s3_client import Answer
from backends.stores.s3_errors import BucketMissing
from backends.stores.s3_headers import checksums_of
from backends.stores.s3_sending import conditions, md5_base64, send_checked
from backends.stores.s3_tags import COUNT, read_tags
from backends.stores.s3_uploads import Uploads
from backends.stores.s3_xml import ListPage, parse_list

PROBES = ".cutover-probe/"
_BODY = b"cutover looks what this store can do, and removes this"
_TAGS = {"cutover": "probe"}
_HOLDS_SECONDS = 3600.0
_STALE = timedelta(hours=1)

_known: dict[tuple[str, str, str], tuple[float, Found]] = {}  # of targets: endpoint, bucket, access key


def forget() -> None:
    """For tests: servers come and go on the same port."""
    _known.clear()


def without_probes(page: list[ObjectInfo]) -> list[ObjectInfo]:
    """A page in byte order, without objects of probes. Only the pages where they belong are looked through."""
    if page and key_order(page[0].key) < b".cutover-probe0" and key_order(page[-1].key) > b".cutover-probe/":
        return [found for found in page if not found.key.startswith(PROBES)]
    return page


class Probe:
    """Fills `bucket.found`."""

    def __init__(self, bucket: Bucket, uploads: Uploads) -> None:
        self._bucket = bucket
        self._uploads = uploads
        self._versions: list[str] = []  # of our object, to remove them all

    async def read(self) -> None:
        """Raises what a listing of the bucket raises."""
        page = await self._list("", 1)
        if not page.objects:
            return
        with contextlib.suppress(StoreError):
            key = page.objects[0].key
            answer = await self._bucket.client.call("HEAD", key, what="HEAD", of=key, headers=CHECKSUM_MODE)
            if not checksums_of(answer.headers):
                text = "keeps no checksum of the full object, or not of all: such objects are proven by what is read"
                self._bucket.found.note("stored_checksum", text)

    async def write(self) -> None:
        """Raises what a listing of the bucket raises; all else that fails is a note."""
        found = await self._kept()
        if found is not None:
            self._bucket.found = found
            await self._list(PROBES, 1)  # this bucket, with these keys, is still to be there
            return
        stale = await self._list(PROBES, 100)
        key = PROBES + secrets.token_hex(8)
        try:
            await self._ask(key)
        except StoreDenied:
            self._bucket.found.note(
                "not_probed", "what it can do was not found out: nothing may be written below .cutover-probe/"
            )
        except StoreError as error:
            self._bucket.found.note("not_probed", f"what it can do was not found out: {error.message}")
        else:
            self._keep(await self._place())
        finally:
            await self._remove(key, stale)

    async def _place(self) -> tuple[str, str, str]:
        return self._bucket.endpoint, self._bucket.bucket, (await self._bucket.credentials.get()).access_key

    async def _kept(self) -> Found | None:
        since, found = _known.get(await self._place(), (0.0, None))
        return found if found is not None and time.monotonic() - since < _HOLDS_SECONDS else None

    def _keep(self, place: tuple[str, str, str]) -> None:
        _known[place] = (time.monotonic(), self._bucket.found)

    async def _list(self, below: str, most: int) -> ListPage:
        bucket = self._bucket
        params = (("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(most)), ("prefix", bucket.prefix + below))
        try:
            answer = await bucket.client.call("GET", None, what="looking at the bucket", params=params)
        except BucketMissing as error:
            raise BucketMissing(f"{bucket.name}: there is no bucket {bucket.bucket}", hint=error.hint) from error
        page = bucket.parsed(parse_list, answer, bucket.prefix)
        if b"<EncodingType>url</EncodingType>" not in bytes(answer.body):
            bucket.found.note("encoding", "lists keys unencoded: a key that XML cannot hold makes its listing fail, by name")
        return page

    async def _ask(self, key: str) -> None:
        found = self._bucket.found
        await self._ask_checksum(key)
        answer, tagged = await self._put(key, {"x-amz-tagging": "cutover=probe"})
        if found.conditions and not (await self._holds(key, None, True) and await self._holds(key, "0" * 32, False)):
            found.conditions = False
            found.note("conditions", "ignores conditions of a write: what stands at the target is looked at just before instead")
        await self._look(key, answer, tagged)
        await self._uploads.abort(key, await self._uploads.create(key, None))

    async def _ask_checksum(self, key: str) -> None:
        """A wrong one must be refused."""
        found = self._bucket.found
        try:
            answer, _ = await send_checked(self._bucket, "PUT", key, _BODY, crc64nvme(b"other"), headers={})
        except ChecksumRefused:
            return
        self._note_version(answer)
        if found.takes_crc:
            found.takes_crc = found.keeps_crc = False
            found.takes_md5 = await self._checks_md5(key)
            how = "bodies go with Content-MD5" if found.takes_md5 else "nor Content-MD5"
            found.note("checksum", f"does not check checksums, {how}: compare what arrived with `verify --re-read`")

    async def _checks_md5(self, key: str) -> bool:
        headers = {"content-md5": await md5_base64(b"other")}
        try:
            answer = await self._bucket.call("PUT", key, "PUT", headers=headers, body=_BODY)
        except ChecksumRefused:
            return True
        self._note_version(answer)
        return False

    async def _put(self, key: str, headers: dict[str, str]) -> tuple[Answer, bool]:
        answer, tagged = await send_checked(self._bucket, "PUT", key, _BODY, crc64nvme(_BODY), headers=headers)
        self._note_version(answer)
        return answer, tagged

    async def _holds(self, key: str, if_match: str | None, if_absent: bool) -> bool:
        """Whether a write whose condition is not met is refused."""
        try:
            await self._put(key, conditions(if_match, if_absent))
        except (SourceChanged, ObjectMissing):
            return True
        return False

    async def _look(self, key: str, answer: Answer, tagged: bool) -> None:
        found = self._bucket.found
        told = await self._bucket.call("HEAD", key, "HEAD", headers=CHECKSUM_MODE)
        if found.takes_crc:
            found.keeps_crc = "crc64nvme" in checksums_of(told.headers)
            if not found.keeps_crc:
                found.note("stored_checksum", "checks checksums and does not keep them: there is nothing to compare with later")
        if told.headers.get(COUNT, "0") != "0":
            found.counts_tags = True
        elif tagged:
            await self._look_at_tags(key)

    async def _look_at_tags(self, key: str) -> None:
        found = self._bucket.found
        try:
            held = await read_tags(self._bucket, key)
        except (StoreBusy, StoreUnreachable):
            raise
        except StoreError:
            return  # tags may be written and not read: the first object with tags finds out the rest
        if held != _TAGS:
            found.tags = "after"
            found.note("tag_header", "forgets tags that come with an object: they are put after it")

    def _note_version(self, answer: Answer) -> None:
        version = answer.headers.get("x-amz-version-id")
        if version and version != "null":
            self._versions.append(version)

    async def _remove(self, key: str, stale: ListPage) -> None:
        """Ours with all its versions, and what probes left behind an hour ago."""
        before = datetime.now(UTC) - _STALE
        prefix = self._bucket.prefix
        old = [o.key.removeprefix(prefix) for o in stale.objects if o.mtime is not None and o.mtime < before]
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(30):
                for version in self._versions or [""]:
                    await self._bucket.call("DELETE", key, "deleting", params=version_params(version))
                for name in old:
                    await self._bucket.call("DELETE", name, "deleting")
        self._versions = []
