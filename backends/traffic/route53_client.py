"""Calls of Route 53's API by aioboto3, in a thread with a loop of its own.

aioboto3 takes a second to import and another to make a client, and stalls the loop that it runs on for up to 100 ms, so neither is ever done
on the engine's. The thread begins with the first call and ends with `close`.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from backends.escape import plain
from backends.traffic.base import RouteError

CALL_SECONDS = 30.0
START_SECONDS = 60.0


class Route53Error(RouteError):
    """Route 53 cannot be asked, or refuses. `aws_code` is its own word, such as `InvalidChangeBatch`."""

    code = "route53"

    def __init__(self, message: str, aws_code: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.aws_code = aws_code


@dataclass(frozen=True, slots=True)
class Access:
    """Whom to ask and as whom. What is None comes from AWS's usual chain."""

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)


class Route53Client:
    """Raises `Route53Error`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._thread: threading.Thread | None = None
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._client: Any = None
        self._ended: asyncio.Event | None = None
        self._starting = asyncio.Lock()

    async def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """One call of the API by its name in boto3, `list_resource_record_sets` for one."""
        loop = await self._loop()
        sent = asyncio.run_coroutine_threadsafe(self._call(operation, arguments), loop)
        try:
            async with asyncio.timeout(CALL_SECONDS + 5):
                return await asyncio.wrap_future(sent)
        except TimeoutError as error:
            raise Route53Error(f"Route 53: no answer to {operation}") from error

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._ready.done() and not self._ready.exception() and self._ended is not None:
            self._ready.result().call_soon_threadsafe(self._ended.set)
        await asyncio.to_thread(thread.join, 10.0)

    async def _loop(self) -> asyncio.AbstractEventLoop:
        async with self._starting:
            if self._thread is None or (self._ready.done() and self._ready.exception() is not None):
                self._ready = Future()
                self._thread = threading.Thread(target=self._run, name="route53", daemon=True)
                self._thread.start()
        try:
            async with asyncio.timeout(START_SECONDS):
                return await asyncio.shield(asyncio.wrap_future(self._ready))
        except TimeoutError as error:
            raise Route53Error("Route 53: looking for credentials takes too long") from error

    def _run(self) -> None:
        """In the thread."""
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits has to hear of it
            if not self._ready.done():
                self._ready.set_exception(_ours("credentials", error))

    async def _serve(self) -> None:
        import aioboto3
        from aiobotocore.config import AioConfig  # type: ignore[import-untyped]

        access = self._access
        session = aioboto3.Session(
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            aws_session_token=access.session_token,
            profile_name=access.profile,
        )
        retries = {"total_max_attempts": 3, "mode": "standard"}
        config = AioConfig(connect_timeout=5, read_timeout=15, retries=retries)
        async with session.client(
            "route53", region_name=access.region or "us-east-1", endpoint_url=access.endpoint, config=config
        ) as client:
            self._client, self._ended = client, asyncio.Event()
            self._ready.set_result(asyncio.get_running_loop())
            await self._ended.wait()

    async def _call(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            async with asyncio.timeout(CALL_SECONDS):
                return dict(await getattr(self._client, operation)(**arguments))
        except (BotoCoreError, ClientError, TimeoutError, OSError) as error:
            raise _ours(operation, error) from error


def _ours(what: str, error: Exception) -> Route53Error:
    answer = getattr(error, "response", None)  # of a connection that broke it is there, and None
    told = answer.get("Error", {}) if isinstance(answer, dict) else {}
    code, message = plain(str(told.get("Code", "")), 80), plain(str(told.get("Message", "") or error), 300)
    text = f"Route 53: {what}: {code + ': ' if code else ''}{message or type(error).__name__}"
    denied = code in ("AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken")
    return Route53Error(text, code, "look at the credentials and their rights on this zone" if denied else "")
