"""Requests through pyreqwest: large bodies over TLS, and all that goes by the proxy that the environment names.

Its TLS lets the interpreter's lock go for a whole body, OpenSSL's for 16 KiB at a time: 1.6 GB from store to store took 3.6 s of CPU
so and 5.4 in threads with OpenSSL. pyreqwest 0.15 (Rust reqwest) follows the WHATWG rules for URLs and removes the segments `.` and `..`, percent-encoded or not, and shows no
header beyond ASCII: aiohttp has those. Reading and writing have clients of their own: the idle limit of a read would also run while a large body is on
its way out.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from datetime import timedelta
from typing import TYPE_CHECKING

from pyreqwest.exceptions import PyreqwestError
from pyreqwest.response import Response

from backends.escape import plain
from backends.stores.cancelling import heeded
from backends.stores.http1 import (
    Answer,
    CannotBeSaid,
    NoAnswerInTime,
    NoConnection,
    Request,
)
from backends.stores.http_client import as_ours, build_client
from backends.stores.http_limits import CONNECT_SECONDS
from backends.stores.tls import client_context

if TYPE_CHECKING:
    import aiohttp

_UNWANTED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Reqwest:
    """Requests to one host; `origin` is its scheme and authority."""

    def __init__(self, origin: str, *, is_loopback: bool = False) -> None:
        self._origin = origin
        self._reader = build_client(idle=True, is_loopback=is_loopback)
        self._writer = build_client(idle=False, is_loopback=is_loopback)
        self._literal: aiohttp.ClientSession | None = None

    async def ask(self, request: Request) -> Answer:
        """Raises `HttpError`."""
        if not can_say(request):
            return await self._ask_literally(request)
        client = self._reader if request.body is None else self._writer
        builder = client.request(request.method, f"{self._origin}{request.target}")
        builder = builder.headers(dict(request.headers)).timeout(timedelta(seconds=request.limit))
        if request.body is not None:
            builder = builder.body_bytes(request.body)
        try:
            with heeded():
                response = await builder.build().send()
                data = await response.bytes()
        except PyreqwestError as error:
            raise as_ours(error, reading=request.body is None) from error
        try:
            told = dict(response.headers.items())  # lower-case already
        except ValueError:  # a value beyond ASCII, which this client cannot show
            if request.body is None and "range" not in request.headers:
                return await self._ask_literally(request)
            told = _ascii_headers(response)  # nobody looks at metadata there
        return Answer(response.status, told, memoryview(data))

    async def _ask_literally(self, request: Request) -> Answer:
        import aiohttp  # 0.1 s: late, for the few that need it
        from yarl import URL

        if self._literal is None:
            self._literal = aiohttp.ClientSession(
                auto_decompress=False,
                skip_auto_headers=_UNWANTED,
                trust_env=True,
                connector=aiohttp.TCPConnector(ssl=client_context()),
            )
        sent = io.BytesIO(request.body) if request.body else request.body  # aiohttp warns of large bytes
        timeout = aiohttp.ClientTimeout(total=request.limit, sock_connect=CONNECT_SECONDS)
        url = URL(f"{self._origin}{request.target}", encoded=True)
        try:
            async with self._literal.request(
                request.method, url, headers=request.headers, data=sent, timeout=timeout, allow_redirects=False
            ) as response:
                data = await response.read()
                return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, data)
        except ValueError as error:
            raise CannotBeSaid(plain(str(error), 200)) from error
        except TimeoutError as error:
            raise NoAnswerInTime("no answer in time") from error
        except aiohttp.ClientError as error:
            raise NoConnection(plain(str(error), 200)) from error

    async def close(self) -> None:
        async with asyncio.timeout(10):
            await self._reader.close()
            await self._writer.close()
            if self._literal is not None:
                await self._literal.close()


def can_say(request: Request) -> bool:
    """Whether pyreqwest can send it as it is."""
    target = request.target
    if "/." in target and any(segment in (".", "..") for segment in target.partition("?")[0].split("/")):
        return False
    return "".join(request.headers.values()).isascii()


def _ascii_headers(response: Response) -> dict[str, str]:
    told = {}
    for name in response.headers:
        with contextlib.suppress(ValueError):
            told[name] = response.headers[name]
    return told
