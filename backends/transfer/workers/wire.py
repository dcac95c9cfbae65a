"""What the machine that leads and a worker say to each other: one JSON object a line, in ASCII, over the channel of an SSH session.

The first line goes to the worker and opens its stores, the first answer tells its version. Then each request has a number `n`, and
so has its answer. A worker says something every `BEAT` seconds; who hears nothing for `SILENCE` takes the other for dead. Credentials
travel in this channel only: never in an argument, an environment or a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from backends.errors import CouldNot
from backends.escape import plain
from backends.stores.base import NOTHING, ObjectInfo, PartInfo
from backends.stores.errors import StoreBusy, StoreError
from backends.transfer.errors import Damaged
from backends.transfer.haul import Hauled
from backends.transfer.sums import Sums

PROTOCOL = 1
LINE_LIMIT = 1 << 20
BEAT = 2.0
SILENCE = 15.0
_PROOFS = ("stored_checksums", "combined_parts", "manifest")


def encode(message: Mapping[str, Any]) -> bytes:
    """One line. Names that are no UTF-8 survive as escapes."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: str) -> dict[str, Any]:
    """Raises `ValueError` for what is no message."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message


def info_out(info: ObjectInfo) -> dict[str, Any]:
    """What is not said is as in an `ObjectInfo` that nothing is known of."""
    out: dict[str, Any] = {name: value for name, value in info._asdict().items() if value}
    out |= {"key": info.key, "size": info.size}
    for name in ("checksums", "metadata", "headers", "tags"):
        if name in out:
            out[name] = dict(out[name])
    if info.mtime is not None:
        out["mtime"] = info.mtime.isoformat()
    if info.mtime_ns is not None:
        out["mtime_ns"] = info.mtime_ns
    return out


def info_in(value: object) -> ObjectInfo:
    """Raises `ValueError` where it is none."""
    found = _object(value)
    mtime = found.get("mtime")
    return ObjectInfo(
        key=_text(found, "key"),
        size=_whole(found, "size"),
        mtime=None if mtime is None else datetime.fromisoformat(_text(found, "mtime")),
        mtime_ns=None if found.get("mtime_ns") is None else _whole(found, "mtime_ns"),
        etag=_text_or_none(found, "etag"),
        version=_text_or_none(found, "version"),
        checksums=_texts(found, "checksums"),
        content_type=_text_or_none(found, "content_type"),
        metadata=_texts(found, "metadata"),
        headers=_texts(found, "headers"),
        tags=_texts(found, "tags"),
    )


def sums_out(sums: Sums) -> list[int]:
    return [sums.size, sums.crc64, sums.crc32c]


def sums_in(value: object) -> Sums:
    """Raises `ValueError`."""
    if not isinstance(value, list) or len(value) != 3 or not all(type(v) is int and 0 <= v < 1 << 64 for v in value):
        raise ValueError("no checksums")
    return Sums(*value)


def hauled_out(done: Hauled) -> dict[str, Any]:
    sides = {"source": info_out(done.source), "target": info_out(done.target)}
    return {**sides, "sums": sums_out(done.sums), "proof": done.proof}


def hauled_in(message: Mapping[str, Any], key: str) -> Hauled:
    """What arrived of the object `key`. Raises `ValueError`, also where its figures contradict each other."""
    source, target, sums = info_in(message.get("source")), info_in(message.get("target")), sums_in(message.get("sums"))
    proof = message.get("proof")
    if proof not in _PROOFS or source.key != key or target.key != key or not source.size == target.size == sums.size:
        raise ValueError("an answer to something else")
    return Hauled(source, target, sums, proof)


def part_out(sums: Sums, part: PartInfo) -> dict[str, Any]:
    return {"sums": sums_out(sums), "number": part.number, "etag": part.etag, "size": part.size, "checksum": part.checksum}


def part_in(message: Mapping[str, Any], number: int, size: int) -> tuple[Sums, PartInfo]:
    """What arrived of the part `number` of `size` bytes. Raises `ValueError`."""
    sums = sums_in(message.get("sums"))
    part = PartInfo(
        _whole(message, "number"), _text(message, "etag"), _whole(message, "size"), _text_or_none(message, "checksum") or ""
    )
    if (part.number, part.size, sums.size) != (number, size, size):
        raise ValueError("an answer to something else")
    return sums, part


def error_out(error: CouldNot | TimeoutError) -> dict[str, Any]:
    if isinstance(error, TimeoutError):
        return {"code": "timeout", "message": "timed out"}
    out: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
    if isinstance(error, StoreBusy):
        out["retry_after"] = error.retry_after
    return out


def error_in(value: object, host: str) -> CouldNot | TimeoutError:
    """The error that it was there, so that it is handled as one of here; one that is not known is a `StoreError`. Raises `ValueError`."""
    found = _object(value)
    code, message = _text(found, "code"), plain(_text(found, "message"), 500)
    if code == "timeout":
        return TimeoutError()
    if code == StoreBusy.code:
        after = found.get("retry_after")
        return StoreBusy(f"a store, at {plain(host, 80)},", float(after) if isinstance(after, int | float) else 1.0)
    kind = _KINDS.get(code, StoreError)
    return kind(f"{message} (carried by {plain(host, 80)})", hint=plain(_text_or_none(found, "hint") or "", 300))


def _kinds(kind: type[StoreError]) -> Iterator[type[StoreError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)


_KINDS: dict[str, type[CouldNot]] = {kind.code: kind for kind in _kinds(StoreError)} | {Damaged.code: Damaged}


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value


def _text_or_none(found: Mapping[str, Any], name: str) -> str | None:
    return None if found.get(name) is None else _text(found, name)


def _whole(found: Mapping[str, Any], name: str) -> int:
    value = found.get(name)
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is no number")
    return value


def _texts(found: Mapping[str, Any], name: str) -> Mapping[str, str]:
    value = found.get(name)
    if value is None:
        return NOTHING
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError(f"{name} is no mapping")
    return value
