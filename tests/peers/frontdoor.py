"""A weighted front door with an admin API, as the sandbox has one, on the loopback."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class FrontDoor:
    """`stuck` is a weight that clients are served by whatever the authority says; `broken` makes the admin API answer that."""

    url: str = ""
    weight: int = 0
    stuck: int | None = None
    broken: str | None = None
    _current: float = field(default=0.0)

    async def get_weight(self, _request: web.Request) -> web.Response:
        if self.broken is not None:
            return web.Response(text=self.broken)
        return web.json_response({"weight": self.weight})

    async def put_weight(self, request: web.Request) -> web.Response:
        self.weight = int((await request.json())["weight"])
        return await self.get_weight(request)

    async def serve(self, _request: web.Request) -> web.Response:
        self._current += self.weight if self.stuck is None else self.stuck
        side = "target" if self._current >= 100 else "legacy"
        self._current %= 100
        return web.json_response({"side": side})


@contextlib.asynccontextmanager
async def frontdoor() -> AsyncIterator[FrontDoor]:
    """The front door while it runs; `url` is both its admin API and where clients go."""
    door = FrontDoor()
    app = web.Application()
    app.add_routes([web.get("/weight", door.get_weight), web.put("/weight", door.put_weight), web.get("/", door.serve)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        door.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield door
    finally:
        await runner.cleanup()
