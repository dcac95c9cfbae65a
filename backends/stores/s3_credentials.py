"""Where an S3 store's keys come from: the plan, else AWS's usual chain.

botocore takes about a second to import and to look around (environment, files, SSO, instance metadata), so it is imported
late and in a thread, and asked again while it is used: what it hands out may be refreshed. Keys that a server refuses as ended are
looked up again at once (`renew`), from the beginning: a profile's file may have been written anew, a role taken anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from backends.escape import plain
from backends.stores.errors import KeysRefused
from backends.stores.sigv4 import Credentials

_HOLD_SECONDS = 30.0
_HOLD_AT_THE_END = 1.0  # where they end within a minute
_LOOK_SECONDS = 60.0
_RENEW_SECONDS = 5.0  # after a look that brought nothing new; a thousand refused requests are one look


class CredentialSource(Protocol):
    async def get(self) -> Credentials:
        """Keys that hold now. Raises `KeysRefused` where there are none."""
        ...

    async def renew(self, refused: Credentials) -> Credentials | None:
        """Other keys than those that a server refused as ended; None where there are none."""
        ...


class FixedCredentials:
    """Keys that never change."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def get(self) -> Credentials:
        return self._credentials

    async def renew(self, refused: Credentials) -> Credentials | None:
        return None


class LookedUpCredentials:
    """Keys that are looked up by a blocking call, in a thread, by one at a time. `look(anew)` says how long they may be held."""

    def __init__(self, store: str, look: Callable[[bool], tuple[Credentials, float]]) -> None:
        self._store = store
        self._look = look
        self._kept: Credentials | None = None
        self._until = 0.0
        self._fruitless_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> Credentials:
        if self._kept is not None and time.monotonic() < self._until:
            return self._kept
        async with self._lock:
            if self._kept is None or time.monotonic() >= self._until:
                return await self._look_up(anew=False)
            return self._kept

    async def renew(self, refused: Credentials) -> Credentials | None:
        async with self._lock:
            if self._kept is not None and self._kept != refused:
                return self._kept  # another request was refused before this one
            if time.monotonic() - self._fruitless_at < _RENEW_SECONDS:
                return None
            self._fruitless_at = time.monotonic()
            found = await self._look_up(anew=True)
            if found == refused:
                return None
            self._fruitless_at = float("-inf")
            return found

    async def _look_up(self, *, anew: bool) -> Credentials:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                found, hold = await asyncio.to_thread(self._look, anew)
        except TimeoutError as error:
            raise KeysRefused(f"{self._store}: looking for credentials took over {_LOOK_SECONDS:g} s") from error
        self._kept, self._until = found, time.monotonic() + hold
        return found


class ChainCredentials(LookedUpCredentials):
    """botocore's chain, with a profile where the plan names one."""

    def __init__(self, store: str, profile: str | None) -> None:
        super().__init__(store, self._ask)
        self._profile = profile
        self._chain: Any = None

    def _ask(self, anew: bool) -> tuple[Credentials, float]:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.session import Session

        try:
            if self._chain is None or anew:
                self._chain = Session(profile=self._profile).get_credentials()
            frozen = self._chain.get_frozen_credentials() if self._chain is not None else None
        except (BotoCoreError, ClientError, RuntimeError, ValueError, OSError) as error:  # what a refresh may raise
            raise KeysRefused(f"{self._store}: no credentials: {plain(str(error), 200)}", hint=self._hint()) from error
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            raise KeysRefused(f"{self._store}: no credentials found", hint=self._hint())
        ends = getattr(self._chain, "refresh_needed", None)  # only what ends has it
        hold = _HOLD_AT_THE_END if ends is not None and ends(2 * _HOLD_SECONDS) else _HOLD_SECONDS
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token), hold

    def _hint(self) -> str:
        if self._profile:
            return f"look at profile {plain(self._profile, 60)} in ~/.aws"
        return "give access_key and secret_key (as ${env:…}), or a profile, in the plan"
