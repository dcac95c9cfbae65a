"""The checksum of a whole object, from those that S3 keeps of its parts.

Source: Amazon S3 API Reference, GetObjectAttributes: `ObjectParts` has each part's size and checksum where the object was uploaded in
parts with one. The value of such an object itself is composite: a checksum of checksums, which says nothing of its bytes, but
confirms the list of parts. CRCs are linear, so those of the parts add up; hashes do not.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from backends import crc
from backends.stores.base import NOTHING, ObjectInfo
from backends.stores.checksum import base64_to_hex, combine_parts
from backends.stores.errors import ObjectMissing, SourceChanged, StoreBusy, StoreDenied, StoreError, StoreUnreachable
from backends.stores.s3_bucket import Bucket, shown, version_params
from backends.stores.s3_xml import AttributedPart, AttributesPage, parse_attributes

_IN_PARTS = re.compile(r"-\d+\Z")  # what the ETag of an object uploaded in parts ends in
_MOST_PAGES = 11  # of 1,000 parts each
_ASKED = {"x-amz-object-attributes": "ETag,Checksum,ObjectParts,ObjectSize", "x-amz-max-parts": "1000"}


async def joined_checksums(bucket: Bucket, info: ObjectInfo) -> Mapping[str, str]:
    """By algorithm, hex. Empty where the object has no parts, or the server tells no CRC of each. Raises `SourceChanged`."""
    if not bucket.found.tells_parts or not info.etag or not _IN_PARTS.search(info.etag):
        return NOTHING
    try:
        page, parts = await _all_parts(bucket, info)
    except (StoreBusy, StoreUnreachable, ObjectMissing, SourceChanged):
        raise
    except StoreDenied:
        bucket.found.tells_parts = False
        bucket.found.note("parts_denied", "checksums of parts may not be read with these credentials (s3:GetObjectAttributes)")
        return NOTHING
    except StoreError:
        bucket.found.tells_parts = False
        return NOTHING
    return _joined(page, parts)


async def _all_parts(bucket: Bucket, info: ObjectInfo) -> tuple[AttributesPage, list[AttributedPart]]:
    parts: list[AttributedPart] = []
    marker: str | None = None
    params = (("attributes", ""), *version_params(info.version))
    for _ in range(_MOST_PAGES):
        headers = {**_ASKED, "x-amz-part-number-marker": marker} if marker else _ASKED
        answer = await bucket.call("GET", info.key, "attributes of", params=params, headers=headers)
        page = bucket.parsed(parse_attributes, answer, info.key)
        if not page.etag:
            raise StoreError(f"{bucket.name}: {shown(info.key)}: its attributes do not tell its ETag")
        if page.etag != info.etag or page.size != info.size:
            raise SourceChanged(f"{bucket.name}: {shown(info.key)} has changed since it was listed")
        parts += page.parts
        if page.marker is None:
            return page, parts
        if page.marker == marker:
            break
        marker = page.marker
    raise StoreError(f"{bucket.name}: the list of parts of {shown(info.key)} does not end")


def _joined(page: AttributesPage, parts: list[AttributedPart]) -> Mapping[str, str]:
    whole = {name: value for name, told in page.checksums.items() if (value := base64_to_hex(name, told))}
    if whole or not parts:
        return whole
    numbers = [part.number for part in parts]
    if numbers != sorted(set(numbers)) or len(parts) != page.count or sum(part.size for part in parts) != page.size:
        return NOTHING
    found = {}
    for name in ("crc64nvme", "crc32c", "crc32"):
        values = [base64_to_hex(name, part.checksums.get(name, "")) for part in parts]
        told = [value for value in values if value is not None]
        if len(told) == len(parts) and _confirms(name, page.checksums.get(name, ""), told):
            found[name] = combine_parts(zip(told, [part.size for part in parts], strict=True), name)
    return found


def _confirms(name: str, composite: str, values: list[str]) -> bool:
    """Whether the object's composite value is that of these parts: the CRC of their CRCs, then `-` and their number."""
    digest, _, count = composite.partition("-")
    raw = b"".join(bytes.fromhex(value) for value in values)
    value = {"crc64nvme": crc.crc64nvme, "crc32c": crc.crc32c, "crc32": crc.crc32}[name](raw)
    try:
        return count == str(len(values)) and int.from_bytes(base64.b64decode(digest, validate=True), "big") == value
    except (binascii.Error, ValueError):
        return False
