"""The engine's client: what console, commands and scripts use. JSON over HTTP on the Unix socket."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from pydantic import ValidationError

from backends.engine.errors import EngineGone
from backends.engine.paths import socket_of
from backends.errors import CouldNot, CutoverError, RefusedByRule
from backends.escape import plain
from backends.snapshot import HostView, PreviewView, Snapshot

_LINE_LIMIT = 16 << 20


class RemoteError(CutoverError):
    """An error as the engine told it."""

    def __init__(self, code: str, message: str, *, exit_code: int, where: str = "", hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.code = code  # type: ignore[misc]
        self.exit_code = exit_code  # type: ignore[misc]


class EngineClient:
    """One engine. Raises `EngineGone` where nobody answers."""

    def __init__(self, socket: Path, *, actor: str | None = None) -> None:
        """`actor` is what the operator calls themselves, which the engine shows as unverified; default `CUTOVER_ACTOR`."""
        self._socket = socket
        self._actor = os.environ.get("CUTOVER_ACTOR", "") if actor is None else actor
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.UnixConnector(path=str(self._socket))
            named = {"X-Cutover-Actor": plain(self._actor, 40)} if self._actor.isascii() and self._actor else {}
            timeout = aiohttp.ClientTimeout(total=None)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=named)
        return self._session

    def _gone(self, error: BaseException | None = None) -> EngineGone:
        return EngineGone("the engine does not answer", where=str(self._socket), hint="cutover up PLAN starts it again")

    async def is_there(self, *, timeout: float = 5.0) -> bool:
        """Does it answer at all?"""
        try:
            async with asyncio.timeout(timeout), self._http().get("http://engine/v1/hosts/-") as reply:
                await reply.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        return True

    async def snapshot(self, *, timeout: float = 10.0) -> Snapshot:
        """The whole state, now."""
        try:
            async with asyncio.timeout(timeout), self._http().get("http://engine/v1/snapshot") as reply:
                return Snapshot.model_validate_json(await reply.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
            raise self._gone() from error

    async def host(self, name: str, *, timeout: float = 10.0) -> HostView:
        """One host with all that is known of it. Raises the engine's error where the plan names no such host."""
        try:
            async with asyncio.timeout(timeout), self._http().get(f"http://engine/v1/hosts/{quote(name, safe='')}") as reply:
                body = await reply.read()
                if reply.status != 200:
                    raise error_of(json.loads(body))
                return HostView.model_validate_json(body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._gone() from error

    async def events(self) -> AsyncIterator[Snapshot]:
        """A snapshot whenever something changed, at most 4 a second, until the engine ends."""
        try:
            async with self._http().get("http://engine/v1/events", read_bufsize=_LINE_LIMIT) as reply:
                while True:
                    async with asyncio.timeout(30):
                        line = await reply.content.readline()
                    if not line:
                        return
                    if line.strip():
                        yield Snapshot.model_validate_json(line)
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
            raise self._gone() from error

    async def command(self, name: str, args: dict[str, Any] | None = None, *, timeout: float | None = None) -> dict[str, Any]:
        """Give a command and wait for its end. Raises the engine's error, rebuilt."""
        try:
            async with asyncio.timeout(timeout), self._http().post(f"http://engine/v1/commands/{name}", json=args or {}) as reply:
                body = json.loads(await reply.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._gone() from error
        if isinstance(body, dict) and "error" in body:
            raise error_of(body)
        if not isinstance(body, dict):
            raise CouldNot("the engine's answer is no object", where=str(self._socket))
        return body

    async def preview(self, command: str, args: dict[str, Any] | None = None) -> PreviewView:
        """What a command would do now: the executor's own steps."""
        body = await self.command("preview", {"command": command, **(args or {})}, timeout=20.0)
        return PreviewView.model_validate(body)


async def answers(state: Path) -> bool:
    """Does an engine answer in this folder? It is asked for next to nothing: a rollback waits for this."""
    if not socket_of(state).exists():
        return False
    async with EngineClient(socket_of(state)) as client:
        return await client.is_there()


def error_of(body: dict[str, Any]) -> CutoverError:
    """The engine's error object as an exception."""
    error = body["error"]
    where, hint, message = error.get("where", ""), error.get("hint", ""), error.get("message", "")
    rule = error.get("refused_by")
    if rule:
        refused = RefusedByRule(rule, message.removeprefix(f"{rule}: "), where=where, hint=hint)
        refused.code = error.get("code", refused.code)  # type: ignore[misc]
        return refused
    return RemoteError(error.get("code", "error"), message, exit_code=int(error.get("exit_code", 4)), where=where, hint=hint)
