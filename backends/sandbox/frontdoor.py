"""The weighted HTTP front door, and its admin address.

Front: every request goes to one side by smooth weighted round robin, so that shares are exact over any 100 requests in a row.
Admin: `GET /weight` -> `{"weight": 25}`, percent on the target; `PUT /weight` with the same sets it, at once and kept in
`front-door.json`; with `"expected": 5` beside it only where the weight is that (409 otherwise). `GET /clients`: see `clients`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backends.sandbox.layout import Layout, write_json
from backends.sandbox.listener import Listener, json_answer
from backends.sandbox.state import World
from backends.vocabulary import SideName

_UPSTREAM = aiohttp.ClientTimeout(total=10, connect=2)


class WeightOrder(BaseModel):
    """What is put to `/weight`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    weight: int = Field(ge=0, le=100)
    expected: int | None = Field(default=None, ge=0, le=100)


class SmoothRoundRobin:
    """Smooth weighted round robin over the two sides, as nginx does it."""

    def __init__(self) -> None:
        self._credit: dict[SideName, int] = {"legacy": 0, "target": 0}

    def pick(self, target_weight: int) -> SideName:
        """The next request's side with `target_weight` percent on the target."""
        credit = self._credit
        credit["legacy"] += 100 - target_weight
        credit["target"] += target_weight
        side: SideName = "target" if credit["target"] > credit["legacy"] else "legacy"
        if target_weight in (0, 100):
            side = "target" if target_weight else "legacy"
        credit[side] -= 100
        return side

    def restart(self) -> None:
        """Forget what an earlier weight left over."""
        self._credit = {"legacy": 0, "target": 0}


class FrontDoor:
    """The proxy and its admin address."""

    def __init__(self, world: World, layout: Layout, clients: Callable[[], dict[str, Any]]) -> None:
        self._world = world
        self._layout = layout
        self._clients = clients
        self._robin = SmoothRoundRobin()
        self._lock = asyncio.Lock()
        self._front = Listener(self._forward, layout.sockets["front"])
        self._admin = Listener(self._administer, layout.sockets["admin"])
        self._session: aiohttp.ClientSession | None = None

    def prepare(self) -> None:
        """Take up the weight that an earlier run left. Blocking."""
        try:
            kept = json.loads(self._layout.path("front-door.json").read_text())
        except FileNotFoundError:
            write_json(self._layout.path("front-door.json"), {"weight": 0})
            return
        self._world.chat_weight = WeightOrder.model_validate(kept).weight

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30), timeout=_UPSTREAM, auto_decompress=False
        )
        await self._front.start()
        await self._admin.start()

    async def stop(self) -> None:
        await self._front.stop()
        await self._admin.stop()
        if self._session is not None:
            await self._session.close()

    async def set_weight(self, weight: int) -> None:
        """Keep the weight, then apply it."""
        await asyncio.to_thread(write_json, self._layout.path("front-door.json"), {"weight": weight})
        if weight != self._world.chat_weight:
            self._world.chat_weight = weight
            self._robin.restart()

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._session is None:
            return json_answer({"error": "starting"}, status=503)
        side = self._robin.pick(self._world.chat_weight)
        body = await request.read() if request.can_read_body else None
        url = self._layout.url(f"chat-{side}") + request.raw_path
        try:
            async with self._session.request(request.method, url, data=body, allow_redirects=False) as answer:
                data = await answer.read()
                return web.Response(body=data, status=answer.status, content_type=answer.content_type)
        except (aiohttp.ClientError, TimeoutError) as error:
            return json_answer({"side": side, "error": f"no answer from {side}: {type(error).__name__}"}, status=502)

    async def _administer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and request.path == "/weight":
            return json_answer({"weight": self._world.chat_weight})
        if request.method == "PUT" and request.path == "/weight":
            return await self._put_weight(await request.read())
        if request.method == "GET" and request.path == "/clients":
            return json_answer(self._clients())
        if request.path in ("/weight", "/clients"):
            return json_answer({"error": f"{request.method} is not for {request.path}"}, status=405)
        return json_answer({"error": "there are /weight and /clients"}, status=404)

    async def _put_weight(self, body: bytes) -> web.Response:
        try:
            order = WeightOrder.model_validate(orjson.loads(body))
        except (ValidationError, orjson.JSONDecodeError) as error:
            return json_answer({"error": f'expected {{"weight": 0..100}}: {type(error).__name__}'}, status=400)
        async with self._lock:
            now = self._world.chat_weight
            if order.expected is not None and now not in (order.expected, order.weight):
                return json_answer({"error": "the weight is another", "weight": now}, status=409)
            await self.set_weight(order.weight)
            return json_answer({"weight": order.weight})
