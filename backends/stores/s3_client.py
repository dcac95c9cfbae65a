"""Signed requests to one S3 bucket: pyreqwest for all keys but those it cannot say.

pyreqwest 0.15 (Rust reqwest) costs 0.3 ms of CPU a small object. Its URL type follows the WHATWG rules and removes the
segments `.` and `..`, percent-encoded or not, so keys that hold such a segment go through aiohttp, whose URL can be told
to be left alone. Answers are never decompressed and redirects never followed: both would break what was signed and proven.

Reading and writing have clients of their own: the idle limit of a read would also run while a large body is on its way out.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pyreqwest.exceptions import PyreqwestError
from pyreqwest.response import Response

from backends.errors import UsageError
from backends.escape import plain
from backends.stores.base import Body
from backends.stores.cancelling import heeded
from backends.stores.errors import StoreError, StoreUnreachable
from backends.stores.http_client import CONNECT_SECONDS, IDLE_SECONDS, SLOWEST, build_client
from backends.stores.s3_credentials import CredentialSource
from backends.stores.s3_errors import from_answer, from_http, may_have_ended
from backends.stores.sigv4 import Credentials, Scope, canonical_query, encode_path, sign

if TYPE_CHECKING:
    import aiohttp

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


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


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: Body = field(repr=False)


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
        self._reader = build_client(idle=True, is_loopback=address.is_loopback)
        self._writer = build_client(idle=False, is_loopback=address.is_loopback)
        self._literal: aiohttp.ClientSession | None = None
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
        expect: int = 0,
        seconds: float = IDLE_SECONDS,
    ) -> Answer:
        """Ask, and return an answer of status 2xx. `key` is None for the bucket itself; `expect` is how many bytes an answer may
        bring (it lengthens the limit); `what` names the action in messages, `of` the key as they show it."""
        raw = self._address.root if key is None else self._address.base + encode_path(key)
        query = canonical_query(params)
        given = {"host": self._address.host, **headers} if headers else {"host": self._address.host}
        url = f"{self._address.origin}{raw}?{query}" if query else f"{self._address.origin}{raw}"
        limit = seconds + CONNECT_SECONDS + ((0 if body is None else len(body)) + expect) / SLOWEST

        async def ask(credentials: Credentials) -> Answer:
            try:
                signed = sign(method, raw, query, given, credentials=credentials, scope=self._scope, at=datetime.now(UTC))
            except UnicodeEncodeError as error:
                raise StoreError(f"{self._store}: {_named(what, of)}: its metadata is not text and cannot be carried") from error
            del signed["host"]  # the HTTP client says the same by itself
            is_plain = not _has_dots(raw) and "".join(signed.values()).isascii()
            send = self._send if is_plain else self._send_literal
            began = time.monotonic()
            answer = await send(method, url, signed, body, limit, what, of)
            took = time.monotonic() - began
            if self.latency is None or took < self.latency:
                self.latency = took
            return answer

        credentials = await self._credentials.get()
        answer = await ask(credentials)
        if not 200 <= answer.status < 300 and may_have_ended(answer.status, bytes(answer.body)):
            renewed = await self._credentials.renew(credentials)
            answer = answer if renewed is None else await ask(renewed)
        if not 200 <= answer.status < 300:
            raise from_answer(answer.status, answer.headers, bytes(answer.body), store=self._store, what=_named(what, of))
        return answer

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, limit: float, what: str, of: str
    ) -> Answer:
        client = self._reader if body is None else self._writer
        request = client.request(method, url).headers(headers).timeout(timedelta(seconds=limit))
        if body is not None:
            request = request.body_bytes(body)
        try:
            with heeded():
                response = await request.build().send()
                data = await response.bytes()
        except PyreqwestError as error:
            raise from_http(error, store=self._store, what=_named(what, of), reading=body is None) from error
        try:
            told = dict(response.headers.items())  # lower-case already
        except ValueError:  # a value beyond ASCII, which this client cannot show
            if method == "HEAD" or "x-amz-checksum-mode" in headers:  # asked for what it says of the object, too
                return await self._send_literal(method, url, headers, body, limit, what, of)
            told = _ascii_headers(response)
        return Answer(response.status, told, memoryview(data))

    async def _send_literal(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, limit: float, what: str, of: str
    ) -> Answer:
        """For paths with `.` and `..` in them and for headers beyond ASCII (metadata): sent and read as they are."""
        import aiohttp  # 0.1 s: late, for the few that need it
        from yarl import URL

        session = self._literal_session()
        sent = io.BytesIO(body) if body else body  # aiohttp warns of large bytes
        timeout = aiohttp.ClientTimeout(total=limit, sock_connect=CONNECT_SECONDS)
        try:
            async with session.request(
                method, URL(url, encoded=True), headers=headers, data=sent, timeout=timeout, allow_redirects=False
            ) as response:
                data = await response.read()
                return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, data)
        except ValueError as error:
            raise StoreError(
                f"{self._store}: {_named(what, of)}: its metadata cannot be carried: {plain(str(error), 200)}"
            ) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StoreUnreachable(
                f"{self._store}: {_named(what, of)}: {plain(str(error), 200) or 'no answer in time'}"
            ) from error

    def _literal_session(self) -> aiohttp.ClientSession:
        if self._literal is None:
            import aiohttp

            unwanted = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
            self._literal = aiohttp.ClientSession(
                auto_decompress=False, skip_auto_headers=unwanted, trust_env=not self._address.is_loopback
            )
        return self._literal

    async def close(self) -> None:
        async with asyncio.timeout(10):
            await self._reader.close()
            await self._writer.close()
            if self._literal is not None:
                await self._literal.close()


def _named(what: str, of: str) -> str:
    return f"{what} {plain(of, 300)}" if of else what


def _ascii_headers(response: Response) -> dict[str, str]:
    """What can be shown of an answer's headers; metadata beyond ASCII matters to HEAD only."""
    told = {}
    for name in response.headers:
        with contextlib.suppress(ValueError):
            told[name] = response.headers[name]
    return told


def _has_dots(path: str) -> bool:
    return "/." in path and any(segment in (".", "..") for segment in path.split("/"))
