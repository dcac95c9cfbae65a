"""What a server really does, asked of it before a run: compatibles differ in what they refuse, ignore and forget.

Reading costs two requests. A target is asked with nine, in the time of four: a listing; at once a body with a wrong checksum that
must be refused, a right one with tags and an upload in parts; then two writes whose condition must fail and a HEAD; then all is removed.
(A server that takes the wrong checksum is asked for MD5 too.) The object lies below `.cutover-probe/`, is never listed as data, and
one that a death left behind is removed by a later probe. What was found out holds for an hour for all stores of this process with
the same bucket and keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

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
from backends.stores.http1 import Answer
from backends.stores.ours import PROBES
from backends.stores.s3_bucket import CHECKSUM_MODE, Bucket, Found, version_params
from backends.stores.s3_errors import BucketMissing
from backends.stores.s3_headers import checksums_of
from backends.stores.s3_sending import conditions, md5_base64, send_checked
from backends.stores.s3_tags import COUNT, read_tags, tag_header
from backends.stores.s3_uploads import Uploads
from backends.stores.s3_xml import ListPage, parse_list, parse_uploads

T = TypeVar("T")

_BODY = b"cutover looks what this store can do, and removes this"
_TAGS = {"cutover": "probe"}
_HOLDS_SECONDS = 3600.0
_STALE = timedelta(hours=1)

_known: dict[tuple[str, str, str], tuple[float, Found]] = {}  # of targets: endpoint, bucket, access key


def forget() -> None:
    """For tests: servers come and go on the same port."""
    _known.clear()


class Probe:
    """Fills `bucket.found`."""

    def __init__(self, bucket: Bucket, uploads: Uploads) -> None:
        self._bucket = bucket
        self._uploads = uploads
        self._made: dict[str, list[str]] = {}  # our objects with each version that was made of them, to remove them all
        self._upload: tuple[str, str] | None = None

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
        key = PROBES + secrets.token_hex(8)
        self._made, self._upload = {key: [], f"{key}-wrong": []}, None
        stale = await self._list(PROBES, 100)  # before all else: SeaweedFS makes a bucket that is missing by the first write
        try:
            async with asyncio.TaskGroup() as group:
                asked = [
                    group.create_task(_result(ask))
                    for ask in (self._ask_checksum(f"{key}-wrong"), self._ask(key), self._begin(key))
                ]
            errors = [error for task in asked if (error := task.result()) is not None]
            self._tell(errors)
            if not errors:
                self._keep(await self._place())
        finally:
            await self._remove(stale)

    def _tell(self, errors: list[StoreError]) -> None:
        denied = [error for error in errors if isinstance(error, StoreDenied)]
        if denied:
            self._bucket.found.note(
                "not_probed", "what it can do was not found out: nothing may be written below .cutover-probe/"
            )
        elif errors:
            self._bucket.found.note("not_probed", f"what it can do was not found out: {errors[0].message}")

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
        _, tagged = await self._put(key, {})
        async with asyncio.TaskGroup() as group:
            held = [group.create_task(_result(self._holds(key, *condition))) for condition in ((None, True), ("0" * 32, False))]
            seen = group.create_task(_result(self._look(key, tagged)))
        results = [task.result() for task in (*held, seen)]
        for result in results:
            if isinstance(result, StoreError):
                raise result
        if found.conditions and False in results:
            found.conditions = False
            found.note("conditions", "ignores conditions of a write: what stands at the target is looked at just before instead")

    async def _begin(self, key: str) -> None:
        self._upload = key, await self._uploads.create(key, None)

    async def _ask_checksum(self, key: str) -> None:
        """A wrong one must be refused."""
        found = self._bucket.found
        try:
            answer, _ = await send_checked(self._bucket, "PUT", key, _BODY, crc64nvme(b"other"), headers={})
        except ChecksumRefused:
            return
        self._note_made(key, answer)
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
        self._note_made(key, answer)
        return False

    async def _put(self, key: str, headers: dict[str, str]) -> tuple[Answer, bool]:
        tagged = {"x-amz-tagging": tag_header(_TAGS)} if self._bucket.found.tags == "header" else {}
        given = await send_checked(self._bucket, "PUT", key, _BODY, crc64nvme(_BODY), headers={**headers, **tagged})
        self._note_made(key, given[0])
        return given

    async def _holds(self, key: str, if_match: str | None, if_absent: bool) -> bool:
        """Whether a write whose condition is not met is refused."""
        try:
            await self._put(key, conditions(if_match, if_absent))
        except (SourceChanged, ObjectMissing):
            return True
        return False

    async def _look(self, key: str, tagged: bool) -> None:
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

    def _note_made(self, key: str, answer: Answer) -> None:
        version = answer.headers.get("x-amz-version-id")
        self._made[key].append(version if version and version != "null" else "")

    async def _remove(self, stale: ListPage) -> None:
        """Ours with all versions, the upload, and what probes left behind an hour ago."""
        before = datetime.now(UTC) - _STALE
        prefix = self._bucket.prefix
        old = [o.key.removeprefix(prefix) for o in stale.objects if o.mtime is not None and o.mtime < before]
        (key, mine), (wrong, accepted) = self._made.items()
        gone = (
            {(key, version) for version in mine or [""]}
            | {(wrong, version) for version in accepted}
            | {(name, "") for name in old}
        )
        asks = [self._bucket.call("DELETE", name, "deleting", params=version_params(version)) for name, version in sorted(gone)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                for ask in asks:
                    group.create_task(_result(ask))
                if self._upload is not None:
                    group.create_task(_result(self._uploads.abort(*self._upload)))
                if old:
                    group.create_task(_result(self._end_stale_uploads(before)))

    async def _end_stale_uploads(self, before: datetime) -> None:
        """Those of probes whose process was killed: their objects tell that there was one."""
        bucket, below = self._bucket, self._bucket.prefix + PROBES
        params = (("uploads", ""), ("encoding-type", "url"), ("prefix", below))
        answer = await bucket.client.call("GET", None, what="listing uploads", params=params)
        page = bucket.parsed(parse_uploads, answer, "")
        for key, upload in page.uploads:
            begun_at = page.begun.get(upload)
            if key.startswith(below) and begun_at is not None and begun_at < before:
                await self._uploads.abort(key.removeprefix(bucket.prefix), upload)


async def _result(ask: Awaitable[T]) -> T | StoreError:
    """One question's failure is no reason to leave the others."""
    try:
        return await ask
    except StoreError as error:
        return error
