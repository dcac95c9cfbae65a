"""Bodies sent with all that S3 may check: checksum, conditions, tags. What a server refuses to be asked is left out and remembered.

Some compatibles answer `NotImplemented`, or 400 with the header's name, to what they do not know. The same request then goes
without it, so a poor server costs one refused request and not the object.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from backends.stores.base import Body
from backends.stores.checksum import IN_THREAD_FROM, hex_to_base64
from backends.stores.errors import ChecksumRefused, StoreError
from backends.stores.http1 import Answer
from backends.stores.s3_bucket import Bucket, shown
from backends.stores.s3_errors import Unsupported
from backends.stores.s3_headers import checksums_of

CRC = "x-amz-checksum-crc64nvme"
_ASKED = "x-amz-sdk-checksum-algorithm"  # ministack compares a checksum only where this names it, as AWS's SDKs do


@dataclass(frozen=True, slots=True)
class _Group:
    """Headers that are left out together, and the words by which a refusal names them."""

    headers: frozenset[str]
    words: tuple[str, ...]


_TAGS = _Group(frozenset({"x-amz-tagging"}), ("tagging",))
_CONDITIONS = _Group(frozenset({"if-match", "if-none-match"}), ("if-match", "if-none-match", "conditional"))
_CHECKSUM = _Group(frozenset({CRC, _ASKED, "x-amz-checksum-algorithm", "x-amz-checksum-type"}), ("checksum",))
_GROUPS = (_TAGS, _CONDITIONS, _CHECKSUM)  # in the order in which they are left out where a refusal names none


async def send(
    bucket: Bucket,
    method: str,
    key: str,
    verb: str,
    *,
    body: Body,
    headers: Mapping[str, str],
    params: tuple[tuple[str, str], ...] = (),
    unconditional: Callable[[], Awaitable[None]] | None = None,
    seconds: float | None = None,
) -> tuple[Answer, bool]:
    """The answer, and whether `x-amz-tagging` was among what was accepted. `unconditional` is awaited before a condition is left
    out: it may raise."""
    left = dict(headers)
    without: list[_Group] = []
    while True:
        try:
            answer = await bucket.call(method, key, verb, params=params, headers=left, body=body, seconds=seconds)
        except StoreError as error:
            group = _refused(error, key, left)
            if group is None:
                raise
            left = {name: value for name, value in left.items() if name not in group.headers}
            without.append(group)
            if group is _CHECKSUM and len(body):
                left["content-md5"] = await md5_base64(body)
            if group is _CONDITIONS and unconditional is not None:
                await unconditional()
        else:
            if without:  # only the last is surely one that the server does not take
                _remember(bucket, without[-1])
            return answer, "x-amz-tagging" in left


async def send_checked(
    bucket: Bucket,
    method: str,
    key: str,
    body: Body,
    crc64nvme: str,
    *,
    headers: Mapping[str, str],
    params: tuple[tuple[str, str], ...] = (),
    unconditional: Callable[[], Awaitable[None]] | None = None,
) -> tuple[Answer, bool]:
    """`send` with the checksum that the server understands. What it tells back must be the same, else `ChecksumRefused`."""
    if bucket.found.takes_crc:
        checked = {**headers, CRC: hex_to_base64(crc64nvme), _ASKED: "CRC64NVME"}
    elif bucket.found.takes_md5:
        checked = {**headers, "content-md5": await md5_base64(body)}
    else:
        checked = dict(headers)
    answer, tagged = await send(
        bucket, method, key, method, body=body, headers=checked, params=params, unconditional=unconditional
    )
    told = answer.headers.get(CRC)
    if told is not None and told != checked.get(CRC) and checksums_of(answer.headers).get("crc64nvme", crc64nvme) != crc64nvme:
        raise ChecksumRefused(f"{bucket.name}: {shown(key)}: the store received other bytes than were sent")
    return answer, tagged


def conditions(if_match: str | None, if_absent: bool) -> dict[str, str]:
    if if_match is not None:
        return {"if-match": f'"{if_match}"'}
    return {"if-none-match": "*"} if if_absent else {}


def _refused(error: StoreError, key: str, headers: Mapping[str, str]) -> _Group | None:
    """Which headers the server refuses as such; None where it refuses something else."""
    if not isinstance(error, Unsupported) and type(error) is not StoreError:
        return None
    said = error.message.rpartition(f"{shown(key)}: ")[2].lower()
    present = [group for group in _GROUPS if not group.headers.isdisjoint(headers)]
    for group in present:
        if any(word in said for word in group.words):
            return group
    return present[0] if present and isinstance(error, Unsupported) else None


def _remember(bucket: Bucket, group: _Group) -> None:
    found = bucket.found
    if group is _CHECKSUM:
        found.takes_crc = found.keeps_crc = False
        found.note("checksum", "refuses CRC64NVME: bodies go with Content-MD5, and no checksum of them is kept to compare with")
    elif group is _CONDITIONS:
        found.conditions = False
        found.note("conditions", "knows no conditional writes: what stands at the target is looked at just before instead")
    else:
        found.tags = "after"
        found.note("tag_header", "takes no tags together with an object: they are put after it")


async def md5_base64(body: Body) -> str:
    """As `Content-MD5` carries it."""

    def digest() -> str:
        return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode("ascii")

    return digest() if len(body) < IN_THREAD_FROM else await asyncio.to_thread(digest)
