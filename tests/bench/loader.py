"""Put a great many tiny objects fast: signed PUTs, several at a time on each connection without waiting for the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import cast

from backends.stores.sigv4 import Credentials, Scope, encode_path, sign
from tests.bench.servers import S3Place

_CONNECTIONS = 8
_AHEAD = 64  # requests of a connection that are not answered yet


class LoadFailed(Exception):
    """The server refused an object or hung up."""


class _Putter(asyncio.Protocol):
    """One connection. `done` is set when every object of `work` has been answered with 200."""

    def __init__(self, place: S3Place, work: Iterator[tuple[str, bytes]]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._work = work
        self._place = place
        self._credentials = Credentials(place.endpoint.access_key, place.endpoint.secret_key)
        self._scope = Scope(place.endpoint.region)
        host, port = place.endpoint.address
        self._host = f"{host}:{port}"
        self._open = 0
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's own class is none by inheritance
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        # The answer to a PUT that was accepted is a head without a body.
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for head in heads:
            self._open -= 1
            if not head.startswith(b"HTTP/1.1 200"):
                self._fail(f"the server answered {head[:60].decode('ascii', 'replace')!r}")
        self._send()

    def _send(self) -> None:
        if self.done.done() or self._transport is None:
            return
        out = []
        while self._open < _AHEAD and (item := next(self._work, None)) is not None:
            out.append(self._request(*item))
            self._open += 1
        if out:
            self._transport.write(b"".join(out))
        elif not self._open:
            self.done.set_result(None)
            self._transport.close()

    def _request(self, key: str, body: bytes) -> bytes:
        path = f"/{self._place.bucket}/{encode_path(key)}"
        headers = sign(
            "PUT", path, "", {"host": self._host}, credentials=self._credentials, scope=self._scope, at=datetime.now(UTC)
        )
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return f"PUT {path} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(LoadFailed(why))
            assert self._transport is not None
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the server hung up: {exc}")


async def load_tiny(place: S3Place, keys: Sequence[str], body: bytes) -> None:
    """Put `body` under each of the keys. Raises `LoadFailed`, `OSError`."""
    work = iter([(key, body) for key in keys])
    loop = asyncio.get_running_loop()
    putters = [
        (await loop.create_connection(lambda: _Putter(place, work), *place.endpoint.address))[1] for _ in range(_CONNECTIONS)
    ]
    await asyncio.gather(*(putter.done for putter in putters))
