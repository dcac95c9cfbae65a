"""A TSIG key as operators have it: `name:algorithm:base64`, what `nsupdate -y` and `knsupdate -y` take, or the content of a key file
of BIND or Knot. Nothing of a key is ever in a message.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from backends.traffic.base import RouteError

ALGORITHMS = ("hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
_FORMS = "name:algorithm:base64, or the content of a key file of BIND or Knot"
_BIND = re.compile(
    r"""\A\s*key\s+(?P<q>"?)(?P<name>[^\s"{};]+)(?P=q)\s*\{\s*(?P<body>[^{}]*)\}\s*;\s*\Z""",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r'\s*(algorithm|secret)\s+"?([^\s";]+)"?\s*;', re.IGNORECASE)
_KNOT_ITEM = re.compile(r"(?:-\s+)?(id|algorithm|secret)\s*:\s*[\"']?([^\s\"']+)[\"']?")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")


class BadKey(RouteError):
    """The key cannot be read. Its text is not shown."""

    code = "tsig_key"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the TSIG key cannot be read: {reason}", hint=f"expected {_FORMS}")


@dataclass(frozen=True, slots=True)
class TsigKey:
    """`algorithm` is one of `ALGORITHMS`."""

    name: str
    algorithm: str
    secret: bytes = field(repr=False)


def parse_key(text: str) -> TsigKey:
    """The key in `text`. Raises `BadKey`, which shows nothing of it."""
    if (bind := _BIND.match(_without_comments(text, "//"))) is not None:
        found = {k.lower(): v for k, v in _CLAUSE.findall(bind["body"])}
        return _key(bind["name"], found.get("algorithm"), found.get("secret"))
    lines = [line.strip() for line in _without_comments(text, "#").splitlines() if line.strip()]
    if lines and lines[0] == "key:":
        return _knot(lines[1:])
    if len(lines) == 1:
        return _line(lines[0])
    raise BadKey("it has none of the known forms")


def _without_comments(text: str, sign: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", sign)))


def _knot(lines: list[str]) -> TsigKey:
    found: dict[str, str] = {}
    for line in lines:
        item = _KNOT_ITEM.fullmatch(line)
        if item is None or item[1] in found:
            raise BadKey("it holds more than one key, or another section")
        found[item[1]] = item[2]
    return _key(found.get("id"), found.get("algorithm"), found.get("secret"))


def _line(line: str) -> TsigKey:
    parts = line.split(":")
    if len(parts) != 3:
        raise BadKey(f"it has {len(parts)} parts between colons")
    first, second, secret = parts
    if first.lower() in ALGORITHMS and second.lower() not in ALGORITHMS:
        first, second = second, first  # as nsupdate and knsupdate take it
    return _key(first, second, secret)


def _key(name: str | None, algorithm: str | None, secret: str | None) -> TsigKey:
    if name is None or algorithm is None or secret is None:
        raise BadKey("its name, algorithm or secret is absent")
    if not _NAME.fullmatch(name):
        raise BadKey("its name is no domain name")
    if algorithm.lower() not in ALGORITHMS:
        raise BadKey(f"its algorithm is none of {', '.join(ALGORITHMS)}")
    try:
        raw = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        raise BadKey("its secret is no base64") from None
    if not raw:
        raise BadKey("its secret is empty")
    return TsigKey(name.lower().removesuffix("."), algorithm.lower(), raw)
