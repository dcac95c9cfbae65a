"""What the headers of Google Cloud Storage say of an object, and what of a source is said in those of its copy."""

from __future__ import annotations

from collections.abc import Mapping

from backends.stores.base import ObjectInfo
from backends.stores.checksum import base64_to_hex
from backends.stores.object_xml import rfc1123

_META = "x-goog-meta-"
_BESIDE = ("cache-control", "content-disposition", "content-encoding", "content-language")


def told_of(key: str, headers: Mapping[str, str]) -> ObjectInfo:
    """The size is that of what is stored, packed or not."""
    size = headers.get("x-goog-stored-content-length") or headers.get("content-length", "")
    generation = headers.get("x-goog-generation")
    beside = {name: headers[name] for name in _BESIDE if headers.get(name)}
    packed = headers.get("x-goog-stored-content-encoding", "identity")
    if packed != "identity":
        beside["content-encoding"] = packed
    return ObjectInfo(
        key,
        int(size) if size.isdecimal() else 0,
        mtime=rfc1123(headers.get("last-modified", "")),
        etag=generation,
        version=generation,
        checksums=checksums_of(headers.get("x-goog-hash", "")),
        content_type=headers.get("content-type"),
        metadata={name[len(_META) :]: value for name, value in headers.items() if name.startswith(_META)},
        headers=beside,
    )


def checksums_of(text: str) -> dict[str, str]:
    """Of `x-goog-hash`: `crc32c=…,md5=…`, in base64."""
    found = {}
    for item in text.split(","):
        name, _, value = item.strip().partition("=")
        if name in ("crc32c", "md5") and (digest := base64_to_hex(name, value)):
            found[name] = digest
    return found


def carried(like: ObjectInfo | None) -> dict[str, str]:
    """Content type, cache headers and metadata of the source, as headers of the copy."""
    if like is None:
        return {}
    headers = {f"{_META}{name}": value for name, value in like.metadata.items()}
    headers |= {name: value for name, value in like.headers.items() if name in _BESIDE}
    if like.content_type:
        headers["content-type"] = like.content_type
    return headers
