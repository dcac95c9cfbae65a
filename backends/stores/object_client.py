"""HTTP requests to Google Cloud Storage and Azure Blob, through pyreqwest, signed by what the cloud's credentials give.

Own requests and not a client library, because only these say all that a proof needs: the checksum that a store computed, the
generation or ETag that a read held on to, `Retry-After`, and any key: object_store 0.14 refuses `a//b` and `a/./b`, ends a whole
listing at the first such key and shows no headers. A key goes into the path with every slash as `%2F`, so that no URL type on
the way takes a part of it for a folder step. Answers are never decompressed and redirects never followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol
from urllib.parse import urlsplit

from pyreqwest.exceptions import PyreqwestError
from pyreqwest.response import Response

from backends.errors import UsageError
from backends.escape import plain
from backends.stores.base import Body
from backends.stores.cancelling import heeded
from backends.stores.errors import StoreError
from backends.stores.http_client import as_ours, build_client
from backends.stores.http_limits import CONNECT_SECONDS, IDLE_SECONDS, SLOWEST
from backends.stores.s3_errors import from_http
from backends.stores.sigv4 import canonical_query, encode

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}

Params = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What is signed. `path` is encoded as it is sent; `headers` have lower-case names."""

    method: str
    path: str
    params: Params
    headers: Mapping[str, str]
    size: int


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: Body = field(repr=False)


class Signer(Protocol):
    async def sign(self, request: Request) -> tuple[Mapping[str, str], Params]:
        """All headers and query parameters to send. Raises `StoreDenied` where there are no credentials."""
        ...

    def forget(self) -> bool:
        """The server does not take what was shown: look it up anew. False where that was done just now."""
        ...


class ReadError(Protocol):
    def __call__(self, answer: Answer, *, store: str, what: str) -> StoreError:
        """The store's error that an answer of another status than 2xx means."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket or container: `origin` is scheme and authority, `root` its path, without a slash at the end."""

    origin: str
    root: str

    @classmethod
    def of(cls, endpoint: str, bucket: str) -> Place:
        """Below an endpoint, which may have a path. Raises `UsageError` for what is no endpoint."""
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise UsageError(f"endpoint {plain(endpoint.rpartition('@')[2], 200)}: expected http(s)://HOST[:PORT]")
        return cls(f"{parts.scheme}://{parts.netloc}", f"{parts.path.rstrip('/')}/{encode(bucket)}")

    @property
    def is_loopback(self) -> bool:
        return (urlsplit(self.origin).hostname or "") in _LOOPBACK

    def object(self, key: str) -> str:
        """The encoded path of an object. Raises `UnicodeEncodeError` for a key that is not UTF-8."""
        return f"{self.root}/{encode(key)}"


class ObjectClient:
    """Requests to one bucket or container. `call` answers or raises one of the store's errors."""

    def __init__(self, store: str, place: Place, signer: Signer, read_error: ReadError) -> None:
        self._store = store
        self.place = place
        self._signer = signer
        self._read_error = read_error
        # Two, because the idle limit of a read would also run while a large body is on its way out.
        self._reader = build_client(idle=True, is_loopback=place.is_loopback)
        self._writer = build_client(idle=False, is_loopback=place.is_loopback)

    async def call(
        self,
        method: str,
        path: str,
        *,
        what: str,
        params: Params = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        expect: int = 0,
        seconds: float = IDLE_SECONDS,
    ) -> Answer:
        """Ask, and return an answer of status 2xx. `expect` is how many bytes an answer may bring (it lengthens the limit);
        `what` names the action in messages."""
        request = Request(method, path, params, headers or {}, len(body or b""))
        limit = seconds + CONNECT_SECONDS + (request.size + expect) / SLOWEST
        answer = await self._send(request, body, limit, what)
        if _has_ended(answer) and self._signer.forget():
            answer = await self._send(request, body, limit, what)
        if not 200 <= answer.status < 300:
            raise self._read_error(answer, store=self._store, what=what)
        return answer

    async def _send(self, request: Request, body: Body | None, limit: float, what: str) -> Answer:
        headers, params = await self._signer.sign(request)
        for name, value in headers.items():
            if not (value.isascii() and name.isascii() and value.isprintable()):
                raise StoreError(f"{self._store}: {what}: its {plain(name, 80)} is not plain ASCII and cannot be carried")
        query = canonical_query(params)
        url = f"{self.place.origin}{request.path}{'?' + query if query else ''}"
        if body is not None and not len(body):
            headers = {**headers, "content-length": "0"}  # the HTTP client says nothing of an empty body
        client = self._reader if body is None else self._writer
        builder = client.request(request.method, url).headers(dict(headers)).timeout(timedelta(seconds=limit))
        if body is not None:
            builder = builder.body_bytes(body)
        try:
            with heeded():
                response = await builder.build().send()
                data = await response.bytes()
        except PyreqwestError as error:
            reading = body is None
            raise from_http(as_ours(error, reading=reading), store=self._store, what=what, reading=reading) from error
        return Answer(response.status, self._headers(response, what), memoryview(data))

    def _headers(self, response: Response, what: str) -> dict[str, str]:
        told = {}
        for name in response.headers.keys():  # noqa: SIM118 - of a map with several values a name
            try:
                told[name.lower()] = ",".join(response.headers.getall(name))
            except ValueError as error:
                if "-meta-" in name.lower():
                    raise StoreError(f"{self._store}: {what}: its metadata {plain(name, 80)} is not plain ASCII") from error
        return told

    async def close(self) -> None:
        async with asyncio.timeout(10):
            await self._reader.close()
            await self._writer.close()


def _has_ended(answer: Answer) -> bool:
    """Whether what was shown is not (or no longer) valid. Azure says so of a shared access signature with 403."""
    return answer.status == 401 or answer.headers.get("x-ms-error-code") == "AuthenticationFailed"
