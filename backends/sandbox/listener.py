"""A small HTTP server on an already bound socket: aiohttp's low-level server, without routing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def json_answer(value: Any, status: int = 200) -> web.Response:
    """An answer with a JSON body."""
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


class Listener:
    """Serves `handler` on `sock` until stopped, or until it dies like a host that loses its power."""

    def __init__(self, handler: Handler, sock: socket.socket) -> None:
        self._server = web.Server(handler, access_log=None)
        self._sock = sock
        self._listening: asyncio.Server | None = None

    async def start(self) -> None:
        self._listening = await asyncio.get_running_loop().create_server(self._server, sock=self._sock)

    def die(self) -> None:
        """Refuse from now on, and drop every connection."""
        if self._listening is not None:
            self._listening.close()
        for connection in self._server.connections:
            connection.force_close()

    async def stop(self) -> None:
        if self._listening is not None:
            self._listening.close()
        await self._server.shutdown(1.0)
