"""AWS Signature Version 4 in headers, by S3's rules.

Sources: AWS General Reference, "Create a signed AWS API request"; Amazon S3 API Reference, "Authenticating Requests: Using the
Authorization Header". What S3 does otherwise than other services: the path is percent-encoded once, never normalised (`a//b` and
`a/../b` stay), and `x-amz-content-sha256` is always sent and signed. `UNSIGNED-PAYLOAD` leaves the body to its checksum header.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"
_ALGORITHM = "AWS4-HMAC-SHA256"
_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")  # what most keys consist of


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys to sign with. Never shown: the repr has the access key's last four characters only."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"Credentials(…{self.access_key[-4:]})"


@dataclass(frozen=True, slots=True)
class Scope:
    region: str
    service: str = "s3"


def encode(text: str | bytes, safe: str = "") -> str:
    """Percent-encoded as the signature wants it: all but `A-Za-z0-9-_.~` and what is in `safe`."""
    if isinstance(text, str) and _PLAIN.fullmatch(text) is not None and (safe == "/" or "/" not in text):
        return text
    return quote(text, safe=safe + "~")


def encode_path(text: str | bytes) -> str:
    """A key as a path: slashes stay, nothing is normalised."""
    return encode(text, "/")


def canonical_query(params: Iterable[tuple[str, str]]) -> str:
    """The query string, encoded and sorted: what is signed is what is sent."""
    return "&".join([f"{k}={v}" for k, v in sorted([(encode(k), encode(v)) for k, v in params])]) if params else ""


def canonical_request(method: str, path: str, query: str, headers: Mapping[str, str], payload: str) -> tuple[str, str]:
    """The text that is signed, and the names of the signed headers. `path` and `query` are already encoded."""
    order, names = _order(tuple(headers))
    lines = "\n".join([f"{lower}:{' '.join(headers[name].split())}" for name, lower in order])
    return f"{method}\n{path}\n{query}\n{lines}\n\n{names}\n{payload}", names


@lru_cache(maxsize=256)
def _order(names: tuple[str, ...]) -> tuple[tuple[tuple[str, str], ...], str]:
    """(name, in lower case) as they are signed, and as `SignedHeaders` says them: few sets of names make up all requests."""
    order = tuple(sorted(((name, name.lower()) for name in names), key=lambda pair: pair[1]))
    return order, ";".join([lower for _, lower in order])


def string_to_sign(moment: str, scope: str, request: str) -> str:
    return f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode('utf-8')).hexdigest()}"


@lru_cache(maxsize=64)
def signer(secret_key: str, day: str, region: str, service: str) -> hmac.HMAC:
    """The HMAC of one day, region and service, to be copied: `hmac.digest` lets the interpreter's lock go, which with the HTTP
    client's threads waiting for it costs 20 us a request instead of 1."""
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode("utf-8"), "sha256")
    return hmac.new(key, digestmod="sha256")


@lru_cache(maxsize=8)
def _moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(maxsize=64)
def _scope(day: str, region: str, service: str) -> str:
    return f"{day}/{region}/{service}/aws4_request"


def sign(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    credentials: Credentials,
    scope: Scope,
    at: datetime,
    payload: str = UNSIGNED,
) -> dict[str, str]:
    """All headers to send: `headers` (`host` among them), the date, the payload's hash, the token and `authorization`.

    Every header given is signed, so give none that a proxy or the HTTP client may change.
    """
    moment = _moment(int(at.timestamp()))
    day = moment[:8]
    within = _scope(day, scope.region, scope.service)
    signed = {**headers, "x-amz-date": moment, "x-amz-content-sha256": payload}
    if credentials.session_token:
        signed["x-amz-security-token"] = credentials.session_token
    request, names = canonical_request(method, path, query, signed, payload)
    text = string_to_sign(moment, within, request)
    mac = signer(credentials.secret_key, day, scope.region, scope.service).copy()
    mac.update(text.encode("utf-8"))
    signature = mac.hexdigest()
    signed["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{within},SignedHeaders={names},Signature={signature}"
    )
    return signed
