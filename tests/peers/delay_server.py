"""An HTTP server whose answers take times of a known distribution: a process of its own, so that what it costs is nobody's.
`python -m tests.peers.delay_server PORT SEED MEDIAN SIGMA` is that process.

A lognormal distribution, shortened at 20 ms; each answer's body is JSON with the side, a number and the delay it was given. Paths:
`/` waits, `/now` does not, `/stream?n=N` sends N events of an OpenAI-compatible completion, `/status/500` answers so, `/hang` never does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import uvloop

from tests.peers.process import accepts, free_ports, running

LEAST = 0.020


@dataclass(frozen=True, slots=True)
class DelayServer:
    port: int
    median: float
    sigma: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def quantile(self, share: float) -> float:
        """The delay that `share` of the answers do not exceed, seconds."""
        return LEAST + self.median * math.exp(self.sigma * NormalDist().inv_cdf(share))


class _Answering(asyncio.Protocol):
    def __init__(self, chance: random.Random, median: float, sigma: float, name: str) -> None:
        self._chance = chance
        self._median = median
        self._sigma = sigma
        self._name = name
        self._got = bytearray()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._got += data
        while (at := self._got.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._got[:at]).decode("latin-1")
            length = next(
                (int(line.split(":")[1]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0
            )
            if len(self._got) < at + 4 + length:
                return
            del self._got[: at + 4 + length]
            self._answer(head.split(" ", 2)[1])

    def _answer(self, path: str) -> None:
        if path.startswith("/hang"):
            return
        if path.startswith("/stream"):
            self._stream(int(path.rpartition("=")[2]))
            return
        status = int(path.rpartition("/")[2]) if path.startswith("/status/") else 200
        delay = 0.0 if path != "/" else LEAST + self._median * math.exp(self._sigma * self._chance.gauss(0, 1))
        body = json.dumps({"side": self._name, "id": self._chance.random(), "answer": {"sum": 5, "path": path}}).encode()
        answer = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n".encode() + body
        if delay:
            self._loop.call_later(delay, self._write, answer)
        else:
            self._write(answer)

    def _stream(self, count: int) -> None:
        self._write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(count):
            event = b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'
            self._loop.call_later(0.05 + 0.01 * number, self._write, b"%x\r\n%b\r\n" % (len(event), event))
        self._loop.call_later(0.05 + 0.01 * count, self._write, b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


async def _serve(port: int, seed: int, median: float, sigma: float, name: str) -> None:
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Answering(chance, median, sigma, name), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


@contextlib.asynccontextmanager
async def delay_server(
    folder: Path, *, median: float = 0.010, sigma: float = 0.5, seed: int = 1, name: str = "legacy"
) -> AsyncIterator[DelayServer]:
    """The server while it runs; delays in seconds."""
    [port] = free_ports(1)

    async def ready() -> bool:
        return await accepts(port)

    argv = [sys.executable, "-m", "tests.peers.delay_server", str(port), str(seed), str(median), str(sigma), name]
    async with running(argv, log=folder / f"delay-{port}.log", ready=ready, seconds=30):
        yield DelayServer(port, median, sigma)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), sys.argv[5]))
