"""Uploads in parts that a lost answer or a death left without anybody who knows their id.

S3 keeps nothing of ours with an upload that its list would tell. What was begun by us is known by what was noted before: the very key,
about when it was begun, and that it holds no part, since without its id none can have been sent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from backends.stores.errors import ObjectMissing, StoreError, UploadGone
from backends.stores.http1 import Answer
from backends.stores.s3_client import S3Client
from backends.stores.s3_xml import BadXml, UploadPage, parse_parts, parse_uploads

T = TypeVar("T")

CLOCKS_APART = timedelta(minutes=15)  # the most that S3 lets the clock of a signed request be off
_PAGES = 100


async def uploads_without_parts(client: S3Client, key: str, begun_at: datetime) -> list[str]:
    """Ids of open uploads of exactly `key` (with its prefix) that were begun around `begun_at` and hold no part."""
    found: list[str] = []
    markers: tuple[tuple[str, str], ...] = ()
    for _ in range(_PAGES):
        params = (("uploads", ""), ("encoding-type", "url"), ("prefix", key), *markers)
        page = _parsed(parse_uploads, await client.call("GET", None, what="listing uploads", params=params))
        found += [upload for held, upload in page.uploads if held == key and _is_near(page, upload, begun_at)]
        if page.key_marker is None:
            break
        markers = (("key-marker", page.key_marker), ("upload-id-marker", page.upload_marker or ""))
    return [upload for upload in found if await _is_empty(client, key, upload)]


def _is_near(page: UploadPage, upload: str, begun_at: datetime) -> bool:
    begun = page.begun.get(upload)
    return begun is not None and abs(begun - begun_at) <= CLOCKS_APART


async def _is_empty(client: S3Client, key: str, upload: str) -> bool:
    """False where it has gone by now."""
    try:
        answer = await client.call("GET", key, what="parts of", of=key, params=(("uploadId", upload),))
    except (UploadGone, ObjectMissing):
        return False
    return not _parsed(parse_parts, answer).parts


def _parsed(parse: Callable[[bytes], T], answer: Answer) -> T:
    try:
        return parse(bytes(answer.body))
    except BadXml as error:
        raise StoreError(f"the list of uploads cannot be read: {error}") from error
