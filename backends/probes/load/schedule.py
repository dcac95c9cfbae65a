"""When each request is due: constant, Poisson, or as it was recorded. Lazily, so that a day of them takes no memory."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from backends.errors import UsageError
from backends.escape import plain

MAX_LINE = 1 << 20
# Common and combined log format (Apache, nginx): [10/Oct/2000:13:55:36 -0700] "GET /path HTTP/1.1"
_ACCESS = re.compile(r'\[(\d{2}/[A-Za-z]{3}/\d{4}:\d{2}:\d{2}:\d{2} [+-]\d{4})\] "([A-Z]{1,20}) (\S{1,8000}) HTTP/[\d.]+"')


@dataclass(frozen=True, slots=True)
class Planned:
    """A request: seconds after the start at which it is due; what of it is its own, where it was recorded."""

    at: float
    method: str | None = None
    path: str | None = None
    body: bytes | None = None


def constant(rate: float, *, since: float = 0.0) -> Iterator[Planned]:
    """One every 1/rate seconds, from `since` on."""
    number = math.ceil(since * rate)
    while True:
        yield Planned(number / rate)
        number += 1


def poisson(rate: float, seed: int, *, since: float = 0.0) -> Iterator[Planned]:
    """Independent arrivals from `since` on: gaps are exponential with mean 1/rate, whatever came before."""
    chance = random.Random(f"{seed} {since}") if since else random.Random(seed)
    at = since
    while True:
        at += chance.expovariate(rate)
        yield Planned(at)


def recorded(path: Path, speed: float = 1.0) -> Iterator[Planned]:
    """Lines of a JSON Lines file (`at` in seconds or `time` in ISO 8601, `path`, and maybe `method`, `body`) or of an access log, with
    their own timing, `speed` times as fast. Lines out of order are due at once. Raises `UsageError` for one that is neither."""
    start: float | None = None
    with path.open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE), b""), 1):
            if not line.strip():
                continue
            found = _json_line(line) if line.lstrip().startswith(b"{") else _access_line(line)
            if found is None:
                raise UsageError(
                    f"not a recorded request: {plain(line[:80])}",
                    where=f"{path}:{number}",
                    hint='an access log, or JSON Lines with {"at": seconds, "path": "/…", "method": …, "body": …}',
                )
            start = found.at if start is None else start
            yield Planned(max(0.0, (found.at - start) / speed), found.method, found.path, found.body)


def _json_line(line: bytes) -> Planned | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    at, path, method = value.get("at"), value.get("path"), value.get("method", "GET")
    if at is None and isinstance(value.get("time"), str):
        try:
            at = datetime.fromisoformat(value["time"]).timestamp()
        except ValueError:
            return None
    if isinstance(at, bool) or not isinstance(at, (int, float)) or not _is_target(path) or not _is_method(method):
        return None
    body = value.get("body")
    raw = body.encode() if isinstance(body, str) else orjson.dumps(body) if body is not None else None
    return Planned(float(at), method, path, raw)


def _access_line(line: bytes) -> Planned | None:
    found = _ACCESS.search(line.decode("utf-8", "replace"))
    if found is None or not _is_target(found.group(3)):
        return None
    at = datetime.strptime(found.group(1), "%d/%b/%Y:%H:%M:%S %z").timestamp()
    return Planned(at, found.group(2), found.group(3))


def _is_target(path: Any) -> bool:
    return isinstance(path, str) and path.startswith("/") and path.isascii() and path.isprintable() and " " not in path


def _is_method(method: Any) -> bool:
    return isinstance(method, str) and method.isascii() and method.isalpha() and method.isupper() and len(method) <= 20
