"""A TCP proxy that adds latency, and where asked a limit for each connection: a process of its own, so that what it costs is
nobody's. `python -m tests.peers.delay_proxy` is that process.

Each direction is a queue of chunks with the instant at which each is due, half a round trip after it came, so that latency
takes no throughput. Opening a connection costs a round trip too: the first bytes wait for it. What is not modelled: loss,
slow start, windows smaller than the product of rate and delay. A limit is of each connection, or of each process that connects: a
process then stands for a machine with its own line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import mmap
import struct
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psutil
import uvloop

from tests.peers.process import accepts, free_ports, running

_HELD = 32 << 20  # bytes that a direction holds before it stops reading
_SOONEST = 0.001  # uvloop spins for timers nearer than this
_PIECE = 16 << 10  # of a limited stream
_TOTALS = struct.Struct("=QQ")


@dataclass(frozen=True, slots=True)
class DelayProxy:
    port: int
    pid: int
    _counted: Path

    def carried(self) -> tuple[int, int]:
        """Bytes that clients have sent so far, and that the server has: all that was in their connections."""
        up, down = _TOTALS.unpack(self._counted.read_bytes()[: _TOTALS.size])
        return int(up), int(down)

    async def settled(self) -> tuple[int, int]:
        """`carried` once it stands still: it is published 20 times a second."""
        last = self.carried()
        while True:
            await asyncio.sleep(0.2)
            now = self.carried()
            if now == last:
                return now
            last = now


@contextlib.asynccontextmanager
async def delay_proxy(
    server: tuple[str, int],
    folder: Path,
    *,
    rtt: float = 0.0,
    bytes_per_second: float | None = None,
    of_process: bool = False,
) -> AsyncIterator[DelayProxy]:
    """A proxy on the loopback in front of `server` while it runs; `rtt` in seconds, the limit for each direction of each connection, or
    of all that one process has (`of_process`)."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="proxy-", dir=folder) as own:
        counted = Path(own) / "carried"
        counted.write_bytes(bytes(_TOTALS.size))
        argv = [sys.executable, "-m", "tests.peers.delay_proxy", str(port), server[0], str(server[1]), str(counted)]
        argv += ["--rtt", str(rtt), "--limit", str(bytes_per_second or 0), *(["--of-process"] if of_process else [])]
        root = Path(__file__).resolve().parents[2]

        async def ready() -> bool:
            return await accepts(port)

        async with running(argv, log=Path(own) / "log", ready=ready, cwd=root) as process:
            yield DelayProxy(port, process.pid, counted)


class Limit:
    """So many bytes a second, of all that share it."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._free_at = 0.0

    def not_before(self, instant: float) -> None:
        """What is through by then was booked elsewhere."""
        self._free_at = max(self._free_at, instant)

    def until(self, start: float, size: int) -> float:
        """The instant at which `size` bytes are through that may begin at `start`."""
        self._free_at = max(start, self._free_at) + size / self.rate
        return self._free_at


class Direction:
    """What came from one side and is due at the other. `total` counts bytes taken in."""

    def __init__(self, delay: float, limit: Limit | None) -> None:
        self._delay = delay
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._most = min(_HELD, max(64 << 10, int(limit.rate * delay * 3))) if limit else _HELD
        self._free_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._source: asyncio.Transport | None = None
        self._sink: asyncio.Transport | None = None
        self._blocked = False
        self._ended_at: float | None = None
        self.total = 0

    def open(self, source: asyncio.Transport, not_before: float) -> None:
        self._source, self._free_at = source, not_before

    def share(self, limit: Limit) -> None:
        limit.not_before(self._free_at)
        self._limit = limit

    def connect(self, sink: asyncio.Transport) -> None:
        self._sink = sink
        self._arm()

    def take(self, chunk: bytes) -> None:
        self.total += len(chunk)
        now = self._loop.time()
        for piece in self._pieces(chunk):
            start = max(now, self._free_at)
            if self._limit:
                start = self._free_at = self._limit.until(start, len(piece))
            self._queue.append((start + self._delay, piece))
            self._held += len(piece)
        if self._held > self._most and self._source is not None:
            self._source.pause_reading()
        self._arm()

    def _pieces(self, chunk: bytes) -> list[bytes]:
        return [chunk[i : i + _PIECE] for i in range(0, len(chunk), _PIECE)] if self._limit else [chunk]

    def end(self) -> None:
        """Nothing more comes; the other side hears of it after what was sent before."""
        self._ended_at = max(self._loop.time(), self._free_at) + self._delay
        self._arm()

    def block(self, blocked: bool) -> None:
        """The sink's buffer is full, or has room again."""
        self._blocked = blocked
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None or self._blocked or self._sink is None:
            return
        due = self._queue[0][0] if self._queue else self._ended_at
        if due is not None:
            if self._delay or self._limit:
                self._timer = self._loop.call_at(max(due, self._loop.time() + _SOONEST), self._flush)
            else:
                self._flush()

    def _flush(self) -> None:
        self._timer = None
        if self._sink is None:
            return
        soon = self._loop.time() + _SOONEST / 2
        while self._queue and self._queue[0][0] <= soon and not self._blocked:
            _, chunk = self._queue.popleft()
            self._held -= len(chunk)
            self._sink.write(chunk)
        if self._held <= self._most // 2 and self._source is not None and not self._source.is_closing():
            self._source.resume_reading()
        if not self._queue and self._ended_at is not None and self._ended_at <= soon:
            self._sink.close()
            return
        self._arm()


class Side(asyncio.Protocol):
    """One end of a pair of connections: what it reads goes into `out`, and it is the sink of `into`."""

    def __init__(self, out: Direction, into: Direction) -> None:
        self.out, self.into = out, into

    def data_received(self, data: bytes) -> None:
        self.out.take(data)

    def pause_writing(self) -> None:
        self.into.block(True)

    def resume_writing(self) -> None:
        self.into.block(False)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.out.end()


class Accepted(Side):
    """A client's side: opens the one to the server."""

    def __init__(self, proxy: Proxy) -> None:
        limits: tuple[Limit | None, Limit | None] = (None, None)
        if proxy.limit:
            limits = proxy.limits_of(None) if proxy.of_process else (Limit(proxy.limit), Limit(proxy.limit))
        up, down = (Direction(proxy.rtt / 2, limit) for limit in limits)
        super().__init__(up, down)
        self._proxy = proxy
        self._up = up
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's own class is none by inheritance
        loop = asyncio.get_running_loop()
        self.out.open(transport, loop.time() + self._proxy.rtt)
        self.into.connect(transport)
        self._proxy.directions.add((self.out, self.into))
        self._opening = loop.create_task(self._connect(transport))

    async def _connect(self, transport: asyncio.Transport) -> None:
        try:
            far, _ = await asyncio.get_running_loop().create_connection(lambda: Side(self.into, self.out), *self._proxy.server)
        except OSError:
            transport.abort()
            return
        self.into.open(far, 0.0)
        self.out.connect(far)
        if self._proxy.of_process and self._proxy.limit:  # looked up beside: it takes longer than a round trip
            owner = await asyncio.to_thread(owner_of, transport.get_extra_info("peername")[1], self._proxy.known)
            for direction, limit in zip((self.out, self.into), self._proxy.limits_of(owner), strict=True):
                direction.share(limit)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._proxy.forget(self.out, self.into)


class Proxy:
    def __init__(self, server: tuple[str, int], rtt: float, limit: float, totals: mmap.mmap, *, of_process: bool) -> None:
        self.server, self.rtt, self.limit, self.of_process = server, rtt, limit, of_process
        self._limits: dict[int | None, tuple[Limit, Limit]] = {}
        self.directions: set[tuple[Direction, Direction]] = set()
        self._totals, self._gone = totals, [0, 0]

    @property
    def known(self) -> list[int | None]:
        """Who has connected, the last first."""
        return list(reversed(self._limits))

    def limits_of(self, pid: int | None) -> tuple[Limit, Limit]:
        """Up and down, of all the connections of a process; of all unknown ones together."""
        return self._limits.setdefault(pid, (Limit(self.limit), Limit(self.limit)))

    def forget(self, up: Direction, down: Direction) -> None:
        self.directions.discard((up, down))
        self._gone[0] += up.total
        self._gone[1] += down.total

    async def serve(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: Accepted(self), "127.0.0.1", port, backlog=1024)
        while True:
            up = self._gone[0] + sum(d.total for d, _ in self.directions)
            down = self._gone[1] + sum(d.total for _, d in self.directions)
            _TOTALS.pack_into(self._totals, 0, up, down)
            await asyncio.sleep(0.05)


def owner_of(port: int, known: Iterable[int | None]) -> int | None:
    """The process that has the loopback connection from this port, those `known` looked at first: to look at all takes long. None where
    it is not to be seen, or has gone."""
    for pid in known:
        with contextlib.suppress(psutil.Error, OSError):
            if pid is not None and any(c.laddr.port == port for c in psutil.Process(pid).net_connections("tcp4")):
                return pid
    here = {c.pid for c in psutil.net_connections("tcp4") if c.laddr and c.laddr.port == port and c.pid is not None}
    return here.pop() if len(here) == 1 else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("host")
    parser.add_argument("server_port", type=int)
    parser.add_argument("counted", type=Path)
    parser.add_argument("--rtt", type=float, default=0.0)
    parser.add_argument("--limit", type=float, default=0.0)
    parser.add_argument("--of-process", action="store_true")
    args = parser.parse_args()
    with args.counted.open("r+b") as file, mmap.mmap(file.fileno(), _TOTALS.size) as totals:
        server = args.host, args.server_port
        uvloop.run(Proxy(server, args.rtt, args.limit, totals, of_process=args.of_process).serve(args.port))


if __name__ == "__main__":
    main()
