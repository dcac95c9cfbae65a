"""The process of one S3 store: ministack 1.4.21 on a socket that the sandbox has bound.

Its own command line binds 0.0.0.0 by default and chooses its port late; with the socket inherited there is no race and nothing
else listens. The environment (`SERVICES=s3`, `SFTP_ENABLED=0`, `IOT_MTLS_ENABLED=0`, …) is set by `backends.sandbox.stores`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from backends.sandbox.parent import die_with_parent

_Message = MutableMapping[str, Any]
_App = Callable[[Any, Any, Any], Awaitable[None]]


def with_whole_bodies(app: _App) -> _App:
    """Hand each request's body over in one piece: ministack adds chunk to chunk, which takes seconds for tens of megabytes."""

    async def answer(scope: Any, receive: Callable[[], Awaitable[_Message]], send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        pieces: list[bytes] = []
        message = await receive()
        while message["type"] == "http.request":
            pieces.append(message.get("body", b""))
            if not message.get("more_body", False):
                message = {"type": "http.request", "body": b"".join(pieces), "more_body": False}
                break
            message = await receive()
        first: list[_Message] = [message]

        async def next_message() -> _Message:
            return first.pop() if first else await receive()

        await app(scope, next_message, send)

    return answer


def main(argv: list[str]) -> None:
    """`store_child PARENT-PID SOCKET-FD`: serve until ended."""
    die_with_parent(int(argv[0]))
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app
    from ministack.services import s3

    from backends.crc import crc64nvme

    s3._crc64nvme = crc64nvme  # the same sum, without seconds of Python for each part

    config = Config()
    config.bind = [f"fd://{int(argv[1])}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    asyncio.run(serve(with_whole_bodies(app), config))


if __name__ == "__main__":
    main(sys.argv[1:])
