"""JSON over HTTP from servers that keep figures: bounded, with a deadline, a token that goes nowhere else, no redirects."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from backends.escape import plain
from backends.validation.errors import SourceUnreadable
from backends.validation.jsonl import load_object

TIMEOUT = 20.0
MOST = 64 << 20  # bytes of an answer


class Web:
    """One client for all such servers, opened at the first question; used with `async with`, or closed by `close`."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(
        self,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        token: str | None = None,
        where: str,
    ) -> tuple[int, Any]:
        """(status, JSON) of a GET with `params` or a POST with `form`; JSON None where the answer is none.

        Raises `SourceUnreadable`, which says neither the token nor what an answer of another server holds.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT), auto_decompress=True)
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        method = "GET" if form is None else "POST"
        try:
            async with self._session.request(
                method, url, params=params, data=form, headers=headers, allow_redirects=False
            ) as answer:
                body = await _bounded(answer, where)
                if 300 <= answer.status < 400:
                    raise SourceUnreadable("it sends us elsewhere", where=where, hint="give the address that it moved to")
                if answer.status in (401, 403):
                    raise SourceUnreadable(f"access denied ({answer.status})", where=where, hint="give a token")
                return answer.status, load_object(body)
        except TimeoutError as error:
            raise SourceUnreadable(f"no answer within {TIMEOUT:g} s", where=where) from error
        except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as error:
            raise SourceUnreadable(f"cannot ask it: {_words(error)}", where=where) from None


async def _bounded(answer: aiohttp.ClientResponse, where: str) -> bytes:
    parts, size = [], 0
    async for part in answer.content.iter_chunked(1 << 16):
        size += len(part)
        if size > MOST:
            raise SourceUnreadable(f"an answer of more than {MOST >> 20} MiB", where=where, hint="ask for less")
        parts.append(part)
        if size % (1 << 22) < len(part):
            await asyncio.sleep(0)
    return b"".join(parts)


def _words(error: Exception) -> str:
    """What happened, without addresses that may hold what nobody shall read."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return plain(error.os_error.strerror or str(error.os_error), 120)
    if isinstance(error, aiohttp.InvalidURL):
        return "its address is none"
    return plain(str(error) or type(error).__name__, 120)


def shown_url(url: str) -> str:
    """The address without what may be secret in it."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port is not None else ""
    return plain(f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}", 200)
