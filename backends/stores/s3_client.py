"""Signed requests to one S3 bucket.

Small ones go over the event loop (`wire`), large bodies through threads (`bulk`; over TLS, and all by way of a proxy where the environment
names one, `reqwest`). The path is sent as it was signed, whatever segments it has. Answers are never decompressed and redirects never followed:
both would break what was signed and proven.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from backends.errors import UsageError
from backends.escape import plain
from backends.stores.base import Body, Take
from backends.stores.bulk import FROM, Bulk
from backends.stores.errors import StoreError
from backends.stores.http1 import Answer, HttpError, Request
from backends.stores.http_limits import CONNECT_SECONDS, IDLE_SECONDS, SLOWEST
from backends.stores.s3_credentials import CredentialSource
from backends.stores.s3_errors import from_answer, from_http, may_have_ended
from backends.stores.sigv4 import Credentials, Scope, canonical_query, encode_path, sign
from backends.stores.wire import Wire

if TYPE_CHECKING:
    from backends.stores.reqwest import Reqwest

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_UNKNOWN = 1 << 30  # bytes that an answer of no known length may bring in time


@dataclass(frozen=True, slots=True)
class Address:
    """Where a bucket answers: scheme and authority, and what stands before the key in the path."""

    origin: str
    host: str
    base: str  # path before the key: "/bucket/" or "/"
    root: str  # path of the bucket itself: "/bucket" or "/"

    @property
    def is_loopback(self) -> bool:
        return (urlsplit(self.origin).hostname or "") in _LOOPBACK


def bucket_address(bucket: str, *, endpoint: str | None, region: str, path_style: bool | None) -> Address:
    """Path style by default where an endpoint is given, else the bucket's own host name (not with dots in it: TLS forbids)."""
    given = endpoint or f"https://s3.{region}.{_domain(region)}"
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise UsageError(f"endpoint {plain(_without_user(given), 200)}: expected http(s)://HOST[:PORT]")
    standard = {"http": 80, "https": 443}[parts.scheme]
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, standard) else f":{parts.port}"
    path = parts.path.rstrip("/")
    by_path = path_style if path_style is not None else (endpoint is not None or "." in bucket)
    if by_path:
        root = f"{path}/{encode_path(bucket)}"
        return Address(f"{parts.scheme}://{name}{port}", f"{name}{port}", f"{root}/", root)
    host = f"{bucket}.{name}{port}"
    return Address(f"{parts.scheme}://{host}", host, f"{path}/", f"{path}/")


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def _without_user(url: str) -> str:
    return url.rpartition("@")[2]


class S3Client:
    """Requests to one bucket. `call` answers or raises one of the store's errors."""

    def __init__(self, store: str, address: Address, credentials: CredentialSource, region: str) -> None:
        self._store = store
        self._address = address
        self._credentials = credentials
        self._scope = Scope(region)
        self._ways: _Ways | Reqwest | None = None
        self._at = 0, datetime.fromtimestamp(0, UTC)
        self.latency: float | None = None  # of the fastest request

    async def call(
        self,
        method: str,
        key: str | None,
        *,
        what: str,
        of: str = "",
        params: tuple[tuple[str, str], ...] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        expect: int | None = 0,
        seconds: float | None = None,
        take: Take | None = None,
    ) -> Answer:
        """Ask, and return an answer of status 2xx. `key` is None for the bucket itself; `expect` is how many bytes an answer may
        bring, None where that is not known (it lengthens the limit of `seconds`); `take` as in `Request`; `what` names the action in messages, `of` the key as they show it."""
        raw = self._address.root if key is None else self._address.base + encode_path(key)
        query = canonical_query(params)
        given = {"host": self._address.host, **headers} if headers else {"host": self._address.host}
        target = f"{raw}?{query}" if query else raw
        idle = IDLE_SECONDS
        limit = (seconds or idle) + CONNECT_SECONDS + (len(body or b"") + (_UNKNOWN if expect is None else expect)) / SLOWEST
        ways = self._ways or self._open()

        def request(credentials: Credentials) -> Request:
            try:
                signed = sign(method, raw, query, given, credentials=credentials, scope=self._scope, at=self._now())
            except UnicodeEncodeError as error:
                raise StoreError(f"{self._store}: {_named(what, of)}: its metadata is not text and cannot be carried") from error
            return Request(method, target, signed, body, limit, idle, expect, take)

        credentials = await self._credentials.get()
        try:
            began = time.monotonic()
            answer = await ways.ask(request(credentials))
            if self.latency is None or time.monotonic() - began < self.latency:
                self.latency = time.monotonic() - began
            if not 200 <= answer.status < 300 and may_have_ended(answer.status, bytes(answer.body)):
                renewed = await self._credentials.renew(credentials)
                answer = answer if renewed is None else await ways.ask(request(renewed))
        except HttpError as error:
            raise from_http(error, store=self._store, what=_named(what, of), reading=body is None) from error
        if not 200 <= answer.status < 300:
            raise from_answer(answer.status, answer.headers, bytes(answer.body), store=self._store, what=_named(what, of))
        return answer

    def _now(self) -> datetime:
        second = int(time.time())
        if second != self._at[0]:
            self._at = second, datetime.fromtimestamp(second, UTC)
        return self._at[1]

    def _open(self) -> _Ways | Reqwest:
        parts = urlsplit(self._address.origin)
        host = parts.hostname or ""
        if not self._address.is_loopback and _has_proxy(parts.scheme, host):
            from backends.stores.reqwest import Reqwest  # two HTTP clients: only where they are needed

            self._ways = Reqwest(self._address.origin)
        else:
            self._ways = _Ways(self._address.origin, is_loopback=self._address.is_loopback)
        return self._ways

    async def close(self) -> None:
        if self._ways is not None:
            await self._ways.close()


class _Ways:
    """To one host, straight."""

    def __init__(self, origin: str, *, is_loopback: bool) -> None:
        parts = urlsplit(origin)
        host, port = parts.hostname or "", parts.port
        self._origin = origin
        self._is_loopback = is_loopback
        self._reqwest: Reqwest | None = None
        if parts.scheme == "https":
            from backends.stores.tls import client_context

            self._wire, self._bulk = Wire(host, port or 443, client_context()), None
        else:
            self._wire, self._bulk = Wire(host, port or 80, None), Bulk(host, port or 80)

    def ask(self, request: Request) -> Coroutine[Any, Any, Answer]:
        size = len(request.body) if request.body is not None else request.expect or 0
        if size < FROM:
            return self._wire.ask(request)
        if self._bulk is None:
            return self._ask_by_tls(request)
        return (self._bulk if self._bulk.has_room else self._wire).ask(request)

    async def _ask_by_tls(self, request: Request) -> Answer:
        from backends.stores.reqwest import Reqwest, can_say

        if not can_say(request):
            return await self._wire.ask(request)
        if self._reqwest is None:
            self._reqwest = Reqwest(self._origin, is_loopback=self._is_loopback)
        return await self._reqwest.ask(request)

    async def close(self) -> None:
        await self._wire.close()
        if self._bulk is not None:
            await self._bulk.close()
        if self._reqwest is not None:
            await self._reqwest.close()


def _has_proxy(scheme: str, host: str) -> bool:
    """Whether the environment names a proxy for it."""
    from urllib.request import getproxies, proxy_bypass  # with an HTTP client of its own

    proxies = getproxies()
    return (scheme in proxies or "all" in proxies) and not proxy_bypass(host, proxies)


def _named(what: str, of: str) -> str:
    return f"{what} {plain(of, 300)}" if of else what
