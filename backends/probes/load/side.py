"""One side under load: its connections, its requests on their way, and what came of them slice by slice."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from backends.errors import UsageError
from backends.escape import plain
from backends.histogram import Histogram
from backends.probes.load.connection import Connection, Exchange
from backends.vocabulary import SideName

CONNECT_LIMIT = 10.0
IDLE_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, but for what a recorded request brings itself."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Wire:
    """A request's bytes, made once. Raises `UsageError` for a URL or header that cannot be sent."""

    def __init__(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"no URL to load: {plain(request.url, 200)}", hint="http:// or https:// and a host")
        self.host, self.tls = parts.hostname, parts.scheme == "https"
        self.port = parts.port or (443 if self.tls else 80)
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._method, self._body = request.method, request.body
        lines = [f"Host: {parts.netloc.rpartition('@')[2]}", "User-Agent: cutover-load", "Accept: */*"]
        for name, value in request.headers:
            if not name.isascii() or not value.isascii() or any(c in name + value for c in "\r\n\0") or ":" in name:
                raise UsageError(f"not a header: {plain(name, 80)}")
            lines.append(f"{name}: {value}")
        self._headers = "\r\n".join(lines)
        self._usual = self._made(self._method, self.path, self._body)

    def bytes_of(self, method: str | None, path: str | None, body: bytes | None) -> bytes:
        """The request on the wire; what is None is the usual."""
        if method is None and path is None and body is None:
            return self._usual
        return self._made(method or self._method, path or self.path, self._body if body is None else body)

    def _made(self, method: str, path: str, body: bytes) -> bytes:
        length = f"\r\nContent-Length: {len(body)}" if body or method in ("POST", "PUT", "PATCH") else ""
        return f"{method} {path} HTTP/1.1\r\n{self._headers}{length}\r\n\r\n".encode() + body


@dataclass(slots=True)
class Slice:
    """A span of time: latencies of what was due in it, in seconds."""

    latency: Histogram = field(default_factory=Histogram)
    late: Histogram = field(default_factory=Histogram)  # by how much a request left after it was due
    first_token: Histogram = field(default_factory=Histogram)
    between_tokens: Histogram = field(default_factory=Histogram)
    tokens: int = 0
    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, other: Slice) -> None:
        """Another span's figures to these."""
        for name in _HISTOGRAMS:
            getattr(self, name).merge(getattr(other, name))
        self.tokens += other.tokens
        self.sent += other.sent
        self.statuses.update(other.statuses)
        self.errors.update(other.errors)

    def as_json(self) -> dict[str, Any]:
        histograms = {name: getattr(self, name).as_json() for name in _HISTOGRAMS}
        return histograms | {
            "tokens": self.tokens,
            "sent": self.sent,
            "statuses": dict(self.statuses),
            "errors": dict(self.errors),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Slice:
        """Raises ValueError, TypeError or KeyError for anything but what `as_json` gave."""
        made = cls()
        for name in _HISTOGRAMS:
            setattr(made, name, Histogram.from_json(value[name]))
        made.tokens, made.sent = int(value["tokens"]), int(value["sent"])
        made.statuses, made.errors = Counter(value["statuses"]), Counter(value["errors"])
        return made


_HISTOGRAMS = ("latency", "late", "first_token", "between_tokens")


class Side:
    """Sends on whatever connection is idle, else on a new one; never waits for one."""

    def __init__(
        self,
        name: SideName,
        wire: Wire,
        *,
        timeout: float,
        connections: int,
        stream: bool,
        answered: Callable[[SideName, Exchange], None],
    ) -> None:
        self.name = name
        self.wire = wire
        self.slice = Slice()
        self._timeout = timeout
        self._most = connections
        self._stream = stream
        self._answered = answered
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._queue: deque[Exchange] = deque()  # what is under way, by the instant at which it was due
        self.under_way = 0
        self._tls = ssl.create_default_context() if wire.tls else None

    async def warm(self, count: int) -> None:
        """Open some connections beforehand, so that the first requests do not pay for them. Raises OSError where nobody answers."""
        async with asyncio.timeout(CONNECT_LIMIT):
            made = await asyncio.gather(*(self._connect() for _ in range(min(count, self._most))))
        self._idle += made

    def send(self, index: int, due: float, request: bytes, *, keep: bool) -> None:
        """A request whose time has come."""
        exchange = Exchange(index, due, keep=keep, stream=self._stream)
        self.slice.sent += 1
        self._queue.append(exchange)
        self.under_way += 1
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                connection.send(exchange, request)
                self.slice.late.record(max(0.0, exchange.sent - due))
                return
        if len(self._open) + len(self._opening) >= self._most:
            self._finish(exchange, "no connection left")
            return
        task = self._loop.create_task(self._send_on_new(exchange, request))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def sweep(self) -> None:
        """Give up what takes longer than the time limit. Call it a few times a second."""
        over = time.monotonic() - self._timeout
        queue = self._queue
        while queue and (queue[0].done or queue[0].due < over):
            exchange = queue.popleft()
            if exchange.done:
                continue
            if exchange.connection is not None:
                exchange.connection.abort("timeout")
            else:
                self._finish(exchange, "timeout")

    async def close(self) -> None:
        for task in list(self._opening):
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in list(self._open):
            connection.close()

    async def _connect(self) -> Connection:
        def make() -> Connection:
            return Connection(self._finished, self._lost, time.monotonic)

        name = self.wire.host if self._tls is not None else None
        _, connection = await self._loop.create_connection(
            make, self.wire.host, self.wire.port, ssl=self._tls, server_hostname=name
        )
        self._open.add(connection)
        return connection

    async def _send_on_new(self, exchange: Exchange, request: bytes) -> None:
        try:
            async with asyncio.timeout(min(CONNECT_LIMIT, self._timeout)):
                connection = await self._connect()
        except TimeoutError:
            self._finish(exchange, "connect timeout")
        except ssl.SSLError:
            self._finish(exchange, "TLS failed")
        except ConnectionRefusedError:
            self._finish(exchange, "refused")
        except OSError:
            self._finish(exchange, "cannot connect")
        else:
            if exchange.done:  # given up meanwhile
                self._idle.append(connection)
                return
            connection.send(exchange, request)
            self.slice.late.record(max(0.0, exchange.sent - exchange.due))

    def _finished(self, connection: Connection, exchange: Exchange) -> None:
        if connection.is_open and len(self._idle) < IDLE_KEPT:
            self._idle.append(connection)
        elif connection.is_open:
            connection.close()
        self._count(exchange)

    def _finish(self, exchange: Exchange, error: str) -> None:
        if exchange.done:
            return
        exchange.done, exchange.error = time.monotonic(), error
        self._count(exchange)

    def _count(self, exchange: Exchange) -> None:
        into = self.slice
        self.under_way -= 1
        if exchange.error:
            into.errors[exchange.error] += 1
        else:
            into.statuses[str(exchange.status)] += 1
            if not 200 <= exchange.status < 400:
                into.errors[f"status {exchange.status // 100}xx"] += 1
            else:
                into.latency.record(exchange.done - exchange.due)
            if exchange.events:
                self._count_events(into, exchange)
        with contextlib.suppress(IndexError):
            while self._queue[0].done:
                self._queue.popleft()
        self._answered(self.name, exchange)

    def _count_events(self, into: Slice, exchange: Exchange) -> None:
        events = exchange.events
        into.first_token.record(events[0] - exchange.due)
        for before, after in pairwise(events):
            into.between_tokens.record(after - before)
        into.tokens += len(events)

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
