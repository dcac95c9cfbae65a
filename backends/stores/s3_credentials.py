"""Where an S3 store's keys come from: the plan, else AWS's usual chain.

botocore takes about a second to import and to look around (environment, files, SSO, instance metadata), so it is imported
late and in a thread, and asked again while it is used: what it hands out may be refreshed.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

from backends.escape import plain
from backends.stores.errors import StoreDenied
from backends.stores.sigv4 import Credentials

_HOLD_SECONDS = 30.0
_LOOK_SECONDS = 60.0


class CredentialSource(Protocol):
    async def get(self) -> Credentials:
        """Keys that hold now. Raises `StoreDenied` where there are none."""
        ...


class FixedCredentials:
    """Keys that a plan names."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def get(self) -> Credentials:
        return self._credentials


class ChainCredentials:
    """botocore's chain, with a profile where the plan names one."""

    def __init__(self, store: str, profile: str | None) -> None:
        self._store = store
        self._profile = profile
        self._chain: Any = None
        self._kept: tuple[float, Credentials] | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> Credentials:
        if self._kept is not None and time.monotonic() - self._kept[0] < _HOLD_SECONDS:
            return self._kept[1]
        async with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] >= _HOLD_SECONDS:
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        found = await asyncio.to_thread(self._look)
                except TimeoutError as error:
                    raise StoreDenied(f"{self._store}: looking for credentials took over {_LOOK_SECONDS:g} s") from error
                self._kept = (time.monotonic(), found)
            return self._kept[1]

    def _look(self) -> Credentials:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        try:
            if self._chain is None:
                self._chain = Session(profile=self._profile).get_credentials()
            frozen = self._chain.get_frozen_credentials() if self._chain is not None else None
        except BotoCoreError as error:
            raise StoreDenied(f"{self._store}: no credentials: {plain(str(error), 200)}", hint=self._hint()) from error
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            raise StoreDenied(f"{self._store}: no credentials found", hint=self._hint())
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    def _hint(self) -> str:
        if self._profile:
            return f"look at profile {plain(self._profile, 60)} in ~/.aws"
        return "give access_key and secret_key (as ${env:…}), or a profile, in the plan"
