"""Object tags: asked for where an object has any, written as its source had them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from backends.stores.base import ObjectInfo
from backends.stores.errors import StoreDenied
from backends.stores.s3_bucket import Bucket, version_params
from backends.stores.s3_errors import Unsupported
from backends.stores.s3_xml import parse_tags, tagging_document

COUNT = "x-amz-tagging-count"
LARGE = 16 << 20  # from this size on one request more is nothing


def tag_header(tags: Mapping[str, str]) -> str:
    """As `x-amz-tagging` carries them."""
    return urlencode(tags, quote_via=quote)


async def read_tags(bucket: Bucket, key: str, version: str | None = None) -> dict[str, str]:
    answer = await bucket.call("GET", key, "tags of", params=(("tagging", ""), *version_params(version)))
    return bucket.parsed(parse_tags, answer, key)


async def with_tags(bucket: Bucket, info: ObjectInfo, headers: Mapping[str, str], *, by_head: bool) -> ObjectInfo:
    """`info` with its tags: asked for only where the answer's headers count some. Some servers count in GET and not in HEAD: until
    this one was seen to, a large object's first byte is read for its count. (The tags themselves are not asked for on the off chance:
    a server that does not know `?tagging` answers with the whole object.)"""
    found = bucket.found
    counted = headers.get(COUNT, "0") != "0"
    if counted and by_head:
        found.counts_tags = True
    if found.reads_tags and not counted and by_head and info.size >= LARGE and not found.counts_tags:
        first = await bucket.call("GET", info.key, "GET", params=version_params(info.version), headers={"range": "bytes=0-0"})
        counted = first.headers.get(COUNT, "0") != "0"
    if not found.reads_tags or not counted:
        return info
    try:
        return info._replace(tags=await read_tags(bucket, info.key, info.version))
    except StoreDenied:
        found.reads_tags = False
        found.note(
            "tags_denied", "tags may not be read with these credentials (s3:GetObjectTagging): where there are any, they stay"
        )
    return info


async def put_tags(bucket: Bucket, key: str, tags: Mapping[str, str], version: str | None = None) -> None:
    """After the object was written, for servers that took none with it. Those that know no tags at all are noted."""
    if bucket.found.tags == "never":
        return
    params = (("tagging", ""), *version_params(version))
    try:
        await bucket.call(
            "PUT", key, "tags of", params=params, headers={"content-type": "application/xml"}, body=tagging_document(tags)
        )
    except Unsupported:
        bucket.found.tags = "never"
        bucket.found.note("tags", "keeps no tags: objects arrive without theirs")
