"""One HTTP/1.1 connection that carries one request at a time and notes when each part of the answer came.

A raw asyncio protocol: at thousands of requests a second a client library would be most of what is measured (facts: 16 us a
request against 80 for aiohttp). It reads what servers send in answer to GET and POST: a length, chunks, or the end of the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

HEAD_LIMIT = 1 << 16
BODY_KEPT = 1 << 16  # of an answer that is compared
_END = b"\r\n\r\n"


class Exchange:
    """One request on its way. Instants are `time.monotonic`'s, since a loop's own clock has whole milliseconds; `due` is when it should have left, by which its latency counts."""

    __slots__ = ("body", "connection", "done", "due", "error", "events", "first", "index", "keep", "sent", "status", "stream")

    def __init__(self, index: int, due: float, *, keep: bool, stream: bool) -> None:
        self.index = index
        self.due = due
        self.sent = 0.0
        self.first = 0.0  # the answer's first byte
        self.done = 0.0
        self.status = 0
        self.error = ""
        self.keep = keep  # its body is looked at
        self.stream = stream  # the instant of each event counts
        self.body = bytearray()
        self.events: list[float] = []
        self.connection: Connection | None = None


Done = Callable[["Connection", Exchange], None]


class Connection(asyncio.Protocol):
    """Told `finished` when an exchange has ended, well or not, and `lost` when it can carry no more."""

    def __init__(self, finished: Done, lost: Callable[[Connection], None], clock: Callable[[], float]) -> None:
        self._finished = finished
        self._lost = lost
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._head = bytearray()
        self._exchange: Exchange | None = None
        self._left = 0  # bytes of the body, or of the chunk; -1: until the end of the connection
        self._chunked = False
        self._rest = bytearray()  # of a chunk's line that is not whole
        self._in_body = False
        self._closes = False
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.is_open = True

    def send(self, exchange: Exchange, request: bytes) -> None:
        """Begin an exchange. Only while none is under way."""
        assert self._transport is not None
        self._exchange = exchange
        exchange.connection = self
        self._transport.write(request)
        exchange.sent = self._clock()

    def abort(self, why: str) -> None:
        """Give the exchange up, and the connection with it."""
        self._end(why)
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._exchange is not None:
            whole = self._in_body and self._left == -1 and not self._chunked and exc is None
            self._end("" if whole else "connection lost")
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self._closes = True  # an answer that nobody asked for: what comes next cannot be told apart
            self.close()
            return
        if not exchange.first:
            exchange.first = self._clock()
        if self._in_body:
            self._take(exchange, data)
            return
        self._head += data
        at = self._head.find(_END)
        if at < 0:
            if len(self._head) > HEAD_LIMIT:
                self.abort("a head without an end")
            return
        head, rest = bytes(self._head[:at]), bytes(self._head[at + 4 :])
        self._head.clear()
        if not self._begin(exchange, head):
            self.abort("not HTTP")
            return
        if self._exchange is not None and (rest or self._left == 0):
            self._take(exchange, rest)

    def _begin(self, exchange: Exchange, head: bytes) -> bool:
        """Read status and framing; false where it is no answer of HTTP/1."""
        if not head.startswith(b"HTTP/1.") or len(head) < 12 or not head[9:12].isdigit():
            return False
        exchange.status = int(head[9:12])
        lower = head.lower()
        self._closes = b"\r\nconnection: close" in lower or head.startswith(b"HTTP/1.0")
        self._chunked = b"\r\ntransfer-encoding:" in lower and b"chunked" in lower
        if exchange.status in (204, 304):
            self._left = 0
            self._chunked = False
        elif self._chunked:
            self._left = 0
        else:
            found = lower.find(b"\r\ncontent-length:")
            if found < 0:
                self._left = -1
            else:
                text = lower[found + 17 :].split(b"\r\n", 1)[0].strip()
                if not text.isdigit():
                    return False
                self._left = int(text)
        self._in_body = True
        return True

    def _take(self, exchange: Exchange, data: bytes) -> None:
        if self._chunked:
            self._take_chunks(exchange, data)
        elif self._left < 0:
            self._keep(exchange, data)
        else:
            self._keep(exchange, data[: self._left])
            self._left -= len(data)
            if self._left <= 0:
                if self._left < 0:
                    self._closes = True
                self._end("")

    def _take_chunks(self, exchange: Exchange, data: bytes) -> None:
        buffer = bytes(self._rest) + data
        self._rest.clear()
        while buffer:
            if self._left > 0:  # the chunk's bytes and the line end behind it
                part, buffer = buffer[: self._left], buffer[self._left :]
                self._left -= len(part)
                self._keep(exchange, part[: len(part) - max(0, 2 - self._left)] if self._left < 2 else part)
                continue
            at = buffer.find(b"\r\n")
            if at < 0:
                self._rest += buffer
                return
            line, buffer = buffer[:at], buffer[at + 2 :]
            try:
                size = int(line.split(b";", 1)[0], 16)
            except ValueError:
                self.abort("a broken chunk")
                return
            if size == 0:
                if not buffer.startswith(b"\r\n"):
                    self._closes = True  # trailers, or they are still to come: a new connection is cheaper than reading them
                self._end("")
                return
            self._left = size + 2

    def _keep(self, exchange: Exchange, data: bytes) -> None:
        if exchange.stream and data:
            now = self._clock()
            exchange.events += [now] * data.count(b"data:")
        if exchange.keep and len(exchange.body) < BODY_KEPT:
            exchange.body += data[: BODY_KEPT - len(exchange.body)]

    def _end(self, error: str) -> None:
        exchange, self._exchange = self._exchange, None
        self._in_body, self._left = False, 0
        self._rest.clear()
        self._head.clear()
        if exchange is None:
            return
        exchange.done = self._clock()
        exchange.error = error
        if self._closes and self._transport is not None:
            self.is_open = False
            self._transport.close()
        self._finished(self, exchange)
