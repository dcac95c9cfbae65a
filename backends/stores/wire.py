"""HTTP/1.1 on the event loop, for what is small: no thread takes part.

With a client in threads the interpreter's lock goes back and forth for every request: of 5,000 copies of 16 to 64 KiB that was half of the
time (docs/benchmarks.md). A request here is one write, an answer that came whole is one read into a buffer that all connections share.
Larger answers are read straight into their own. Large bodies are better off in threads: `bulk`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from typing import cast

from backends.escape import plain
from backends.stores.http1 import (
    END,
    LONGEST_HEAD,
    Answer,
    BadAnswer,
    BrokeOff,
    Chunks,
    Head,
    HttpError,
    HungUp,
    NoAnswerInTime,
    NoConnection,
    NotTrusted,
    Request,
    check_length,
    read_head,
    request_head,
)
from backends.stores.http_limits import CONNECT_SECONDS, IDLE_SECONDS, KEPT_SECONDS

_SCRATCH = 256 << 10  # an object of a quarter MiB comes in one read
_SWEEP_SECONDS = 0.5


class Wire:
    """Requests to one host. `tls` is None for plain HTTP."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self.scratch = bytearray(_SCRATCH)
        self.scratch_view = memoryview(self.scratch)

    async def ask(self, request: Request) -> Answer:
        """Raises `HttpError`."""
        head = request_head(request)
        until = asyncio.get_running_loop().time() + request.limit
        while True:
            reused = self._take()
            connection = reused or await self._connect(request)
            try:
                return await connection.ask(request, head, until)
            except HungUp:
                if reused is None or not request.may_repeat:
                    raise

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        gone = [connection.lost for connection in self._all]
        for connection in tuple(self._all):
            connection.abort()
        if gone:
            await asyncio.wait(gone, timeout=CONNECT_SECONDS)

    def _take(self) -> _Connection | None:
        return self._idle.pop() if self._idle else None

    async def _connect(self, request: Request) -> _Connection:
        loop = asyncio.get_running_loop()
        name = self._host if self._tls else None
        try:
            async with asyncio.timeout(min(CONNECT_SECONDS, request.limit)):
                _, protocol = await loop.create_connection(
                    lambda: _Connection(self, loop), self._host, self._port, ssl=self._tls, server_hostname=name
                )
        except TimeoutError as error:
            raise NoConnection(f"not within {CONNECT_SECONDS:.0f} s") from error
        except ssl.SSLCertVerificationError as error:
            raise NotTrusted(plain(error.verify_message, 200)) from error
        except (OSError, UnicodeError) as error:
            raise NoConnection(reason_of(error)) from error
        return protocol

    # what connections tell

    def opened(self, connection: _Connection) -> None:
        self._all.add(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)

    def free(self, connection: _Connection) -> None:
        self._idle.append(connection)

    def closed(self, connection: _Connection) -> None:
        self._all.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)

    def _sweep(self) -> None:
        """One timer for all: what waits too long is given up, what nobody has asked for a while is closed."""
        loop = asyncio.get_running_loop()
        now, soonest = loop.time(), _SWEEP_SECONDS
        for connection in tuple(self._all):
            soonest = min(soonest, connection.sweep(now))
        self._sweeper = loop.call_later(max(soonest, 0.01), self._sweep) if self._all else None


class _Connection(asyncio.BufferedProtocol):
    """One connection, one request at a time."""

    __slots__ = (
        "_body", "_chunks", "_filled", "_future", "_head", "_loop", "_request", "_rest", "_seen_at", "_size", "_transport", "_until", "_wire",
        "lost",
    )  # fmt: skip

    def __init__(self, wire: Wire, loop: asyncio.AbstractEventLoop) -> None:
        self._wire = wire
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._future: asyncio.Future[Answer] | None = None
        self._request: Request | None = None
        self._until = 0.0
        self._seen_at = loop.time()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._clear()

    def _clear(self) -> None:
        self._head: Head | None = None
        self._rest = b""  # of a head that is not whole yet, or of a body without a length
        self._chunks: Chunks | None = None
        self._body: memoryview | None = None
        self._filled = 0
        self._size = 0

    async def ask(self, request: Request, head: bytes, until: float) -> Answer:
        transport = self._transport
        if transport is None or transport.is_closing():
            raise HungUp("the connection was closed")
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._future, self._request, self._until = future, request, until
        self._seen_at = self._loop.time()
        body = request.body
        if body is None or not len(body):
            transport.write(head)
        elif len(body) <= _SCRATCH:  # copied, since two writes are two packets, and wake the server twice
            transport.write(b"".join((head, body)))
        else:
            transport.write(head)
            transport.write(body)
        try:
            return await future
        finally:
            if self._future is future:  # cancelled in the middle; else another request may have it by now
                self._future = None
                self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> float:
        """Seconds until it is to be looked at again."""
        request = self._request
        if self._future is None or request is None:
            if now - self._seen_at >= KEPT_SECONDS:
                self.abort()
            return KEPT_SECONDS
        end = self._until
        if request.body is None:
            end = min(end, self._seen_at + request.idle)
        if now >= end:
            self._fail(NoAnswerInTime("no answer in time"))
        return end - now

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if (sock := transport.get_extra_info("socket")) is not None:
            prepare(sock)
        self._wire.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._wire.scratch_view if self._body is None else self._body[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._seen_at = self._loop.time()
        try:
            if self._body is not None:
                self._filled += nbytes
                if self._filled == self._size:
                    self._finish(self._body)
            elif self._future is None or self._request is None:
                self.abort()  # nobody has asked
            elif self._head is None and not self._rest:
                self._begin(self._wire.scratch, nbytes)
            elif self._head is None:
                data = bytearray(self._rest) + self._wire.scratch_view[:nbytes]
                self._rest = b""
                self._begin(data, len(data))
            else:
                self._add(self._wire.scratch_view[:nbytes])
        except HttpError as error:
            self._fail(error)

    def _begin(self, data: bytearray, size: int) -> None:
        """What may be the head of the answer, and more."""
        assert self._request is not None
        end = data.find(END, 0, size)
        if end < 0:
            if size > LONGEST_HEAD:
                raise BadAnswer("the head of the answer has no end")
            self._rest = bytes(data[:size])
            return
        head, start = read_head(data[:end], self._request.method), end + len(END)
        if head.status < 200:  # `100 Continue` and the like come before the answer
            if size > start:
                self._begin(data[start:size], size - start)
            return
        self._head = head
        came = memoryview(data)[start:size]
        if head.length is None:
            if head.is_chunked:
                self._chunks = Chunks(self._request)
            self._add(came)
        elif len(came) == head.length:
            self._finish(bytes(came))
        elif len(came) > head.length:
            raise BadAnswer("something follows the answer")
        else:
            self._size = check_length(head.length, self._request)
            self._body = memoryview(bytearray(self._size))
            self._body[: len(came)] = came
            self._filled = len(came)

    def _add(self, data: memoryview) -> None:
        assert self._request is not None
        if self._chunks is None:
            self._rest += data
            check_length(len(self._rest), self._request)
            return
        self._chunks.feed(data)
        if self._chunks.is_done:
            self._finish(self._chunks.body)

    def _finish(self, body: bytes | memoryview) -> None:
        future, head, transport = self._future, self._head, self._transport
        if future is None or head is None or transport is None:
            self.abort()
            return
        self._future = self._request = None
        self._clear()
        if head.keeps and not transport.is_closing() and transport.get_write_buffer_size() == 0:
            self._wire.free(self)
        else:  # an answer that came before the request was out is the last one here
            transport.abort()
        if not future.done():
            future.set_result(Answer(head.status, head.headers, body))

    def _fail(self, error: HttpError) -> None:
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_exception(error)
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.closed(self)
        if not self.lost.done():
            self.lost.set_result(None)
        if self._future is None:
            return
        why = reason_of(exc) if exc is not None else "the connection was closed"
        if self._head is not None and self._head.length is None and not self._head.is_chunked and exc is None:
            self._finish(self._rest)
        elif self._head is None and not self._rest:
            self._fail(HungUp(why))
        else:
            self._fail(BrokeOff(why))


def prepare(sock: socket.socket) -> None:
    """Send at once; a peer that takes nothing is dead after a while."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(IDLE_SECONDS * 1000))


def reason_of(error: Exception) -> str:
    """What the system says, without addresses that it may repeat."""
    if isinstance(error, ssl.SSLError):
        return plain(error.reason or "TLS failed", 200)
    if isinstance(error, OSError) and (error.errno or 0) > 0 and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno or 0)  # asyncio writes the address in its place
    text = error.strerror if isinstance(error, OSError) else None
    return plain(text or str(error) or type(error).__name__, 200)
