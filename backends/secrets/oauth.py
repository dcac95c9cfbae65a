"""Bearer tokens: kept while they hold, asked for anew before they end, by one caller for all.

Sources: RFC 6749 (client credentials, refresh), RFC 7523 (JWT bearer).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from backends.escape import plain
from backends.secrets.errors import SecretDenied, SecretUnreachable

T = TypeVar("T")

_EARLY_SECONDS = 300.0  # a token is renewed this long before it ends
_FRESH_SECONDS = 2.0
_ANSWER_SECONDS = 30.0
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Token:
    value: str = field(repr=False)
    ends_at: float  # of time.monotonic()

    @classmethod
    def lasting(cls, value: str, seconds: float) -> Token:
        return cls(value, time.monotonic() + seconds)


class Tokens:
    """The token of one source."""

    def __init__(self, ask: Callable[[], Awaitable[Token]]) -> None:
        self._ask = ask
        self._kept: Token | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> str:
        """One that holds for some minutes. Raises `SecretDenied` or `SecretUnreachable`."""
        async with self._lock:
            if self._kept is None or self._kept.ends_at - time.monotonic() < _EARLY_SECONDS:
                self._kept = await self._ask()
            return self._kept.value


class Found(Generic[T]):
    """What `find` gives, looked up when it is first needed and again where a server no longer takes it (files are rotated)."""

    def __init__(self, find: Callable[[], Awaitable[T]]) -> None:
        self._find = find
        self._found: T | None = None
        self._found_at = 0.0
        self._lock = asyncio.Lock()

    async def get(self) -> T:
        async with self._lock:
            if self._found is None:
                self._found = await self._find()
                self._found_at = time.monotonic()
            return self._found

    def forget(self) -> bool:
        """False where it was found just now: many requests fail at once with the same credentials, one look-up serves them all."""
        if self._found is not None and time.monotonic() - self._found_at < _FRESH_SECONDS:
            return False
        self._found = None
        return True


async def ask_token(
    who: str,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    connect_seconds: float = _CONNECT_SECONDS,
) -> Token:
    """A token from an endpoint that answers `access_token` and `expires_in`: POST with a form, else GET."""
    host = plain(urlsplit(url).hostname or "", 100)
    what = f"{who}: asking {host} for a token"
    builder = ClientBuilder().follow_redirects(False).connect_timeout(timedelta(seconds=connect_seconds))
    async with builder.build() as client:
        request = client.request("POST" if form is not None else "GET", url).headers(dict(headers or {}))
        request = request.timeout(timedelta(seconds=_ANSWER_SECONDS))
        try:
            response = await (request.form(dict(form)) if form is not None else request).build().send()
            body = bytes(await response.bytes())
        except PyreqwestError as error:
            raise SecretUnreachable(f"{what}: no answer", hint="look at the network and the credentials") from error
    said = json_object(body)
    if response.status >= 500 or response.status == 429:
        raise SecretUnreachable(f"{what}: status {response.status}")
    if response.status != 200:
        reason = said.get("error_description") or said.get("error") or f"status {response.status}"
        raise SecretDenied(f"{what}: {plain(str(reason), 200)}", hint="look at the credentials")
    value, seconds = said.get("access_token"), said.get("expires_in", 3600)
    if not isinstance(value, str) or not value:
        raise SecretDenied(f"{what}: the answer has no access_token")
    return Token.lasting(value, float(seconds) if isinstance(seconds, int | float | str) and _is_number(seconds) else 3600.0)


def json_object(body: bytes) -> dict[str, Any]:
    """What an answer says; empty where it is not a JSON object."""
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _is_number(value: int | float | str) -> bool:
    try:
        return float(value) >= 0
    except ValueError:
        return False
