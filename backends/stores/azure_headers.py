"""What Azure's headers say of a blob, and what of a source is said in those of its copy.

Names of metadata are C# identifiers there. One that is none travels as AzCopy renames it, and is given back under its own name:
`rename_a_b: value` with `rename_key_a_b: a-b`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode

from backends.stores.base import ObjectInfo
from backends.stores.object_xml import rfc1123
from backends.stores.s3_headers import etag_of

_META = "x-ms-meta-"
_BESIDE = ("cache-control", "content-disposition", "content-encoding", "content-language")
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*", re.I)
_RENAMED = "rename_"
_RENAMED_KEY = "rename_key_"


def told_of(key: str, headers: Mapping[str, str]) -> ObjectInfo:
    """Without MD5: whether that one was computed or only claimed is not said here."""
    size = headers.get("content-length", "")
    return ObjectInfo(
        key,
        int(size) if size.isdecimal() else 0,
        mtime=rfc1123(headers.get("last-modified", "")),
        etag=etag_of(headers),
        version=headers.get("x-ms-version-id"),
        content_type=headers.get("content-type"),
        metadata=given_back({k[len(_META) :]: v for k, v in headers.items() if k.startswith(_META)}),
        headers={name: headers[name] for name in _BESIDE if headers.get(name)},
    )


def carried(like: ObjectInfo | None) -> dict[str, str]:
    """Content type, cache headers, metadata and tags of the source, as headers of what makes the blob."""
    if like is None:
        return {}
    headers = {f"{_META}{name}": value for name, value in renamed(like.metadata).items()}
    headers |= {f"x-ms-blob-{name}": value for name, value in like.headers.items() if name in _BESIDE}
    if like.content_type:
        headers["x-ms-blob-content-type"] = like.content_type
    if like.tags:
        headers["x-ms-tags"] = urlencode(dict(like.tags))
    return headers


def renamed(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata under names that Azure takes."""
    out: dict[str, str] = {}
    for name, value in metadata.items():
        if _IDENTIFIER.fullmatch(name) and not name.startswith(_RENAMED):
            out[name] = value
            continue
        fit, number = re.sub(r"[^A-Za-z0-9_]", "_", name), 1
        while f"{_RENAMED}{fit}" in out:
            number += 1
            fit = re.sub(r"[^A-Za-z0-9_]", "_", name) + f"_{number}"
        out[f"{_RENAMED}{fit}"] = value
        out[f"{_RENAMED_KEY}{fit}"] = name
    return out


def given_back(metadata: Mapping[str, str]) -> dict[str, str]:
    """Undoes `renamed`."""
    names = {}
    for name, own in metadata.items():
        fit = name.removeprefix(_RENAMED_KEY)
        if fit != name and f"{_RENAMED}{fit}" in metadata:
            names[f"{_RENAMED}{fit}"] = own
    keys = {_RENAMED_KEY + name.removeprefix(_RENAMED) for name in names}
    return {names.get(name, name): value for name, value in metadata.items() if name not in keys}
