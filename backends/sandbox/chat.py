"""The inference service of one side over HTTP, and its access log.

`GET /` answers JSON that names the side after about 30 ms; `GET /healthz` answers at once. Each request leaves a line in
`/chat/requests.jsonl` of its host: `{"time", "latency_ms", "status", "error"}`, the latency as measured.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from pathlib import Path

import orjson
from aiohttp import web

from backends.sandbox.layout import Layout
from backends.sandbox.listener import Listener, json_answer
from backends.sandbox.state import SideState, World

MEDIAN_SECONDS = 0.030
_SIGMA = 0.04
_FLUSH_SECONDS = 0.25


class ChatService:
    """One side's chat."""

    def __init__(self, world: World, side: SideState, layout: Layout, root: Path) -> None:
        self._side = side
        self._log = root / "chat" / "requests.jsonl"
        self._lines: list[bytes] = []
        self._latency = random.Random(f"{world.seed}:chat-latency:{side.name}")
        self._errors = random.Random(f"{world.seed}:chat-errors:{side.name}")
        self._listener = Listener(self._answer, layout.sockets[f"chat-{side.name}"])

    def prepare(self) -> None:
        """Make the log's folder. Blocking."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.touch()

    async def start(self) -> None:
        await self._listener.start()

    def die(self) -> None:
        self._listener.die()

    async def stop(self) -> None:
        await self._listener.stop()
        await self._flush()

    async def run(self) -> None:
        """Write the access log until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            await self._flush()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/healthz":
            return json_answer({"side": self._side.name, "ok": True})
        started = time.perf_counter()
        seconds = MEDIAN_SECONDS * math.exp(self._latency.gauss(0.0, _SIGMA))
        await asyncio.sleep(seconds * self._side.latency.at(time.monotonic()))
        failed = self._errors.random() < self._side.error_share
        self._note((time.perf_counter() - started) * 1000, failed)
        if failed:
            return json_answer({"side": self._side.name, "error": "CUDA error: an illegal memory access"}, status=500)
        return json_answer({"side": self._side.name, "model": "chat-7b", "answer": "simulated"})

    def _note(self, latency_ms: float, failed: bool) -> None:
        if self._side.is_silent:
            return
        line = {
            "time": round(time.time(), 3),
            "latency_ms": round(latency_ms, 3),
            "status": 500 if failed else 200,
            "error": int(failed),
        }
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    async def _flush(self) -> None:
        if not self._lines:
            return
        data = b"".join(self._lines)
        self._lines.clear()
        await asyncio.to_thread(_append, self._log, data)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
