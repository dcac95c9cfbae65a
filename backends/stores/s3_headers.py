"""What S3's headers say of an object, and what of a source is said in those of its copy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from backends.stores.base import ObjectInfo
from backends.stores.checksum import base64_to_hex

_META = "x-amz-meta-"
_BESIDE = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")
_KNOWN = {f"x-amz-checksum-{name}": name for name in ("crc64nvme", "crc32c", "crc32", "sha256", "sha1")}


def etag_of(headers: Mapping[str, str]) -> str | None:
    """Without quotes and without the mark of a weak one."""
    value = headers.get("etag", "").removeprefix("W/").strip('"')
    return value or None


def checksums_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Full-object values by algorithm. Composite ones (`…-3`, or so called) say nothing of the whole."""
    if headers.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT":
        return {}
    found = {}
    for header, name in _KNOWN.items():
        if (told := headers.get(header)) and (value := base64_to_hex(name, told)):
            found[name] = value
    return found


def info_of(key: str, headers: Mapping[str, str], mtime: datetime | None = None) -> ObjectInfo:
    """`mtime` saves reading the date, where it is known."""
    size = headers.get("content-length", "")
    return ObjectInfo(
        key,
        int(size) if size.isdecimal() else 0,
        mtime=mtime or _moment(headers.get("last-modified", "")),
        etag=etag_of(headers),
        version=headers.get("x-amz-version-id"),
        checksums=checksums_of(headers),
        content_type=headers.get("content-type"),
        metadata={k[len(_META) :]: v for k, v in headers.items() if k.startswith(_META)},
        headers=_beside(headers),
    )


def _beside(headers: Mapping[str, str]) -> dict[str, str]:
    """What an HTTP client is told with the object. `aws-chunked` is how a body was sent, and some servers keep it."""
    found = {name: headers[name] for name in _BESIDE if headers.get(name)}
    if "aws-chunked" in found.get("content-encoding", ""):
        kept = [word.strip() for word in found.pop("content-encoding").split(",")]
        if real := ",".join(word for word in kept if word != "aws-chunked"):
            found["content-encoding"] = real
    return found


def carried(like: ObjectInfo | None) -> dict[str, str]:
    """Content type, headers and user metadata of the source, as headers of the copy. The storage class is the target's own."""
    if like is None:
        return {}
    headers = {f"{_META}{name}": value for name, value in like.metadata.items()}
    headers |= like.headers
    if like.content_type:
        headers["content-type"] = like.content_type
    return headers


def _moment(text: str) -> datetime | None:
    from email.utils import parsedate_to_datetime  # with all of email: a copy knows the date from the listing

    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, TypeError):
        return None
