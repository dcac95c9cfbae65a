"""The wire in front of legacy's object store: passes bytes on as they are, except where a scenario damages one answer.

When armed for a key, the body of the first `GET` of that object has one bit turned on its way to the client; headers, checksums
and everything else stay as the store sent them. Nothing but the first answer is touched.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from typing import cast
from urllib.parse import unquote_to_bytes

_HEAD_LIMIT = 64 << 10
_REQUEST = re.compile(rb"GET (\S+) HTTP/1\.1\r\n")
_STATUS = re.compile(rb"HTTP/1\.1 20[06] ")


class _Upstream(asyncio.Protocol):
    """The half that talks to the store."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client.upstream_open(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self._client.answer(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.close()

    def pause_writing(self) -> None:
        self._client.pause_reading(True)

    def resume_writing(self) -> None:
        self._client.pause_reading(False)


class _Client(asyncio.Protocol):
    """The half that talks to the client; both ends of one connection."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._transport: asyncio.Transport | None = None
        self._upstream: asyncio.Transport | None = None
        self._early = bytearray()
        self._damage_next = False
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._wire.connect(self)

    def upstream_open(self, upstream: asyncio.Transport) -> None:
        self._upstream = upstream
        self._wire.opened.add(upstream)
        if self._transport is None or self._transport.is_closing():
            upstream.close()
            return
        upstream.write(bytes(self._early))
        self._early.clear()
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._wire.wants(data):
            self._damage_next = True
        if self._upstream is not None:
            self._upstream.write(data)
            return
        # A pause in `connection_made` is not heeded by every event loop: keep what comes before the store's end is open.
        self._early += data
        self.pause_reading(True)

    def answer(self, data: bytes) -> None:
        if self._damage_next:
            data = self._damaged(data)
        if self._transport is not None and data:
            self._transport.write(data)

    def _damaged(self, data: bytes) -> bytes:
        """Hold back until the head and a first byte of the body are there, then turn one bit of that byte."""
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0 and len(self._head) < _HEAD_LIMIT:
            return b""
        if end >= 0 and end + 4 == len(self._head):
            return b""
        whole, self._head, self._damage_next = self._head, b"", False
        if end < 0 or not _STATUS.match(whole):
            return whole
        self._wire.damaged()
        at = end + 4
        return whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._upstream is not None:
            self._wire.opened.discard(self._upstream)
            self._upstream.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def pause_reading(self, pause: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            (self._transport.pause_reading if pause else self._transport.resume_reading)()

    def pause_writing(self) -> None:
        if self._upstream is not None and not self._upstream.is_closing():
            self._upstream.pause_reading()

    def resume_writing(self) -> None:
        if self._upstream is not None and not self._upstream.is_closing():
            self._upstream.resume_reading()


class Wire:
    """The proxy. `on_damage` is told the key once its answer was damaged."""

    def __init__(self, sock: socket.socket, port: int, on_damage: Callable[[str], None]) -> None:
        self._sock = sock
        self._port = port
        self._on_damage = on_damage
        self._path: bytes | None = None
        self._key = ""
        self._server: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self.opened: set[asyncio.Transport] = set()

    def arm(self, bucket: str, key: str) -> None:
        """Damage the first answer that carries this object."""
        self._key = key
        self._path = f"/{bucket}/{key}".encode()

    async def start(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Client(self), sock=self._sock)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for transport in list(self.opened):
            transport.abort()

    def wants(self, data: bytes) -> bool:
        """Does this chunk ask for the object that is to be damaged?"""
        if self._path is None or not data.startswith(b"GET "):
            return False
        match = _REQUEST.match(data)
        return match is not None and unquote_to_bytes(match[1].partition(b"?")[0]) == self._path

    def damaged(self) -> None:
        self._path = None
        self._on_damage(self._key)

    def connect(self, client: _Client) -> None:
        """Open the store's end for a client; drops the client where the store is gone."""
        task = asyncio.get_running_loop().create_task(self._open(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open(self, client: _Client) -> None:
        try:
            async with asyncio.timeout(5):
                await asyncio.get_running_loop().create_connection(lambda: _Upstream(client), "127.0.0.1", self._port)
        except (OSError, TimeoutError):
            client.close()
